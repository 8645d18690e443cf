//! HMAC, as the upstream receives it: on every request, over what was received, with the key that is
//! there by now. That the codes are right is for others to say: tests/verify.

use std::fs;

use http::Method;
use serde_json::{Value, json};

use super::{secret, values};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    refusal::Refusal,
    script::{Fault, Rule},
    upstream::{Seen, Upstream},
};

fn signature(seen: &Seen) -> String {
    let found = values(seen, "x-hub-signature-256");
    assert_eq!(found.len(), 1, "{seen:?}");
    found[0].to_owned()
}

#[test]
fn every_request_is_signed_and_equal_bodies_alike() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let key = secret(folder.path(), "a shared secret");
    let flag = format!("preset=body,key=file:{}", key.display());
    let mut client = Client::start(&Client::bridge(&pki, &upstream).args(["--hmac", &flag]));
    client.handshake();
    upstream.wait_for_listener();
    client.tool("echo", json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.wait_for(|seen| seen.iter().any(|seen| seen.method == Method::DELETE));
    let of = |method: Method| signature(seen.iter().find(|seen| seen.method == method).unwrap());
    assert_eq!(of(Method::GET), of(Method::DELETE), "both have an empty body");
    assert_ne!(of(Method::GET), of(Method::POST));
}

#[test]
fn a_refused_key_that_was_replaced_signs_the_request_anew() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    for status in [401, 403] {
        let upstream = Upstream::mutual(&pki);
        let key = secret(folder.path(), "old");
        let flag = format!("preset=body,key=file:{}", key.display());
        let mut client = Client::start(&Client::bridge(&pki, &upstream).args(["--hmac", &flag]));
        client.handshake();
        fs::write(&key, "new").unwrap();
        upstream.script(Rule::call("count").times(1), Fault::status(status));
        assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
        let sent = upstream.posts("tools/call");
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0].body, sent[1].body);
        assert_ne!(signature(&sent[0]), signature(&sent[1]));
        client.finish();
    }
}

#[test]
fn what_sha_1_is_worth_is_said_once() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let key = secret(folder.path(), "a shared secret");
    let flag = format!("preset=body,algorithm=sha1,key=file:{}", key.display());
    let mut client = Client::start(&Client::bridge(&pki, &upstream).args(["--hmac", &flag]));
    client.handshake();
    for n in 0..3 {
        client.tool("echo", json!({ "n": n }));
    }
    client.process.wait_for_stderr("SHA-1");
    assert!(signature(&upstream.posts("tools/call")[0]).starts_with("sha1="));
    let said = client.process.stderr();
    assert_eq!(said.matches("SHA-1").count(), 1, "{said}");
    client.finish();
}

#[test]
fn a_request_whose_signed_header_is_missing_is_not_sent() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let key = secret(folder.path(), "a shared secret");
    let flag = format!("preset=body,key=file:{},string_to_sign={{header:x-none}}", key.display());
    let refusal = Refusal::of_initialize(&Client::bridge(&pki, &upstream).args(["--hmac", &flag]));
    refusal.says("credential", &["x-none", "is not in this request"], "{header:x-none?}");
    assert!(upstream.seen().is_empty());
}

#[test]
fn mistakes_are_told_with_their_place_and_the_next_step() {
    for (flag, what, hint) in [
        ("preset=body", "--hmac: expected a key", "key = \"env:HMAC_SECRET\""),
        ("preset=none,key=env:HOME", "--hmac preset: unknown preset", "timestamp-body"),
        ("preset=body,key=canary", "--hmac key: expected a reference", "env:NAME"),
        ("preset=body,key=env:HOME,key_encoding=hex", "is not written in hexadecimal", "raw, hex"),
        ("preset=timestamp,key=env:HOME", "sends a {key_id}, and none is given", "key_id ="),
        ("preset=body,key=env:HOME,key_id=me", "neither sends nor signs it", "X-API-Key"),
        ("preset=body,key=env:HOME,string_to_sign={${HOME}}", "found a variable", "twice"),
        ("preset=body,key=env:HOME,string_to_sign={header:cookie}", "cookies can't", "leave"),
        ("preset=body,key=env:HOME,string_to_sign={nonce}", "signed and not sent", "send it"),
        ("preset=body,key=env:HOME,hash=sha1", "--hmac hash: unknown key", "the keys are"),
        ("key=env:HOME", "expected a preset, or string_to_sign and headers", "timestamp"),
    ] {
        let (pki, upstream) = (Pki::new(), Upstream::mutual(&Pki::new()));
        let bridge = Client::bridge(&pki, &upstream).args(["--hmac", flag]).env("HOME", "/x");
        let refusal = Refusal::of_initialize(&bridge);
        refusal.says("configuration", &[what], hint);
        assert!(upstream.seen().is_empty());
    }
}
