//! The access log: one line for each request, however it ended, and nothing secret in it.

use std::{fs, io::Write, net::TcpStream, os::unix::fs::PermissionsExt};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Sidecar, call, lines, serve, wait_for};
use crate::support::{
    pki::Pki,
    process::{Countersign, DEADLINE},
    script::{Fault, Rule},
    upstream::Upstream,
};

const CANARY: &str = "Zq7Xw2Kd9";

#[test]
fn each_request_is_one_line_and_nothing_secret_is_in_it() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::options(&pki).stateless().start();
    let (access, audit) = (folder.path().join("access"), folder.path().join("audit"));
    let (a, b) = (access.to_str().unwrap(), audit.to_str().unwrap());
    let sidecar = Sidecar::start(&pki, &upstream, &["--access-log", a, "--audit-log", b]);

    sidecar.open();
    let secret = format!("X-Request-Id: id-7\r\nX-Secret: {CANARY}\r\nCookie: a={CANARY}\r\n");
    let path = format!("/mcp?key={CANARY}");
    let answer = sidecar.post(&path, &secret, &call("echo", json!({"text": CANARY})));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let uri = format!("https://{CANARY}@a.example/b?key={CANARY}");
    let read =
        json!({"jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": {"uri": uri}});
    sidecar.post("/mcp", "", &read);
    let foreign = format!("Origin: https://{CANARY}.example\r\n");
    assert_eq!(sidecar.post("/mcp", &foreign, &call("echo", json!({}))).status, 403);
    assert_eq!(sidecar.post(&format!("/{CANARY}"), "", &json!({})).status, 404);
    upstream.down();
    assert_eq!(sidecar.call("echo", json!({})).status, 502);

    let mut lines = lines(&access, 6);
    assert_eq!(lines.len(), 6);
    assert_eq!(lines.remove(0)["mcp_method"], "initialize");
    let first = &lines[0];
    assert_eq!(first["route"], "default");
    assert_eq!(first["http_method"], "POST");
    assert_eq!(first["mcp_method"], "tools/call");
    assert_eq!(first["name"], "echo");
    assert_eq!(first["status"], 200);
    assert_eq!(first["outcome"], "answered");
    assert_eq!(first["request_id"], "id-7");
    assert_eq!(first["bytes_out"].as_u64().unwrap(), answer.body.len() as u64);
    assert!(first["bytes_in"].as_u64().unwrap() > 100, "{first}");
    assert!(first["duration_ms"].as_f64() >= first["head_ms"].as_f64(), "{first}");
    assert!(first["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{first}");
    assert_eq!(first["trace_id"].as_str().unwrap().len(), 32);
    assert!(first["time"].as_str().unwrap().ends_with('Z'));
    let of = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("status")[2..], [json!(403), json!(404), json!(502)]);
    assert_eq!(of("stage")[2..], [json!("downstream"), json!("downstream"), json!("connect")]);
    assert_eq!(of("rule")[2..], [json!("origin"), json!("route"), Value::Null]);
    assert_eq!(of("name")[1], "https://a.example/b");
    let text = fs::read_to_string(&access).unwrap();
    assert!(!text.contains(CANARY), "{text}");
    assert_eq!(text, fs::read_to_string(&audit).unwrap());
    assert_eq!(fs::metadata(&audit).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn whoever_went_away_before_the_answer_is_told_of() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::options(&pki).stateless().start();
    let access = folder.path().join("access");
    let sidecar = Sidecar::start(&pki, &upstream, &["--access-log", access.to_str().unwrap()]);
    upstream.script(Rule::call("echo"), Fault::Stall);
    let body = call("echo", json!({})).to_string();
    let mut caller = TcpStream::connect(sidecar.address).unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    caller.write_all(head.as_bytes()).unwrap();
    upstream.wait_for_method("tools/call");
    drop(caller);
    let line = lines(&access, 1).remove(0);
    assert_eq!(line["outcome"], "aborted");
    assert_eq!(line["status"], Value::Null);
    assert_eq!(line["mcp_method"], "tools/call");
}

#[test]
fn a_log_that_was_moved_away_is_begun_again_at_sighup() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::options(&pki).stateless().start();
    let (access, moved) = (folder.path().join("access"), folder.path().join("moved"));
    let sidecar = Sidecar::start(&pki, &upstream, &["--access-log", access.to_str().unwrap()]);
    sidecar.call("echo", json!({}));
    lines(&access, 1);
    fs::rename(&access, &moved).unwrap();
    sidecar.process.signal(Signal::HUP);
    wait_for(|| access.exists().then_some(()));
    sidecar.call("echo", json!({}));
    assert_eq!(lines(&access, 1).len(), 1);
    assert_eq!(lines(&moved, 1).len(), 1);
}

#[test]
fn standard_output_has_lines_of_json_alone() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let mut sidecar = Sidecar::start(&pki, &upstream, &["--access-log", "-"]);
    sidecar.call("echo", json!({}));
    let line: Value = serde_json::from_str(&sidecar.process.next_line().unwrap()).unwrap();
    assert_eq!(line["name"], "echo");
}

#[test]
fn a_log_that_can_not_be_opened_is_a_mistake_of_configuration() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let nowhere = folder.path().join("none").join("log");
    for flag in ["--access-log", "--audit-log"] {
        let program: Countersign = serve(&pki, &upstream).arg(flag).arg(&nowhere);
        let mut process = program.start();
        assert_eq!(process.wait_exit(DEADLINE).code(), Some(78));
        assert!(process.stderr().contains(flag), "{}", process.stderr());
    }
}
