//! Tokens minted here, verified by PyJWT: each algorithm, over each request of a session.

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{KeyPair, SignatureAlgorithm};
use serde_json::{Value, json};

use crate::{
    python::{self, Request},
    session::requests,
    support::pki::Pki,
};

/// Not `jwt`, which is the name of PyJWT.
const KIND: &str = "json_web_token";
const SECRET: &str = "a secret of sixty-four bytes, which is what HS512 wants: .......";

/// A session's requests, its tokens made with this key and what more is said of them.
fn minted(algorithm: &str, key: &str, more: &str) -> Vec<Request> {
    let profile = format!(
        "[profile.default.jwt]\nalg = \"{algorithm}\"\nkey = {{ file = \"key\" }}\niss = \"me\"\n\
         kid = \"key-1\"\naud = [\"others\", \"gateway\"]\n{more}"
    );
    requests("auto", &profile, &[("key", key)])
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
    for request in minted(algorithm, pair.serialize_pem().trim_end(), "") {
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
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    for (algorithm, key, encoding) in [
        ("HS256", SECRET, "raw"),
        ("HS384", &STANDARD.encode(SECRET), "base64"),
        ("HS512", &hex, "hex"),
    ] {
        for request in minted(algorithm, key, &format!("key_encoding = \"{encoding}\"")) {
            python::verify(KIND, &request, &material(algorithm, SECRET));
        }
    }
}

#[test]
fn a_token_each_is_bound_to_its_request_in_a_header_of_its_own() {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let more = "per_request = true\nheader = \"X-Proof\"\nprefix = \"DPoP\"\n\
                claims = { htm = \"{method}\", htu = \"{url}\", hash = \"{body_sha256}\" }";
    let mut material = material("EdDSA", &pair.public_key_pem());
    material["header"] = "x-proof".into();
    material["prefix"] = "DPoP ".into();
    material["bound"] = true.into();
    let mut tokens = Vec::new();
    for request in minted("EdDSA", &pair.serialize_pem(), more) {
        python::verify(KIND, &request, &material);
        let body = [request.body.as_slice(), b" "].concat();
        python::refuses(KIND, &Request { body, ..request.clone() }, &material);
        let url = request.url.replace("/mcp", "/admin");
        python::refuses(KIND, &Request { url, ..request.clone() }, &material);
        let proof = request.headers.into_iter().find(|(name, _)| name == "x-proof");
        tokens.push(proof.unwrap().1);
    }
    let count = tokens.len();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), count, "no token is sent twice");
}

#[test]
fn claims_of_every_form_and_the_certificate_of_the_key() {
    let identity = Pki::new().issue_client("signer");
    let more = "certificate = \"cert\"\nx5c = true\nx5t_s256 = true\n\
                [profile.default.jwt.claims]\nlevel = 3\nshare = 0.5\non = true\n\
                since = 2026-11-23\nroles = [\"caf\u{e9}\", 1, { x = \"{{y}}\" }]\n\
                tenant.id = \"acme\"";
    let profile = format!(
        "[profile.default.jwt]\nalg = \"ES256\"\nkey = {{ file = \"key\" }}\niss = \"me\"\n\
         kid = \"key-1\"\naud = \"gateway\"\n{more}"
    );
    let files = [("key", &*identity.key_pem()), ("cert", &*identity.cert_pem())];
    let mut material = material("ES256", "");
    material["key"] = Value::Null;
    material["certificate"] = identity.cert_pem().into();
    material["claims"] = json!({
        "level": 3, "share": 0.5, "on": true, "since": "2026-11-23",
        "roles": ["caf\u{e9}", 1, {"x": "{y}"}], "tenant": {"id": "acme"},
    });
    for request in requests("1.1", &profile, &files) {
        python::verify(KIND, &request, &material);
    }
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    let [pair, other] =
        [(); 2].map(|()| KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap());
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
            let another = if &parts[part][at..=at] == "A" { "B" } else { "A" };
            parts[part].replace_range(at..=at, another);
            parts.join(".")
        });
        python::refuses(KIND, &tampered, &mine);
    }
}
