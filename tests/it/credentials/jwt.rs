//! Tokens minted here, as the upstream receives them: one for many requests or one each, another
//! after a refusal, none with a configuration that does not hold.

use std::{collections::HashSet, fs, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;
use rcgen::KeyPair;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{secret, values};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::Countersign,
    refusal::Refusal,
    script::{Fault, Rule},
    upstream::{Seen, Upstream},
};

const FIRST: &str = "the first secret, which has enough bytes for HS256";
const SECOND: &str = "the second secret, which has enough bytes for HS256";

/// The bridge with `--jwt` of these words, the key in a file.
fn minting(pki: &Pki, upstream: &Upstream, key: &Path, words: &str) -> Countersign {
    let jwt = format!("key=file:{},{words}", key.display());
    Client::bridge(pki, upstream).args(["--jwt", &jwt])
}

fn token(seen: &Seen) -> &str {
    let [value] = values(seen, "authorization")[..] else { panic!("{seen:?}") };
    value.strip_prefix("Bearer ").unwrap()
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// Calls that have the first token are refused, and by then there is another key.
fn refused_while_the_key_changes(upstream: &Upstream, key: &Path) {
    let (first, key) = (token(&upstream.seen()[0]).to_owned(), key.to_owned());
    let refused = move |seen: &Seen| {
        let refused = seen.tool().is_some() && token(seen) == first;
        if refused {
            fs::write(&key, SECOND).unwrap();
        }
        refused
    };
    upstream.script(Rule::matching(refused).always(), Fault::status(401));
}

#[test]
fn every_request_of_a_session_has_the_same_token() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let words = "alg=HS256,iss=me,sub=${USER},aud=gateway,claims.tenant.id=acme,lifetime=10m";
    let key = secret(pki.path(), FIRST);
    let mut client = Client::start(&minting(&pki, &upstream, &key, words).env("USER", "ada"));
    client.handshake();
    upstream.wait_for_listener();
    client.tool("echo", json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.wait_for(|seen| seen.iter().any(|seen| seen.method == Method::DELETE));
    let tokens: HashSet<&str> = seen.iter().map(token).collect();
    assert_eq!(tokens.len(), 1);
    let claims = claims(token(&seen[0]));
    for (name, value) in [("iss", "me"), ("sub", "ada"), ("aud", "gateway")] {
        assert_eq!(claims[name], value);
    }
    assert_eq!(claims["tenant"], json!({"id": "acme"}));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 600);
    assert_eq!(claims["nbf"], claims["iat"]);
    assert_eq!(claims["jti"].as_str().unwrap().len(), 22);
}

#[test]
fn a_token_each_is_bound_to_its_request() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let words = "alg=ES256,per_request=true,header=X-Proof,claims.htm={method},\
                 claims.htu={url},claims.body={body_sha256_base64url}";
    let mut client = Client::start(&minting(&pki, &upstream, &pki.client.key, words));
    client.handshake();
    client.tool("echo", json!({"text": "caf\u{e9}"}));
    client.tool("echo", json!({"text": "caf\u{e9}"}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let mut ids = HashSet::new();
    for seen in upstream.seen() {
        let [proof] = values(&seen, "x-proof")[..] else { panic!("{seen:?}") };
        let claims = claims(proof);
        assert_eq!(claims["htm"], seen.method.as_str());
        assert_eq!(claims["htu"], upstream.url());
        assert_eq!(claims["body"], URL_SAFE_NO_PAD.encode(Sha256::digest(&seen.body)));
        assert!(ids.insert(claims["jti"].to_string()), "{claims}");
    }
}

#[test]
fn a_key_that_was_rotated_signs_the_second_try_and_all_after_it() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let key = secret(pki.path(), FIRST);
    let mut client = Client::start(&minting(&pki, &upstream, &key, "alg=HS256"));
    client.handshake();
    refused_while_the_key_changes(&upstream, &key);
    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1);
    let calls = upstream.posts("tools/call");
    assert_eq!(calls.len(), 3);
    assert_ne!(token(&calls[0]), token(&calls[1]));
    assert_eq!(token(&calls[1]), token(&calls[2]));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn twenty_that_are_refused_at_once_share_one_new_token() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let key = secret(pki.path(), FIRST);
    let mut client = Client::start(&minting(&pki, &upstream, &key, "alg=HS256"));
    client.handshake();
    refused_while_the_key_changes(&upstream, &key);
    let calls: Vec<Value> = (0..20).map(|n| client.call("count", json!({"n": n}))).collect();
    calls.iter().for_each(|id| drop(client.result(id)));
    assert!((0..20).all(|n| upstream.ran(n) == 1));
    let seen = upstream.posts("tools/call");
    let tokens: HashSet<&str> = seen.iter().map(token).collect();
    assert_eq!(tokens.len(), 2, "{tokens:?}");
}

#[test]
fn a_token_that_was_new_is_not_followed_by_another() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let key = secret(pki.path(), FIRST);
    let words = "alg=HS256,per_request=true";
    let mut client = Client::start(&minting(&pki, &upstream, &key, words));
    client.handshake();
    upstream.script(Rule::matching(|seen| seen.tool().is_some()).always(), Fault::status(403));
    let id = client.call("count", json!({"n": 1}));
    Refusal::of(&client.error(&id)).says("response", &["forbids the request (403"], "");
    assert_eq!(upstream.posts("tools/call").len(), 1);
}

#[test]
fn a_key_that_does_not_fit_is_told_to_the_client_and_nothing_is_sent() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
    let key = secret(pki.path(), rsa.trim_end());
    for (words, said) in [
        ("alg=ES256", "ES256 needs a key on the curve P-256, found an RSA key"),
        ("alg=none", "--jwt alg: expected the name of an algorithm that signs"),
        ("alg=RS256,claims.a={method}", "a part of one request"),
    ] {
        let refusal = Refusal::of_initialize(&minting(&pki, &upstream, &key, words));
        refusal.says("configuration", &[said], "");
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_bearer_token_beside_it_is_a_mistake_that_names_both() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let key = secret(pki.path(), FIRST);
    let program = minting(&pki, &upstream, &key, "alg=HS256").args(["--bearer", "env:TOKEN"]);
    let refusal = Refusal::of_initialize(&program.env("TOKEN", "x"));
    refusal.says("configuration", &["--bearer", "--jwt"], "one of the two");
}

#[test]
fn a_certificate_is_replaced_together_with_its_key() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let [old, new] = ["old", "new"].map(|name| pki.issue_client(name));
    let mount = pki.mount(&old);
    let words = format!("alg=ES256,x5c=true,certificate={}", mount.cert.display());
    let mut client = Client::start(&minting(&pki, &upstream, &mount.key, &words));
    client.handshake();
    let x5c = |seen: &Seen| {
        let head = token(seen).split('.').next().unwrap().to_owned();
        let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
        head["x5c"][0].as_str().unwrap().to_owned()
    };
    let first = x5c(&upstream.seen()[0]);
    let was = first.clone();
    mount.swap(&new);
    let old = move |seen: &Seen| seen.tool().is_some() && x5c(seen) == was;
    upstream.script(Rule::matching(old).always(), Fault::status(401));
    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    assert_ne!(x5c(upstream.posts("tools/call").last().unwrap()), first);
    assert_eq!(client.finish(), [] as [Value; 0]);
}
