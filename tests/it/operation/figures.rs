//! Figures: what happened is counted, by whom it was done and how it ended.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Sidecar, wait_for};
use crate::support::{pki::Pki, process::DEADLINE, upstream::Upstream};

/// Waits until `/metrics` has this line.
#[track_caller]
fn has(sidecar: &Sidecar, line: &str) {
    let until = Instant::now() + DEADLINE;
    loop {
        let text = sidecar.probe("/metrics").body;
        assert!(text.ends_with("# EOF\n"), "{text}");
        if text.lines().any(|it| it == line) {
            return;
        }
        assert!(Instant::now() < until, "no {line}\n{text}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn requests_handshakes_and_bytes_are_counted() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let sidecar = Sidecar::start(&pki, &upstream, &[]);
    let answer = sidecar.post("/mcp/none", "", &json!({}));
    assert_eq!(answer.status, 404);
    assert_eq!(sidecar.post("/elsewhere", "", &json!({})).status, 404);
    has(&sidecar, r#"countersign_requests_total{route="default",status="4xx",stage="upstream"} 1"#);
    has(&sidecar, r#"countersign_requests_total{route="none",status="4xx",stage="route"} 1"#);
    has(&sidecar, r#"countersign_tls_handshakes_total{result="ok"} 1"#);
    has(&sidecar, r#"countersign_request_duration_seconds_count{route="default"} 1"#);
    let bytes = answer.body.len();
    has(&sidecar, &format!(r#"countersign_response_body_bytes_total{{route="default"}} {bytes}"#));
    has(&sidecar, "countersign_requests_in_flight 0");
    has(&sidecar, "countersign_connections_accepted_total 2");
    // The end of 2098-12-31, as the certificate has it.
    has(
        &sidecar,
        r#"countersign_certificate_not_after_seconds{route="default",certificate="client"} 4070822400"#,
    );

    let answer = sidecar.probe("/metrics");
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"));
    upstream.rotate(&pki.server, &pki.foreign_ca);
    upstream.drop_connections();
    assert_eq!(sidecar.call("echo", json!({})).status, 502);
    has(&sidecar, r#"countersign_requests_total{route="default",status="5xx",stage="tls"} 1"#);
}

#[test]
fn a_call_under_way_is_in_flight() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let sidecar = Sidecar::start(&pki, &upstream, &[]);
    sidecar.open();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| sidecar.call("wait", json!({"gate": "open"})));
        has(&sidecar, "countersign_requests_in_flight 1");
        has(&sidecar, "countersign_connections 1");
        upstream.release("open");
        assert_eq!(held.join().unwrap().status, 200);
    });
    has(&sidecar, "countersign_requests_in_flight 0");
}

#[test]
fn rotations_and_refreshes_are_counted_with_their_result() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::options(&pki).stateless().start();
    let token = folder.path().join("token");
    fs::write(&token, "first").unwrap();
    let bearer = format!("command:cat {}", token.display());
    let sidecar = Sidecar::start(&pki, &upstream, &["--bearer", &bearer]);
    has(&sidecar, r#"countersign_credential_refreshes_total{result="ok"} 0"#);
    sidecar.open();
    has(&sidecar, r#"countersign_credential_refreshes_total{result="ok"} 1"#);
    pki.client.overwrite(&pki.issue_client("second"));
    has(&sidecar, r#"countersign_reloads_total{result="ok"} 1"#);
    fs::write(&pki.client.cert, "rubbish").unwrap();
    wait_for(|| {
        let text = sidecar.probe("/metrics").body;
        (!text.contains(r#"countersign_reloads_total{result="failed"} 0"#)).then_some(())
    });
}
