//! HMAC, checked by Python's own.

use serde_json::json;

use crate::{
    python::{refuses, verify},
    session::requests,
};

#[test]
fn every_request_of_every_preset_holds() {
    for preset in ["timestamp", "body", "timestamp-body", "slack"] {
        let named = if preset == "timestamp" { r#", key_id = "me""# } else { "" };
        let profile =
            format!(r#"hmac = {{ preset = "{preset}", key = {{ file = "key" }}{named} }}"#);
        let material = json!({"shape": preset, "key": "a shared secret", "key_id": "me"});
        for http in ["1.1", "2"] {
            for request in requests(http, &profile, &[("key", "a shared secret\n")]) {
                verify("hmac", &request, &material);
            }
        }
    }
}

#[test]
fn every_hash_and_both_writings_hold() {
    for algorithm in ["sha1", "sha256", "sha384", "sha512"] {
        let profile = format!(
            r#"hmac = {{ preset = "timestamp-body", algorithm = "{algorithm}", digest = "base64",
                         key = {{ file = "key" }}, key_encoding = "hex" }}"#
        );
        let (hex, key) = ("6120736861726564207365637265740a", "a shared secret\n");
        let material = json!({
            "shape": "timestamp-body", "key": key, "algorithm": algorithm, "digest": "base64",
        });
        for request in requests("1.1", &profile, &[("key", hex)]) {
            verify("hmac", &request, &material);
        }
    }
}

#[test]
fn all_that_can_be_signed_is_what_was_received() {
    let profile = r#"
        headers = { X-Tenant = "acme" }
        [profile.default.hmac]
        key = { file = "key" }
        string_to_sign = '{method}\n{path}\n{query}\n{host}\n{timestamp}\n{nonce}\n{body_sha256}\n{header:x-tenant}\n{header:host}\n{header:content-length?}\n{url}'
        timestamp = "rfc3339"
        headers = { X-Signature = "{signature}", X-Time = "{timestamp}", X-Nonce = "{nonce}" }
    "#;
    let material = json!({"shape": "everything", "key": "a shared secret"});
    for http in ["1.1", "2"] {
        let requests = requests(http, profile, &[("key", "a shared secret")]);
        for request in &requests {
            verify("hmac", request, &material);
        }
        let nonce = |request: &crate::python::Request| {
            request.headers.iter().find(|(name, _)| name == "x-nonce").unwrap().1.clone()
        };
        let mut nonces: Vec<String> = requests.iter().map(nonce).collect();
        nonces.sort();
        nonces.dedup();
        assert_eq!(nonces.len(), requests.len(), "a nonce was used twice");

        let tampered = |change: fn(&mut crate::python::Request)| {
            let mut request = requests[0].clone();
            change(&mut request);
            refuses("hmac", &request, &material);
        };
        tampered(|request| request.body[5] ^= 1);
        tampered(|request| request.method = "PUT".to_owned());
        tampered(|request| request.url.push_str("?a=b"));
        let longer =
            requests[0].clone().with_header("content-length", |length| format!("{length}0"));
        refuses("hmac", &longer, &material);
        let other = requests[0].clone().with_header("x-tenant", |_| "evil".to_owned());
        refuses("hmac", &other, &material);
    }
}
