//! HTTP Message Signatures, verified by the library `http-message-signatures` and the digests of
//! `cryptography`: each algorithm, over each request of a session.

use std::{fs, os::unix::fs::PermissionsExt};

use http::Method;
use rcgen::{KeyPair, SignatureAlgorithm};
use serde_json::{Value, json};

use crate::{
    python::{self, Request},
    support::{jsonrpc::Client, pki::Pki, process::Countersign, upstream::Upstream},
};

const KIND: &str = "http_signature";

/// What the verifier knows of a key: its public half, or the secret that both sides have.
struct Key {
    algorithm: &'static str,
    private: String,
    public: String,
}

impl Key {
    fn pair(algorithm: &'static str, of: &'static SignatureAlgorithm) -> Self {
        let pair = KeyPair::generate_for(of).unwrap();
        Self { algorithm, private: pair.serialize_pem(), public: pair.public_key_pem() }
    }

    fn material(&self, covers: &str) -> Value {
        json!({"algorithm": self.algorithm, "key": self.public, "keyid": "me", "covers": covers})
    }
}

/// All that a session with this key and these words sends: a call, a stream, the end.
fn session(key: &Key, more: &str) -> Vec<Request> {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let path = pki.path().join("signing");
    fs::write(&path, &key.private).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let signature = format!("alg={},key=file:{},keyid=me{more}", key.algorithm, path.display());
    let program = Countersign::to(&format!("{}?tenant=caf%C3%A9+%26+co", upstream.url()))
        .identity(&pki.client)
        .cacert(&pki.ca)
        .args(["--http-signature", &signature, "--header", "X-Dict: a=1,  b=(x   y)"])
        .args(["--header", "X-Many: one, caf\u{e9}"])
        .args(["--bearer", "env:TOKEN"])
        .env("TOKEN", "s3cret");
    let mut client = Client::start(&program);
    client.handshake();
    upstream.wait_for_listener();
    client.tool("echo", json!({"text": "caf\u{e9}"}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.wait_for(|seen| seen.iter().any(|seen| seen.method == Method::DELETE));
    seen.iter().map(|seen| Request::of(&upstream, seen)).collect()
}

/// Every request verifies; those with a body cover it.
fn all_verify(key: &Key) {
    for request in session(key, "") {
        let always = "@method @authority @path @query";
        let covers = match request.method.as_str() {
            "POST" => format!("{always} content-type content-digest"),
            _ => always.to_owned(),
        };
        python::verify(KIND, &request, &key.material(&covers));
    }
}

#[test]
fn ed25519() {
    all_verify(&Key::pair("ed25519", &rcgen::PKCS_ED25519));
}

#[test]
fn ecdsa_on_both_curves() {
    all_verify(&Key::pair("ecdsa-p256-sha256", &rcgen::PKCS_ECDSA_P256_SHA256));
    all_verify(&Key::pair("ecdsa-p384-sha384", &rcgen::PKCS_ECDSA_P384_SHA384));
}

#[test]
fn rsa_with_both_paddings() {
    all_verify(&Key::pair("rsa-pss-sha512", &rcgen::PKCS_RSA_SHA256));
    all_verify(&Key::pair("rsa-v1_5-sha256", &rcgen::PKCS_RSA_SHA256));
}

#[test]
fn a_shared_secret() {
    let secret = "a secret that both sides know".to_owned();
    all_verify(&Key { algorithm: "hmac-sha256", private: secret.clone(), public: secret });
}

#[test]
fn every_form_of_component_and_every_parameter() {
    let key = Key::pair("ed25519", &rcgen::PKCS_ED25519);
    let covers = "@method @target-uri @scheme @request-target @authority @path @query \
                  \"@query-param\";name=\"tenant\" \
                  content-digest authorization \"x-many\";bs \"x-dict\";key=\"b\" user-agent \
                  \"content-digest\";sf \"content-digest\";key=\"sha-512\"";
    // The same names as the bridge takes them: without quotes, but for those of a parameter.
    let names = covers.split(' ').map(|name| name.replacen('"', "", 2)).collect::<Vec<_>>();
    let components = format!("{} mcp-session-id? content-length?", names.join(" "));
    let more = format!(
        ",components={components},digest=sha-512,expires=1m,nonce=true,send_alg=true,tag=mcp,\
         label=corp"
    );
    let mut material = key.material(covers);
    material["tag"] = json!("mcp");
    material["label"] = json!("corp");
    material["parameters"] = json!("nonce alg expires");
    for request in session(&key, &more) {
        python::verify(KIND, &request, &material);
    }
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    let key = Key::pair("ed25519", &rcgen::PKCS_ED25519);
    let material = key.material("@method");
    let all = session(&key, "");
    let call = all.iter().find(|it| String::from_utf8_lossy(&it.body).contains("tools/call"));
    let call = call.unwrap();
    python::verify(KIND, call, &material);
    let text = |value: &str| value.replace("json", "text");
    for changed in [
        Request { method: "PUT".to_owned(), ..call.clone() },
        Request { url: format!("{}&x=1", call.url), ..call.clone() },
        Request { body: b"{}".to_vec(), ..call.clone() },
        call.clone().with_header("content-type", text),
        call.clone().with_header("signature-input", |value| value.replace("me", "you")),
        call.clone().with_header("signature", |value| value.replace("sig1=:", "sig1=:AAAA")),
    ] {
        python::refuses(KIND, &changed, &material);
    }
    let another = Key::pair("ed25519", &rcgen::PKCS_ED25519);
    python::refuses(KIND, call, &another.material("@method"));
    // It covers less than it has to.
    python::refuses(KIND, call, &key.material("@method x-dict"));
}
