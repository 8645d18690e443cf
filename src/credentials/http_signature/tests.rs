//! What a request looks like when it was signed, and what is found before.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use bytes::Bytes;
use http::{Method, header};

use super::*;
use crate::credentials::tests::held;

const NOW: Duration = Duration::from_secs(1_618_884_473);

fn settings(folder: &Path, components: &[&str]) -> Settings {
    let components = components.iter().map(|it| Component::parse(it).unwrap()).collect();
    Settings {
        algorithm: Algorithm::HmacSha256,
        key: held(&folder.join("key"), "canary"),
        encoding: Encoding::Raw,
        components: Components::new(components).unwrap(),
        digest: Digest::Sha256,
        label: Label::new(Label::DEFAULT).unwrap(),
        keyid: None,
        tag: None,
        created: true,
        lifetime: None,
        nonce: false,
        names_algorithm: false,
    }
}

fn request(method: Method, body: &'static str) -> Request {
    let mut request = http::Request::builder().method(method).uri("https://a/mcp?b");
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request.body(Bytes::from_static(body.as_bytes())).unwrap()
}

/// The headers of a request that was signed; none where it could not be.
fn signed(settings: &Settings, mut request: Request) -> Result<http::HeaderMap, Failure> {
    let key = Key::new(settings.algorithm, settings.encoding, b"canary").ok().unwrap();
    let nonce = settings.nonce.then(|| sfv::StringRef::constant("n"));
    settings.sign(&mut request, &key, NOW, nonce)?;
    assert!(request.headers()[SIGNATURE].is_sensitive());
    Ok(request.into_parts().0.headers)
}

#[test]
fn the_default_fits_every_request_of_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), &Components::DEFAULT);
    let post = signed(&settings, request(Method::POST, "{}")).unwrap();
    assert_eq!(
        post[SIGNATURE_INPUT],
        "sig1=(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-type\" \
         \"content-digest\");created=1618884473"
    );
    assert_eq!(post[CONTENT_DIGEST], Digest::Sha256.of(b"{}"));
    for method in [Method::GET, Method::DELETE] {
        let bare = signed(&settings, request(method, "")).unwrap();
        assert_eq!(
            bare[SIGNATURE_INPUT],
            "sig1=(\"@method\" \"@authority\" \"@path\" \"@query\");created=1618884473"
        );
        assert!(!bare.contains_key(CONTENT_DIGEST));
    }
}

#[test]
fn a_digest_that_is_always_covered_is_always_set() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), &["@method", "content-digest"]);
    let bare = signed(&settings, request(Method::GET, "")).unwrap();
    assert_eq!(bare[CONTENT_DIGEST], Digest::Sha256.of(b""));
    let owned = HttpSignature::new(settings).owned;
    assert_eq!(owned, [SIGNATURE_INPUT, SIGNATURE, CONTENT_DIGEST]);
    let folder = tempfile::tempdir().unwrap();
    let other = self::settings(folder.path(), &["@method"]);
    assert_eq!(HttpSignature::new(other).owned, [SIGNATURE_INPUT, SIGNATURE]);
}

#[test]
fn a_signature_says_of_itself_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let all = Settings {
        label: Label::new("corp").unwrap(),
        keyid: Some(Text::new("the \"key\"").unwrap()),
        tag: Some(Text::new("mcp").unwrap()),
        lifetime: Some(Duration::from_secs(300)),
        nonce: true,
        names_algorithm: true,
        ..settings(folder.path(), &["@method"])
    };
    let headers = signed(&all, request(Method::GET, "")).unwrap();
    assert_eq!(
        headers[SIGNATURE_INPUT],
        "corp=(\"@method\");created=1618884473;keyid=\"the \\\"key\\\"\";alg=\"hmac-sha256\";\
         expires=1618884773;nonce=\"n\";tag=\"mcp\""
    );
    assert!(headers[SIGNATURE].to_str().unwrap().starts_with("corp=:"));
    let none = Settings { created: false, ..settings(folder.path(), &["@method"]) };
    let headers = signed(&none, request(Method::GET, "")).unwrap();
    assert_eq!(headers[SIGNATURE_INPUT], "sig1=(\"@method\")");
    for label in ["", "Sig", "1", "a b"] {
        assert!(Label::new(label).is_err(), "{label}");
    }
    assert!(Text::new("caf\u{e9}").is_err() && Text::new("a\nb").is_err());
}

#[test]
fn nonces_differ() {
    let (one, other) = (nonce().unwrap(), nonce().unwrap());
    assert!(one != other && one.as_str().len() == 22, "{one:?}");
}

#[test]
fn what_lacks_a_component_is_not_signed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), &["@method", "content-type"]);
    signed(&settings, request(Method::POST, "{}")).unwrap();
    let failure = signed(&settings, request(Method::GET, "")).unwrap_err();
    assert_eq!(failure.stage(), Stage::Credential);
    assert!(failure.what().contains("it has no header content-type"), "{failure}");
    assert!(failure.next_step().unwrap().contains("content-type?"), "{failure}");
}

#[test]
fn a_key_that_does_not_fit_is_found_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let good = settings(folder.path(), &["@method"]);
    good.check().unwrap();
    let bad = Settings { algorithm: Algorithm::Ed25519, ..good };
    let failure = bad.check().unwrap_err();
    assert_eq!(failure.stage(), Stage::Configuration);
    assert!(failure.what().contains("no private key") && !failure.what().contains("canary"));
}

#[test]
fn what_is_added_later_is_not_covered() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), &["@method", "authorization?"]);
    settings.precedes("--other", &[SIGNATURE]).unwrap();
    let failure = settings.precedes("--aws-sigv4", &[header::AUTHORIZATION]).unwrap_err();
    assert_eq!(failure.stage(), Stage::Configuration);
    assert!(failure.what().contains("header authorization, which --aws-sigv4"), "{failure}");
}

#[tokio::test]
async fn a_refused_key_is_read_again_and_a_broken_one_leaves_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let settings = settings(folder.path(), &["@method"]);
    let credential = HttpSignature::new(settings);
    let refused = async |status: StatusCode, generation| {
        let (parts, ()) = http::Response::builder().status(status).body(()).unwrap().into_parts();
        credential.refused(generation, &parts).await
    };
    let apply = async || {
        let mut request = request(Method::GET, "");
        let generation = credential.apply(&mut request).await.unwrap();
        (generation, request.headers()[SIGNATURE].clone())
    };
    let (generation, _) = apply().await;
    assert!(!refused(StatusCode::UNAUTHORIZED, generation).await);
    fs::write(&path, "-----BEGIN PUBLIC KEY-----").unwrap();
    refused(StatusCode::UNAUTHORIZED, generation).await;
    assert_eq!(apply().await.0, generation);
    fs::write(&path, "another").unwrap();
    assert!(!refused(StatusCode::BAD_REQUEST, generation).await);
    assert!(refused(StatusCode::FORBIDDEN, generation).await);
    assert!(apply().await.0 > generation);
}
