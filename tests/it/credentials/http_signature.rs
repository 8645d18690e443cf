//! HTTP Message Signatures, as the upstream receives them: over every request of a session, each
//! made anew, with the digest of the body that came with it; or nothing comes at all. Whether they
//! verify is asked of another implementation, in `tests/verify`.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::values;
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::Countersign,
    refusal::Refusal,
    upstream::{Seen, Upstream},
};

/// A private key in a file, of its owner's alone.
fn key(pki: &Pki, of: &'static rcgen::SignatureAlgorithm) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = pki.path().join("signing.pem");
    fs::write(&path, rcgen::KeyPair::generate_for(of).unwrap().serialize_pem()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn flag(algorithm: &str, key: &Path, more: &str) -> String {
    format!("alg={algorithm},key=file:{},keyid=me{more}", key.display())
}

/// All requests of a session that had a stream and was ended.
fn session(upstream: &Upstream, program: &Countersign) -> Vec<Seen> {
    let mut client = Client::start(program);
    client.handshake();
    upstream.wait_for_listener();
    client.tool("echo", json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.wait_for(|seen| seen.iter().any(|seen| seen.method == Method::DELETE));
    for method in [Method::POST, Method::GET, Method::DELETE] {
        assert!(seen.iter().any(|seen| seen.method == method), "no {method} in {seen:?}");
    }
    seen
}

#[test]
fn every_request_of_a_session_is_signed() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let signature = flag("ed25519", &key(&pki, &rcgen::PKCS_ED25519), ",nonce=true");
    let program = Client::bridge(&pki, &upstream).args(["--http-signature", &signature]);
    let mut nonces = HashSet::new();
    for seen in session(&upstream, &program) {
        let [input] = values(&seen, "signature-input")[..] else { panic!("{:?}", seen.headers) };
        let [signature] = values(&seen, "signature")[..] else { panic!("{:?}", seen.headers) };
        let (covered, digests) = if seen.method == Method::POST {
            let digest = STANDARD.encode(Sha256::digest(&seen.body));
            (r#" "content-type" "content-digest""#, vec![format!("sha-256=:{digest}:")])
        } else {
            ("", vec![])
        };
        let covered =
            format!(r#"sig1=("@method" "@authority" "@path" "@query"{covered});created="#);
        let parameters = input.strip_prefix(&covered).unwrap_or_else(|| panic!("{input}"));
        let (created, rest) = parameters.split_once(r#";keyid="me";nonce=""#).unwrap();
        assert!(created.parse::<u64>().is_ok(), "{input}");
        assert!(nonces.insert(rest.to_owned()), "{rest}");
        assert!(signature.starts_with("sig1=:") && signature.ends_with("==:"), "{signature}");
        assert_eq!(values(&seen, "content-digest"), digests);
    }
}

#[test]
fn a_profile_says_what_is_covered_and_how() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    key(&pki, &rcgen::PKCS_RSA_SHA256);
    let text = format!(
        "[profile.prod]\nurl = '{}?tenant=acme'\ncert = 'client.pem'\nkey = 'client.key'\n\
         cacert = 'ca.pem'\nbearer = {{ env = 'TOKEN' }}\n\
         [profile.prod.http_signature]\nalg = 'rsa-pss-sha512'\nkey = {{ file = 'signing.pem' }}\n\
         keyid = '${{WHO}}'\nlabel = 'corp'\ntag = 'mcp'\nexpires = '1m'\nsend_alg = true\n\
         digest = 'sha-512'\ncreated = false\ncomponents = ['@method', '@target-uri', \
         '@query-param;name=\"tenant\"', 'authorization', 'mcp-session-id?', 'content-digest']\n",
        upstream.url()
    );
    let file = pki.path().join("corp.toml");
    fs::write(&file, text).unwrap();
    let program = Countersign::new().arg("--config").arg(file).args(["--profile", "prod"]);
    let seen = session(&upstream, &program.env("TOKEN", "s3cret").env("WHO", "ada"));
    for seen in &seen {
        let session = seen.session().map(|_| r#" "mcp-session-id""#).unwrap_or_default();
        let input = seen.header("signature-input").unwrap();
        let covered = format!(
            r#"corp=("@method" "@target-uri" "@query-param";name="tenant" "authorization"{session} "content-digest");keyid="ada";alg="rsa-pss-sha512";expires="#
        );
        assert!(input.starts_with(&covered) && input.ends_with(r#";tag="mcp""#), "{input}");
        assert!(seen.header("content-digest").unwrap().starts_with("sha-512=:"));
    }
    assert!(seen.iter().any(|seen| seen.session().is_none()));
}

#[test]
fn a_request_that_lacks_what_is_to_be_covered_stays_here() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let signature = flag(
        "ed25519",
        &key(&pki, &rcgen::PKCS_ED25519),
        ",components=@method mcp-session-id content-type",
    );
    let program = Client::bridge(&pki, &upstream).args(["--http-signature", &signature]);
    Refusal::of_initialize(&program).says(
        "credential",
        &["the request can't be signed: it has no header mcp-session-id"],
        "write mcp-session-id?",
    );
    assert!(upstream.seen().is_empty());
}

#[test]
fn what_can_not_be_signed_is_refused_at_start() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let key = key(&pki, &rcgen::PKCS_ED25519);
    for (signature, what, hint) in [
        (
            flag("ecdsa-p256-sha256", &key, ""),
            "signing.pem holds an Ed25519 key, but ecdsa-p256-sha256 signs with a key on the curve \
             P-256",
            "choose the algorithm",
        ),
        (flag("hmac-sha256", &key, ""), "but hmac-sha256 signs with a shared secret", ""),
        (flag("ed25519", &pki.client.cert, ""), "holds no private key in PEM", ""),
        (
            flag("ed25519", &key, ",components=@method cookie"),
            "--http-signature components: the header cookie can't be covered: cookies are added \
             after the signature",
            "remove it",
        ),
        (
            flag("ed25519", &key, ",components=@method @status"),
            "the component @status can't be covered: a request has no status",
            "remove it",
        ),
        (flag("ed25519", &key, ",label=A"), "the label is not of the form", "small letters"),
    ] {
        let program = Client::bridge(&pki, &upstream).args(["--http-signature", &signature]);
        Refusal::of_initialize(&program).says("configuration", &[what], hint);
    }
    let signature = flag("ed25519", &key, "");
    let program = Client::bridge(&pki, &upstream).args([
        "--http-signature",
        &signature,
        "--header",
        "Content-Digest: sha-256=:AA==:",
    ]);
    Refusal::of_initialize(&program).says(
        "configuration",
        &["--header content-digest sets the header content-digest already"],
        "",
    );
    assert_eq!(upstream.record().connections.len(), 0);
}
