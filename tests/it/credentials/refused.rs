//! A 401: what can be read again is read again, once for all who were refused, and the request is
//! sent once more; everyone else is told what to look at.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{Program, secret, values};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::Countersign,
    refusal::Refusal,
    script::{Fault, Reply, Rule},
    upstream::{Seen, Upstream},
};

const CHALLENGE: &str = "Bearer error=\"invalid_token\", error_description=\"expired\"";

/// Requests with this `Authorization` are not run, from now on.
fn refuse(upstream: &Upstream, value: &'static str) {
    let has = move |seen: &Seen| values(seen, "authorization") == [value];
    let reply = Reply::new(401).header("www-authenticate", CHALLENGE);
    upstream.script(Rule::matching(has).always(), Fault::Answer(reply));
}

/// What the calls were sent with, in order.
fn sent(upstream: &Upstream) -> Vec<String> {
    let calls = upstream.posts("tools/call");
    calls.iter().flat_map(|seen| values(seen, "authorization")).map(String::from).collect()
}

fn bearer(pki: &Pki, upstream: &Upstream, reference: &str) -> Countersign {
    Client::bridge(pki, upstream).args(["--bearer", reference])
}

/// A session with a token from a file, which is `next` by the time that the first is refused.
fn refused_while_it_changes(folder: &Path, next: Option<&'static str>) -> (Upstream, Client) {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let file = secret(folder, "first");
    let reference = format!("file:{}", file.display());
    let mut client = Client::start(&bearer(&pki, &upstream, &reference));
    client.handshake();
    let folder = folder.to_owned();
    let refused = move |seen: &Seen| {
        let first = seen.tool().is_some() && values(seen, "authorization") == ["Bearer first"];
        if let (true, Some(next)) = (first, next) {
            secret(&folder, next);
        }
        first
    };
    upstream.script(Rule::matching(refused).always(), Fault::status(401));
    (upstream, client)
}

#[test]
fn a_file_that_was_rotated_is_read_again_and_the_call_sent_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, mut client) = refused_while_it_changes(folder.path(), Some("second"));
    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    assert_eq!(sent(&upstream), ["Bearer first", "Bearer second"]);
    assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1);
    assert_eq!(sent(&upstream).len(), 3);
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.posts("initialize").len(), 1);
}

#[test]
fn a_second_refusal_is_final() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, mut client) = refused_while_it_changes(folder.path(), Some("second"));
    refuse(&upstream, "Bearer second");
    let id = client.call("count", json!({"n": 1}));
    let refusal = Refusal::of(&client.error(&id));
    refusal.says("response", &["refused the credentials (401 Unauthorized"], "has not expired");
    assert_eq!(sent(&upstream), ["Bearer first", "Bearer second"]);
    assert_eq!(upstream.ran(1), 0);
}

#[test]
fn a_file_that_is_still_the_same_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, mut client) = refused_while_it_changes(folder.path(), None);
    let id = client.call("count", json!({"n": 1}));
    Refusal::of(&client.error(&id)).says("response", &["401"], "has not expired");
    assert_eq!(sent(&upstream), ["Bearer first"]);
}

#[test]
fn a_variable_can_not_change_and_is_not_sent_again() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    refuse(&upstream, "Bearer s3cret-canary");
    let program = bearer(&pki, &upstream, "env:TOKEN").env("TOKEN", "s3cret-canary");
    let refusal = Refusal::of_initialize(&program);
    let words = ["refused the credentials (401 Unauthorized; WWW-Authenticate: ", CHALLENGE];
    refusal.says("response", &words, "the token's variable is set");
    assert!(!format!("{refusal:?}").contains("canary"));
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn without_a_credential_a_401_says_what_may_be_missing() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    upstream.script(Rule::next(), Fault::status(401));
    let refusal = Refusal::of_initialize(&Client::bridge(&pki, &upstream));
    refusal.says("response", &["401"], "'Bearer ' prefix (--bearer adds it)");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_403_is_explained_and_never_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Program::new(folder.path(), "echo token");
    upstream.script(Rule::next(), Fault::status(403));
    let refusal = Refusal::of_initialize(&bearer(&pki, &upstream, &program.reference()));
    refusal.says("response", &["forbids the request (403 Forbidden"], "scopes and permissions");
    assert_eq!((upstream.seen().len(), program.runs()), (1, 1));
}

/// The program's second run waits until all twenty have been refused.
#[test]
fn twenty_calls_that_are_refused_at_once_cause_one_run_of_the_program() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let script = "case $(wc -l <runs) in\n1) echo first;;\n\
                  *) until [ -e all ]; do sleep 0.01; done; echo second;;\nesac";
    let program = Program::new(folder.path(), script);
    let bridge = bearer(&pki, &upstream, &program.reference()).env("PATH", "/usr/bin:/bin");
    let mut client = Client::start(&bridge);
    client.handshake();
    upstream.wait_for_listener();
    refuse(&upstream, "Bearer first");
    let calls: Vec<Value> = (0..20).map(|n| client.call("count", json!({"n": n}))).collect();
    upstream.wait("twenty refusals", |record| {
        let calls = record.requests.iter().filter(|seen| seen.tool().is_some());
        (calls.count() == 20).then_some(())
    });
    fs::write(folder.path().join("all"), "").unwrap();
    calls.iter().for_each(|id| drop(client.result(id)));
    assert_eq!(program.runs(), 2);
    assert!((0..20).all(|n| upstream.ran(n) == 1));
    let sent = sent(&upstream);
    assert_eq!(sent.len(), 40);
    assert!(sent[20..].iter().all(|value| value == "Bearer second"), "{sent:?}");
}
