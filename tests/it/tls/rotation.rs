//! Our own certificate is replaced while a session goes on: what is in flight ends under the old
//! identity, what is new begins under the new one, and files that do not hold change nothing.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{keys, reconnect};
use crate::support::{
    jsonrpc::Client,
    pki::{Identity, Pki},
    process::Countersign,
    upstream::Upstream,
};

pub(crate) const RELOADED: &str = "reloaded the TLS files: the client certificate is ";
pub(crate) const KEPT: &str = "not used as they are now, the ones before stay";

/// Calls are in flight and a stream is open when `swap` puts `CN=second` into the files.
pub(super) fn a_session_outlives(program: &Countersign, upstream: &Upstream, swap: impl FnOnce()) {
    let mut client = Client::start(program);
    client.handshake();
    upstream.wait_for_listener();
    let waiting = [(); 3].map(|()| client.call("wait", json!({"gate": "end"})));
    let waits = |seen: &crate::support::upstream::Seen| seen.tool() == Some("wait");
    let before = upstream.wait_for(|seen| seen.iter().filter(|seen| waits(seen)).count() == 3);
    swap();
    client.process.wait_for_stderr(&format!("{RELOADED}CN=second"));

    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    let after = upstream.wait_for_request(|seen| seen.tool() == Some("count"));
    assert_eq!(after.client.as_deref(), Some("CN=second"));
    assert!(before.iter().all(|seen| seen.connection != after.connection));
    assert_eq!(upstream.notify("notifications/tools/list_changed", &Value::Null), 1);
    client.notification("notifications/tools/list_changed");
    upstream.release("end");
    waiting.iter().for_each(|id| drop(client.result(id)));
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.posts("initialize").len(), 1);
    assert_eq!(upstream.seen().last().unwrap().client.as_deref(), Some("CN=second"));
}

/// The name under which the next new connection is known.
#[track_caller]
pub(super) fn known_as(client: &mut Client, upstream: &Upstream) -> String {
    reconnect(upstream);
    client.tool("echo", json!({}));
    upstream.posts("tools/call").pop().unwrap().client.unwrap()
}

/// A session under `CN=client` that says what it reloads, and who comes next.
fn session() -> (Pki, Upstream, Client, Identity) {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream).arg("-v"));
    client.handshake();
    let second = pki.issue_client("second");
    (pki, upstream, client, second)
}

#[test]
fn a_certificate_overwritten_in_place_loses_no_call_and_no_stream() {
    for http in ["1.1", "2"] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let second = pki.issue_client("second");
        let program = Client::bridge(&pki, &upstream).args(["-v", "--http", http]);
        a_session_outlives(&program, &upstream, || pki.client.overwrite(&second));
    }
}

#[test]
fn a_certificate_swapped_by_kubernetes_loses_no_call_and_no_stream() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mount = pki.mount(&pki.client);
    let second = pki.issue_client("second");
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca).arg("-v");
    let program = program.arg("--cert").arg(&mount.cert).arg("--key").arg(&mount.key);
    a_session_outlives(&program, &upstream, || mount.swap(&second));
}

#[test]
fn a_hangup_looks_at_the_files_at_once() {
    let (pki, upstream, mut client, second) = session();
    client.process.signal(Signal::HUP);
    client.process.wait_for_stderr("the TLS files are as they were loaded before");
    pki.client.overwrite(&second);
    client.process.signal(Signal::HUP);
    client.process.wait_for_stderr(&format!("{RELOADED}CN=second"));
    assert_eq!(known_as(&mut client, &upstream), "CN=second");
}

#[test]
fn broken_files_keep_the_identity_and_are_told_once() {
    let (pki, upstream, mut client, second) = session();
    pki.client.break_files();
    client.process.wait_for_stderr(KEPT);
    assert_eq!(known_as(&mut client, &upstream), "CN=client");
    // Another look, and the same reason: nothing new to say.
    fs::write(&pki.client.cert, "-----BEGIN CERTIFICATE-----\nno more base64!\n").unwrap();
    assert_eq!(known_as(&mut client, &upstream), "CN=client");
    pki.client.overwrite(&second);
    client.process.wait_for_stderr(&format!("{RELOADED}CN=second"));
    assert_eq!(known_as(&mut client, &upstream), "CN=second");
    let said = client.process.stderr();
    let broken = said.lines().filter(|line| line.contains(KEPT) && !line.contains("does not fit"));
    assert_eq!(broken.count(), 1, "{said}");
}

#[test]
fn half_a_pair_waits_for_the_other_half() {
    let (pki, upstream, mut client, second) = session();
    fs::write(&pki.client.cert, second.cert_pem()).unwrap();
    client.process.wait_for_stderr("client.key (--key) does not fit the certificate in");
    assert_eq!(known_as(&mut client, &upstream), "CN=client");
    fs::write(&pki.client.key, second.key_pem()).unwrap();
    client.process.wait_for_stderr(&format!("{RELOADED}CN=second"));
    assert_eq!(known_as(&mut client, &upstream), "CN=second");
}

#[test]
fn a_key_may_be_rotated_together_with_its_passphrase() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let second = pki.issue_client("second");
    let key = keys::encrypted(&pki.client, "first phrase");
    let passphrase = keys::secret(&pki.client, "passphrase", "first phrase");
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca).arg("-v");
    let program = program.arg("--cert").arg(&pki.client.cert).arg("--key").arg(&key);
    let reference = format!("file:{}", passphrase.display());
    let mut client = Client::start(&program.args(["--key-passphrase", &reference]));
    client.handshake();

    fs::copy(keys::encrypted(&second, "other phrase"), &key).unwrap();
    fs::write(&pki.client.cert, second.cert_pem()).unwrap();
    client.process.wait_for_stderr("(--key-passphrase) does not open the private key");
    assert_eq!(known_as(&mut client, &upstream), "CN=client");
    keys::secret(&pki.client, "passphrase", "other phrase");
    client.process.signal(Signal::HUP);
    client.process.wait_for_stderr(&format!("{RELOADED}CN=second"));
    assert_eq!(known_as(&mut client, &upstream), "CN=second");
}

/// The other side rotates first, and refuses the old certificate from then on.
#[test]
fn calls_that_find_their_certificate_refused_go_on_with_the_one_that_is_there_by_now() {
    for http in ["1.1", "2"] {
        let (pki, next) = (Pki::new(), Pki::new());
        let upstream = Upstream::mutual(&pki);
        let mut client = Client::start(&Client::bridge(&pki, &upstream).args(["--http", http]));
        client.handshake();
        upstream.wait_for_listener();
        pki.client.overwrite(&next.issue_client("second"));
        upstream.rotate(&pki.server, &next.ca);
        upstream.drop_connections();
        let calls: Vec<Value> = (0..50).map(|n| client.call("count", json!({"n": n}))).collect();
        for id in &calls {
            client.result(id);
        }
        assert!((0..50).all(|n| upstream.ran(n) == 1));
        assert_eq!(upstream.seen().last().unwrap().client.as_deref(), Some("CN=second"));
        client.finish();
    }
}
