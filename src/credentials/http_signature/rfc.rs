//! The examples of RFC 9421, as data under `tests/vectors/rfc9421`.
//!
//! Left out is what is not a request that we could send: the responses (2.2.9, 2.4 and B.2.4), the
//! other forms of a request target (2.2.5), and the parameters in another order (2.3).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;

use super::*;

const KEYS: &str = include_str!("../../../tests/vectors/rfc9421/keys.json");
const SIGNATURES: &str = include_str!("../../../tests/vectors/rfc9421/signatures.json");
const COMPONENTS: &str = include_str!("../../../tests/vectors/rfc9421/components.json");

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A message of the RFC as the request that it is here: `Host` is its URL's, `Content-Length` its
/// body's.
fn request(message: &Value) -> Request {
    let mut request = http::Request::builder().method(text(&message["method"]));
    for header in list(&message["headers"]) {
        let value = HeaderValue::from_bytes(text(&header[1]).as_bytes()).unwrap();
        request = request.header(text(&header[0]), value);
    }
    let body = Bytes::copy_from_slice(text(&message["body"]).as_bytes());
    request.uri(text(&message["url"])).body(body).unwrap()
}

fn components(case: &Value) -> Components {
    let parse = |name| Component::parse(text(name)).unwrap();
    // Not `new`, which refuses that nothing is covered, as in B.2.1.
    Components(list(&case["components"]).map(parse).collect())
}

/// The base of a case over a message.
fn base(case: &Value, message: &Value) -> Result<Base, Failure> {
    let parameters = &case["parameters"];
    let string = |name: &str| {
        let text = parameters[name].as_str()?.to_owned();
        Some(sfv::String::from_string(text).unwrap())
    };
    let integer = |name: &str| Some(Integer::try_from(parameters[name].as_u64()?).unwrap());
    let (keyid, nonce, tag) = (string("keyid"), string("nonce"), string("tag"));
    let parameters = Parameters {
        created: integer("created"),
        keyid: keyid.as_deref(),
        alg: parameters["alg"].as_str().map(|alg| Algorithm::named(alg).unwrap()),
        expires: integer("expires"),
        nonce: nonce.as_deref(),
        tag: tag.as_deref(),
    };
    Base::new(&Outgoing::new(&request(message)), &components(case), &parameters)
}

/// The key of a case, from the form that its reference would hold.
fn key(case: &Value) -> Key {
    let key = &read(KEYS)[text(&case["key"])];
    let (form, private) = (text(&key["form"]), text(&key["private"]));
    let secret = match form {
        "base64" => private.to_owned(),
        _ => format!("-----BEGIN {form}-----\n{private}\n-----END {form}-----\n"),
    };
    let algorithm = Algorithm::named(text(&case["algorithm"])).unwrap();
    Key::new(algorithm, Encoding::Base64, secret.as_bytes()).ok().unwrap()
}

/// Whether a signature is the case's key's, with a verifier that knows the public key alone.
fn verify(case: &Value, base: &str, signature: &[u8]) -> bool {
    let public = STANDARD.decode(text(&read(KEYS)[text(&case["key"])]["public"])).unwrap();
    let algorithm: &'static dyn VerificationAlgorithm = match text(&case["algorithm"]) {
        "ed25519" => &ED25519,
        "ecdsa-p256-sha256" => &ECDSA_P256_SHA256_FIXED,
        "rsa-pss-sha512" => &RSA_PSS_2048_8192_SHA512,
        "rsa-v1_5-sha256" => &RSA_PKCS1_2048_8192_SHA256,
        other => panic!("{other}"),
    };
    UnparsedPublicKey::new(algorithm, public).verify(base.as_bytes(), signature).is_ok()
}

fn cases() -> Vec<(Value, Value)> {
    let vectors = read(SIGNATURES);
    let message = |case: &Value| vectors["messages"][text(&case["message"])].clone();
    list(&vectors["signatures"]).map(|case| (case.clone(), message(case))).collect()
}

#[test]
fn every_component_has_the_value_of_the_rfc() {
    for case in list(&read(COMPONENTS)) {
        let request = request(&case["message"]);
        for line in list(&case["lines"]) {
            let components = Components(vec![Component::parse(text(&line[0])).unwrap()]);
            let base = Base::new(&Outgoing::new(&request), &components, &Parameters::default());
            let base = base.unwrap().text;
            let first = base.lines().next().unwrap();
            assert_eq!(first, text(&line[1]), "section {}", case["section"]);
        }
    }
}

#[test]
fn every_signature_base_is_that_of_the_rfc() {
    for (case, message) in cases() {
        let base = base(&case, &message).unwrap();
        assert_eq!(base.text, text(&case["base"]), "section {}", case["section"]);
    }
}

#[test]
fn every_signature_is_that_of_the_rfc() {
    for (case, message) in cases() {
        let expected = STANDARD.decode(text(&case["signature"])).unwrap();
        let base = base(&case, &message).unwrap().text;
        let signature = key(&case).sign(base.as_bytes()).unwrap();
        let section = &case["section"];
        match text(&case["algorithm"]) {
            "hmac-sha256" => assert_eq!(signature, expected, "section {section}"),
            "ed25519" | "rsa-v1_5-sha256" => {
                assert_eq!(signature, expected, "section {section}");
                assert!(verify(&case, &base, &expected), "section {section}");
            }
            // Another one each time: both are signatures of the base, and of no other.
            _ => {
                assert!(verify(&case, &base, &expected), "section {section}");
                assert!(verify(&case, &base, &signature), "section {section}");
                assert!(!verify(&case, &base[1..], &signature), "section {section}");
            }
        }
    }
}

/// Appendix B.4: what an intermediary may change, and what it may not.
#[test]
fn a_signature_survives_what_it_does_not_cover() {
    let vectors = read(SIGNATURES);
    let (case, original) = cases().into_iter().find(|(case, _)| case["section"] == "B.4").unwrap();
    let original = base(&case, &original).unwrap().text;
    let transformed = |name: &str| {
        let message = &vectors["messages"][format!("transform: {name}")];
        base(&case, message).unwrap().text
    };
    for name in [
        "a query parameter and accept-language added",
        "date removed, referer added, accept collapsed",
        "reordered",
    ] {
        assert_eq!(transformed(name), original, "{name}");
    }
    for name in ["method and authority changed", "accept reordered"] {
        assert_ne!(transformed(name), original, "{name}");
    }
}
