//! Who the upstream takes us for: any kind of key, in any form that people have it in.

use std::path::Path;

use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    SignatureAlgorithm,
};
use serde_json::{Value, json};

use super::keys;
use crate::support::{
    jsonrpc::Client,
    pki::{Identity, Pki},
    process::Countersign,
    refusal::Refusal,
    upstream::Upstream,
};

/// A whole session of `program`; the upstream must have known it as this client throughout.
#[track_caller]
pub(super) fn is_known_as(program: &Countersign, upstream: &Upstream, client: &str) {
    let before = upstream.seen().len();
    let mut session = Client::start(program);
    session.handshake();
    assert_eq!(session.tool("echo", json!({"a": 1})), json!({"a": 1}));
    assert_eq!(session.finish(), [] as [Value; 0]);
    let seen = upstream.seen().split_off(before);
    assert!(seen.len() >= 3, "{seen:?}");
    assert!(seen.iter().all(|seen| seen.client.as_deref() == Some(client)), "{seen:?}");
}

/// The bridge with this certificate and a key in another file than the identity's own.
fn with_key(pki: &Pki, upstream: &Upstream, identity: &Identity, key: &Path) -> Countersign {
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca);
    program.arg("--cert").arg(&identity.cert).arg("--key").arg(key)
}

#[test]
fn keys_of_every_kind_sign_under_both_versions_of_tls() {
    let kinds: [(&str, &SignatureAlgorithm); 4] = [
        ("rsa", &PKCS_RSA_SHA256),
        ("p256", &PKCS_ECDSA_P256_SHA256),
        ("p384", &PKCS_ECDSA_P384_SHA384),
        ("ed25519", &PKCS_ED25519),
    ];
    let pki = Pki::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let upstream = Upstream::options(&pki).tls(&[version]).start();
        for (name, kind) in kinds {
            let identity = pki.issue_client_with(name, kind);
            let program = with_key(&pki, &upstream, &identity, &identity.key);
            is_known_as(&program, &upstream, &format!("CN={name}"));
        }
        let spoken = upstream.record().connections[0].tls.clone();
        assert_eq!(spoken, Some(format!("{:?}", version.version)));
    }
}

#[test]
fn keys_in_the_form_of_their_algorithm_are_read() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    for (label, name, kind) in [
        ("RSA PRIVATE KEY", "pkcs1", &PKCS_RSA_SHA256),
        ("EC PRIVATE KEY", "sec1", &PKCS_ECDSA_P256_SHA256),
    ] {
        let identity = pki.issue_client_with(name, kind);
        let key = keys::bare(&identity, label);
        let program = with_key(&pki, &upstream, &identity, &key);
        is_known_as(&program, &upstream, &format!("CN={name}"));
    }
}

#[test]
fn an_encrypted_key_opens_with_the_passphrase_of_a_reference() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let key = keys::encrypted(&pki.client, "correct horse");
    let file = keys::secret(&pki.client, "passphrase", "correct horse");
    for reference in ["env:PASSPHRASE".to_owned(), format!("file:{}", file.display())] {
        let program = with_key(&pki, &upstream, &pki.client, &key)
            .args(["--key-passphrase", &reference])
            .env("PASSPHRASE", "correct horse");
        is_known_as(&program, &upstream, "CN=client");
    }
}

#[test]
fn an_encrypted_key_without_its_passphrase_is_refused_before_anything_is_sent() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let key = keys::encrypted(&pki.client, "correct horse");
    let program = with_key(&pki, &upstream, &pki.client, &key);
    let words = ["is encrypted and no passphrase is given", "encrypted.key (--key)"];
    Refusal::of_initialize(&program).says("configuration", &words, "--key-passphrase");

    let program = program.args(["--key-passphrase", "env:WRONG"]).env("WRONG", "a canary");
    let refusal = Refusal::of_initialize(&program);
    let words = ["the passphrase from env:WRONG (--key-passphrase) does not open the private key"];
    refusal.says("configuration", &words, "openssl pkey");
    assert!(!refusal.message.contains("canary"));
    assert_eq!(upstream.record().connections.len(), 0);
}

#[test]
fn chain_and_key_may_stand_in_one_file() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca);
    let program = program.arg("--cert").arg(pki.client.combined());
    is_known_as(&program, &upstream, "CN=client");
}
