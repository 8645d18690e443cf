//! The upstream's certificate is replaced while a session goes on, under the same CA or another.

use std::fs;

use serde_json::{Value, json};

use super::{reconnect, reconnect_in_vain};
use crate::support::{jsonrpc::Client, pki::Pki, refusal::Refusal, upstream::Upstream};

#[test]
fn a_new_certificate_of_the_same_ca_goes_unnoticed() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let renewed = pki.issue_server("renewed", &["localhost", "127.0.0.1"]);
    upstream.rotate(&renewed, &pki.ca);
    reconnect(&upstream);
    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.posts("initialize").len(), 1);
}

#[test]
fn a_bundle_of_both_cas_carries_over_the_change_of_one() {
    let (pki, next) = (Pki::new(), Pki::new());
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream).arg("-v"));
    client.handshake();
    fs::write(&pki.ca.cert, format!("{}{}", pki.ca.pem(), next.ca.pem())).unwrap();
    client.process.wait_for_stderr("reloaded the TLS files");
    upstream.rotate(&next.server, &pki.ca);
    reconnect(&upstream);
    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.posts("initialize").len(), 1);
}

#[test]
fn a_new_ca_is_refused_until_the_file_of_cacert_has_it() {
    let (pki, next) = (Pki::new(), Pki::new());
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream).arg("-v"));
    client.handshake();
    upstream.rotate(&next.server, &next.ca);
    reconnect_in_vain(&upstream);
    let id = client.call("count", json!({"n": 1}));
    // Both CAs have the same name, as one that is made anew.
    let words = ["we refused the certificate of the upstream", "does not verify"];
    Refusal::of(&client.error(&id)).says("tls", &words, "look at --cacert");

    fs::write(&pki.ca.cert, next.ca.pem()).unwrap();
    pki.client.overwrite(&next.issue_client("second"));
    client.process.wait_for_stderr("the client certificate is CN=second");
    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!((upstream.ran(1), upstream.posts("initialize").len()), (1, 1));
}

#[test]
fn a_client_certificate_that_the_upstream_no_longer_takes_is_told_at_the_call() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream).arg("-v"));
    client.handshake();
    upstream.rotate(&pki.server, &pki.foreign_ca);
    reconnect_in_vain(&upstream);
    let id = client.call("count", json!({"n": 1}));
    let words = ["the upstream 127.0.0.1 refused our client certificate (CN=client"];
    Refusal::of(&client.error(&id)).says("tls", &words, "client.pem (--cert)");

    pki.client.overwrite(&pki.foreign);
    client.process.wait_for_stderr("the client certificate is CN=foreign");
    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}
