//! The audit log of the bridge: what a client asked for, and what came of it.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use super::lines;
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    refusal::Refusal,
    script::{Ending, Fault, Rule},
    upstream::Upstream,
};

const CANARY: &str = "Zq7Xw2Kd9";

#[test]
fn each_request_of_the_client_is_a_line() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let log = folder.path().join("audit");
    let bridge = Client::bridge(&pki, &upstream).arg("--audit-log").arg(&log);
    let mut client = Client::start(&bridge.args(["--header", &format!("X-Tenant: {CANARY}")]));
    client.handshake();
    client.tool("echo", json!({"text": CANARY}));
    upstream.script(Rule::call("count"), Fault::RunThenHangup(Ending::Reset));
    let id = client.call("count", json!({"n": 1}));
    assert_eq!(client.error(&id)["data"]["stage"], "send");
    let id = client.request("no/such", Value::Null);
    client.error(&id);
    assert_eq!(client.finish(), [] as [Value; 0]);

    let lines = lines(&log, 4);
    let said: Vec<_> = lines
        .iter()
        .map(|line| {
            let of = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            [of("mcp_method"), of("name"), of("outcome"), of("stage")].join(" ")
        })
        .collect();
    assert_eq!(
        said,
        [
            "initialize - answered -",
            "tools/call echo answered -",
            "tools/call count failed send",
            "no/such - answered server",
        ]
    );
    assert!(lines.iter().all(|line| line["duration_ms"].as_f64().unwrap() > 0.0), "{lines:?}");
    assert!(!fs::read_to_string(&log).unwrap().contains(CANARY));
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_is_never_answered_is_told_when_the_client_left() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let log = folder.path().join("audit");
    let mut client = Client::start(&Client::bridge(&pki, &upstream).arg("--audit-log").arg(&log));
    client.handshake();
    let id = client.call("wait", json!({"gate": "never"}));
    upstream.wait_for_method("tools/call");
    client.notify("notifications/cancelled", json!({"requestId": id}));
    upstream.wait_for_method("notifications/cancelled");
    client.finish();
    let lines = lines(&log, 2);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["name"], "wait");
}

#[test]
fn an_audit_log_that_can_not_be_opened_stops_the_start() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let log = folder.path().join("none").join("audit");
    let bridge = Client::bridge(&pki, &upstream).arg("--audit-log").arg(&log);
    let refusal = Refusal::of_initialize(&bridge);
    refusal.says("configuration", &["--audit-log: ", "none/audit"], "folder");
    assert!(upstream.seen().is_empty());
}
