//! Tokens minted here, verified by PyJWT: each algorithm, over each request of a session.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use rcgen::{KeyPair, SignatureAlgorithm};
use serde_json::{Value, json};

use crate::{
    python::{self, Request},
    support::{jsonrpc::Client, pki::Pki, process::Countersign, upstream::Upstream},
};

/// Not `jwt`, which is what PyJWT is imported as.
const KIND: &str = "json_web_token";
const SECRET: &str = "a secret of sixty-four bytes, which is what HS512 wants: .......";

fn private(folder: &Path, text: &str) -> String {
    let path = folder.join("signing");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!("file:{}", path.display())
}

/// All that a session sends: a call, a stream, the end.
fn session(pki: &Pki, start: impl FnOnce(Countersign) -> Countersign) -> Vec<Request> {
    let upstream = Upstream::mutual(pki);
    let program = Countersign::to(&format!("{}?tenant=caf%C3%A9+%26+co", upstream.url()));
    let program = start(program.identity(&pki.client).cacert(&pki.ca));
    let mut client = Client::start(&program);
    client.handshake();
    upstream.wait_for_listener();
    client.tool("echo", json!({"text": "caf\u{e9}"}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.wait_for(|seen| seen.iter().any(|seen| seen.method == Method::DELETE));
    seen.iter().map(|seen| Request::of(&upstream, seen)).collect()
}

/// A session with `--jwt` of this key and these words.
fn minted(algorithm: &str, key: &str, more: &str) -> Vec<Request> {
    let pki = Pki::new();
    let key = private(pki.path(), key);
    let jwt = format!("alg={algorithm},key={key},iss=me,aud=gateway,kid=key-1{more}");
    session(&pki, |program| program.args(["--jwt", &jwt]))
}

fn material(algorithm: &str, key: &str) -> Value {
    json!({
        "algorithm": algorithm, "key": key, "audience": "gateway",
        "header": "authorization", "prefix": "Bearer ",
    })
}

/// Every request verifies.
fn all_verify(algorithm: &str, of: &'static SignatureAlgorithm) {
    let pair = KeyPair::generate_for(of).unwrap();
    for request in minted(algorithm, &pair.serialize_pem(), "") {
        python::verify(KIND, &request, &material(algorithm, &pair.public_key_pem()));
    }
}

#[test]
fn ecdsa_on_both_curves() {
    all_verify("ES256", &rcgen::PKCS_ECDSA_P256_SHA256);
    all_verify("ES384", &rcgen::PKCS_ECDSA_P384_SHA384);
}

#[test]
fn eddsa() {
    all_verify("EdDSA", &rcgen::PKCS_ED25519);
}

#[test]
fn rsa_with_both_paddings_and_all_hashes() {
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        all_verify(algorithm, &rcgen::PKCS_RSA_SHA256);
    }
}

#[test]
fn shared_secrets_in_each_encoding() {
    for request in minted("HS256", SECRET, "") {
        python::verify(KIND, &request, &material("HS256", SECRET));
    }
    let base64 = STANDARD.encode(SECRET);
    for request in minted("HS384", &base64, ",key_encoding=base64") {
        python::verify(KIND, &request, &material("HS384", SECRET));
    }
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    for request in minted("HS512", &hex, ",key_encoding=hex") {
        python::verify(KIND, &request, &material("HS512", SECRET));
    }
}

#[test]
fn a_token_each_is_bound_to_its_request_in_a_header_of_its_own() {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let more = ",per_request=true,header=X-Proof,prefix=DPoP,claims.htm={method},\
                claims.htu={url},claims.hash={body_sha256}";
    let mut material = material("EdDSA", &pair.public_key_pem());
    material["header"] = "x-proof".into();
    material["prefix"] = "DPoP ".into();
    material["bound"] = "yes".into();
    for request in minted("EdDSA", &pair.serialize_pem(), more) {
        python::verify(KIND, &request, &material);
        let body = [request.body.as_slice(), b" "].concat();
        python::refuses(KIND, &Request { body, ..request.clone() }, &material);
        let url = request.url.replace("caf", "tea");
        python::refuses(KIND, &Request { url, ..request }, &material);
    }
}

#[test]
fn claims_of_every_form_and_the_certificate_of_the_key() {
    let pki = Pki::new();
    let identity = pki.issue_client("signer");
    let profile = format!(
        "[profile.default.jwt]\nalg = \"ES256\"\nkey = \"file:{}\"\ncertificate = \"{}\"\n\
         x5c = true\nx5t_s256 = true\niss = \"me\"\naud = [\"a\", \"gateway\"]\nkid = \"key-1\"\n\
         [profile.default.jwt.claims]\nlevel = 3\nshare = 0.5\non = true\nsince = 2026-11-23\n\
         roles = [\"caf\u{e9}\", 1, {{ x = \"{{{{y}}}}\" }}]\ntenant.id = \"${{TENANT}}\"\n",
        identity.key.display(),
        identity.cert.display(),
    );
    let path = pki.path().join("countersign.toml");
    fs::write(&path, profile).unwrap();
    let claims = json!({
        "level": 3, "share": 0.5, "on": true, "since": "2026-11-23",
        "roles": ["caf\u{e9}", 1, {"x": "{y}"}], "tenant": {"id": "{acme}"},
    });
    let mut material = material("ES256", "");
    material.as_object_mut().unwrap().remove("key");
    material["certificate"] = identity.cert_pem().into();
    material["claims"] = claims.to_string().into();
    let start = |program: Countersign| program.arg("--config").arg(&path).env("TENANT", "{acme}");
    for request in session(&pki, start) {
        python::verify(KIND, &request, &material);
    }
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let request = minted("ES256", &pair.serialize_pem(), "").remove(0);
    let mine = material("ES256", &pair.public_key_pem());
    python::refuses(KIND, &request, &material("ES256", &other.public_key_pem()));
    let mut elsewhere = mine.clone();
    elsewhere["audience"] = "elsewhere".into();
    python::refuses(KIND, &request, &elsewhere);
    for part in 0..3 {
        let tampered = request.clone().with_header("authorization", |value| {
            let mut parts: Vec<String> = value.split('.').map(str::to_owned).collect();
            // In the middle: the last character of a part has bits that mean nothing.
            let at = parts[part].len() / 2;
            let other = if &parts[part][at..=at] == "A" { "B" } else { "A" };
            parts[part].replace_range(at..=at, other);
            parts.join(".")
        });
        python::refuses(KIND, &tampered, &mine);
    }
}
