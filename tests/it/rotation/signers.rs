//! What is made with a key: the upstream recomputes it with the new key, and accepts nothing else.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::a_file_is_rotated;
use crate::support::upstream::Seen;

const KEPT: &str = "stays in use";

fn header<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn a_shared_secret_of_hmac() {
    let is_new = |seen: &Seen| {
        let code = hmac_sha256(b"\x02\x03", &seen.body);
        header(seen, "x-signature") == format!("sha256={}", hex(&code))
    };
    let profile = r#"hmac = { preset = "body", header = "X-Signature", key_encoding = "hex",
                              key = { file = "FILE" } }"#;
    for status in [401, 403] {
        a_file_is_rotated(("key", "0001", "0203", "no hex"), KEPT, status, profile, is_new);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The base of a signature over the method alone (RFC 9421, section 2.5), and the signature.
fn method_signed(seen: &Seen) -> Option<(String, Vec<u8>)> {
    let input = header(seen, "signature-input").strip_prefix("sig1=")?;
    let signature = header(seen, "signature").strip_prefix("sig1=:")?.strip_suffix(':')?;
    let base = format!("\"@method\": {}\n\"@signature-params\": {input}", seen.method);
    Some((base, STANDARD.decode(signature).ok()?))
}

#[test]
fn a_shared_secret_of_http_signatures() {
    let is_new = |seen: &Seen| {
        let found = method_signed(seen);
        found.is_some_and(|(base, found)| found == hmac_sha256(b"second", base.as_bytes()))
    };
    let profile = r#"http_signature = { alg = "hmac-sha256", components = ["@method"], keyid = "k",
                                        key = { file = "FILE" } }"#;
    a_file_is_rotated(("key", "first", "second", ""), KEPT, 401, profile, is_new);
}

#[test]
fn a_private_key_of_http_signatures() {
    let [old, new] = [(); 2].map(|()| rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    let public = new.public_key_raw().to_vec();
    let is_new = move |seen: &Seen| {
        let key = UnparsedPublicKey::new(&ED25519, &public);
        let found = method_signed(seen);
        found.is_some_and(|(base, found)| key.verify(base.as_bytes(), &found).is_ok())
    };
    let profile = r#"http_signature = { alg = "ed25519", components = ["@method"], keyid = "k",
                                        key = { file = "FILE" } }"#;
    let (old, new) = (old.serialize_pem(), new.serialize_pem());
    let half = &old[..old.len() / 2];
    a_file_is_rotated(("key.pem", &old, &new, half), KEPT, 401, profile, is_new);
}

#[test]
fn the_shared_credentials_file_of_aws() {
    let file = |id: &str| {
        format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = secret-of-{id}\n")
    };
    let is_new = |seen: &Seen| header(seen, "authorization").contains("Credential=AKIDSECOND/");
    let profile = r#"aws_sigv4 = { region = "eu-west-1", service = "execute-api",
                                   credentials_file = "FILE", config_file = "/dev/null" }"#;
    let (old, new) = (file("AKIDFIRST"), file("AKIDSECOND"));
    for status in [401, 403] {
        let contents = ("credentials", &*old, &*new, "[default]\naws_access_key_id");
        a_file_is_rotated(contents, "stay in use", status, profile, is_new);
    }
}

/// What a token's signature is over, and the signature (RFC 7515, section 7.1).
fn token_signed(seen: &Seen) -> Option<(&str, Vec<u8>)> {
    let (message, signature) =
        header(seen, "authorization").strip_prefix("Bearer ")?.rsplit_once('.')?;
    Some((message, URL_SAFE_NO_PAD.decode(signature).ok()?))
}

#[test]
fn a_shared_secret_of_jwt() {
    let is_new = |seen: &Seen| {
        let found = token_signed(seen);
        found.is_some_and(|(message, found)| found == hmac_sha256(b"second", message.as_bytes()))
    };
    for more in ["", ", per_request = true"] {
        let profile = format!("jwt = {{ alg = \"HS256\", key = {{ file = \"FILE\" }}{more} }}");
        for status in [401, 403] {
            a_file_is_rotated(("key", "first", "second", ""), KEPT, status, &profile, is_new);
        }
    }
}

#[test]
fn a_private_key_of_jwt() {
    let ed25519: &dyn VerificationAlgorithm = &ED25519;
    let kinds = [
        ("EdDSA", "", &rcgen::PKCS_ED25519, ed25519),
        ("ES256", "", &rcgen::PKCS_ECDSA_P256_SHA256, &ECDSA_P256_SHA256_FIXED),
        ("ES256", ", per_request = true", &rcgen::PKCS_ECDSA_P256_SHA256, &ECDSA_P256_SHA256_FIXED),
    ];
    for (alg, more, kind, verifier) in kinds {
        let [old, new] = [(); 2].map(|()| rcgen::KeyPair::generate_for(kind).unwrap());
        let public = new.public_key_raw().to_vec();
        let is_new = move |seen: &Seen| {
            let key = UnparsedPublicKey::new(verifier, &public);
            let found = token_signed(seen);
            found.is_some_and(|(message, found)| key.verify(message.as_bytes(), &found).is_ok())
        };
        let profile = format!("jwt = {{ alg = \"{alg}\", key = {{ file = \"FILE\" }}{more} }}");
        let (old, new) = (old.serialize_pem(), new.serialize_pem());
        let half = &old[..old.len() / 2];
        a_file_is_rotated(("key.pem", &old, &new, half), KEPT, 401, &profile, is_new);
    }
}
