//! Traces: carried as they come, begun where there is none.

use serde_json::json;

use super::{Sidecar, call, lines, serve};
use crate::support::{pki::Pki, process::DEADLINE, upstream::Upstream};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

#[test]
fn a_trace_is_carried_or_begun_and_stands_in_the_log() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::options(&pki).stateless().start();
    let access = folder.path().join("access");
    let sidecar = Sidecar::start(&pki, &upstream, &["--access-log", access.to_str().unwrap()]);
    let message = call("echo", json!({}));
    let carried = format!("traceparent: {PARENT}\r\ntracestate: a=1\r\ntracestate: b=2\r\n");
    sidecar.post("/mcp", &carried, &message);
    sidecar.post("/mcp", "", &message);
    sidecar.post("/mcp", "traceparent: 00-nonsense\r\ntracestate: a=1\r\n", &message);

    let seen = upstream.posts("tools/call");
    assert_eq!(seen[0].header("traceparent"), Some(PARENT));
    let states: Vec<_> = seen[0].headers.get_all("tracestate").iter().collect();
    assert_eq!(states, ["a=1", "b=2"]);
    let logged = lines(&access, 3);
    assert_eq!(logged[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    let mut traces = Vec::new();
    for (seen, logged) in seen[1..].iter().zip(&logged[1..]) {
        let parent = seen.header("traceparent").unwrap();
        assert!(parent.len() == 55 && parent.starts_with("00-"), "{parent}");
        assert_eq!(parent[3..35], *logged["trace_id"].as_str().unwrap());
        assert_eq!(seen.header("tracestate"), None);
        traces.push(parent.to_owned());
    }
    assert_ne!(traces[0], traces[1]);
}

#[test]
fn a_collector_that_spans_can_not_go_to_is_refused_at_the_start() {
    let (pki, mut said) = (Pki::new(), Vec::new());
    let upstream = Upstream::mutual(&pki);
    for url in [
        "http://collector.example:4318",
        "127.0.0.1:4318",
        "http://127.0.0.1:4318?key=canary",
        "http://me:canary@127.0.0.1:4318",
        "${OTEL_EXPORTER_OTLP_ENDPOINT}",
        #[cfg(not(feature = "otlp"))]
        "http://127.0.0.1:4318",
    ] {
        let mut process = serve(&pki, &upstream).args(["--otlp", url]).start();
        assert_eq!(process.wait_exit(DEADLINE).code(), Some(78), "{url}");
        let text = process.stderr();
        assert!(text.contains("--otlp") && text.contains("hint: "), "{text}");
        assert!(!text.contains("canary") && !text.contains("listening"), "{text}");
        said.push(text);
    }
    if cfg!(not(feature = "otlp")) {
        assert!(said[5].contains("this build exports no spans, for 127.0.0.1:4318"), "{}", said[5]);
        assert!(said[5].contains("cargo install --features otlp"), "{}", said[5]);
    }
}
