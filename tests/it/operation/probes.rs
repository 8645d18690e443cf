//! Probes: alive as long as it runs, ready as long as requests would get through.

use rustix::process::Signal;
use serde_json::json;

use super::{Sidecar, exchange, get, healthcheck, serve, unix, wait_for};
use crate::support::{pki::Pki, process::DEADLINE, upstream::Upstream};

#[test]
fn a_sidecar_is_ready_until_it_drains_and_alive_until_it_left() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let mut sidecar = Sidecar::start(&pki, &upstream, &[]);
    sidecar.open();
    assert_eq!(sidecar.probe("/healthz").status, 200);
    let ready = sidecar.probe("/readyz");
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true, "reasons": []})));
    let admin = sidecar.admin.to_string();
    let (code, said) = healthcheck(&["--admin", &admin]);
    assert_eq!((code, said.as_str()), (0, "countersign: ready\n"));

    std::thread::scope(|scope| {
        let held = scope.spawn(|| sidecar.call("wait", json!({"gate": "open"})));
        upstream.wait_for_method("tools/call");
        sidecar.process.signal(Signal::TERM);
        sidecar.process.wait_for_stderr("leaving");
        let ready = wait_for(|| Some(sidecar.probe("/readyz")).filter(|it| it.status == 503));
        assert_eq!(ready.json()["reasons"][0]["check"], "draining");
        assert_eq!(sidecar.probe("/healthz").status, 200);
        let (code, said) = healthcheck(&["--admin", &admin]);
        assert!(code == 1 && said.contains("draining"), "{code} {said}");
        upstream.release("open");
        assert_eq!(held.join().unwrap().status, 200);
    });
    assert_eq!(sidecar.process.wait_exit(DEADLINE).code(), Some(0));
    let (code, said) = healthcheck(&["--admin", &admin]);
    assert!(code == 1 && said.contains("does not answer"), "{code} {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_certificate_out_of_date_is_said_with_its_route() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    for (identity, words) in [(&pki.expired, "expired on 2021-01-31"), (&pki.early, "2098-01-01")] {
        let sidecar = Sidecar::showing(identity, &pki, &upstream, &[]);
        let ready = sidecar.probe("/readyz");
        assert_eq!(ready.status, 503);
        let reason = &ready.json()["reasons"][0];
        assert_eq!(
            (&reason["check"], &reason["route"]),
            (&json!("certificate"), &json!("default"))
        );
        assert!(reason["what"].as_str().unwrap().contains(words), "{reason}");
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_secret_that_can_not_be_had_is_said_without_asking_the_upstream() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::options(&pki).stateless().start();
    let token = folder.path().join("token");
    let bearer = format!("command:cat {}", token.display());
    for flags in [
        vec!["--bearer".to_owned(), bearer.clone()],
        vec!["--hmac".to_owned(), format!("preset=body,key={bearer}")],
        vec!["--inbound-bearer".to_owned(), bearer.clone()],
    ] {
        let _ = std::fs::remove_file(&token);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let sidecar = Sidecar::start(&pki, &upstream, &flags);
        let ready = sidecar.probe("/readyz");
        assert_eq!(ready.status, 503, "{flags:?} {}", ready.body);
        assert_eq!(ready.json()["reasons"][0]["check"], "secret", "{flags:?}");
        std::fs::write(&token, "Zq7Xw2Kd9Lm4Rt8").unwrap();
        let ready = sidecar.probe("/readyz");
        assert_eq!(ready.status, 200, "{flags:?} {}", ready.body);
        assert!(!sidecar.process.stderr().contains("Zq7Xw2Kd9"));
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_signature_over_a_callers_header_is_no_obstacle() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let flag = "preset=body,key=env:KEY,string_to_sign={header:x-of-the-caller}";
    let program = serve(&pki, &upstream).identity(&pki.client).args(["--hmac", flag]);
    let sidecar = Sidecar::of(&program.args(["--admin", "127.0.0.1:0"]).env("KEY", "a key"));
    assert_eq!(sidecar.probe("/readyz").status, 200);
}

#[test]
fn no_web_page_and_no_network_reaches_the_probes() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let sidecar = Sidecar::start(&pki, &upstream, &[]);
    assert_eq!(sidecar.probe_as("rebound.example", "/metrics").status, 421);
    assert_eq!(sidecar.probe_as("127.0.0.1", "/elsewhere").status, 404);
    let page = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\
                Connection: close\r\n\r\n";
    let stream = std::net::TcpStream::connect(sidecar.admin).unwrap();
    assert_eq!(exchange(stream, page).status, 403);
    let post = "POST /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Length: 0\r\n\r\n";
    let stream = std::net::TcpStream::connect(sidecar.admin).unwrap();
    assert_eq!(exchange(stream, post).status, 405);
    for address in ["0.0.0.0:0", "[::]:0", "fd:3"] {
        let program = serve(&pki, &upstream).identity(&pki.client).args(["--admin", address]);
        let mut process = program.start();
        assert_eq!(process.wait_exit(DEADLINE).code(), Some(78), "{address}");
        assert!(process.stderr().contains("--admin: expected an address"), "{}", process.stderr());
    }
}

#[test]
fn probes_may_come_by_a_unix_socket_that_the_profile_names() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let (socket, profile) = (folder.path().join("admin.sock"), folder.path().join("c.toml"));
    std::fs::write(&profile, "[profile.a.serve]\nadmin = \"unix:admin.sock\"\n").unwrap();
    let profile = profile.to_str().unwrap();
    let program = serve(&pki, &upstream).identity(&pki.client).args(["--config", profile]);
    let process = program.start();
    process.wait_for_stderr(": listening on ");
    assert_eq!(exchange(unix(&socket), &get("any.example", "/readyz")).status, 200);
    assert_eq!(healthcheck(&["--config", profile]).0, 0);
    drop(process);
    assert_eq!(healthcheck(&["--config", profile]).0, 1);
    let (code, said) = healthcheck(&[]);
    assert!(code == 1 && said.contains("expected the address"), "{said}");
}
