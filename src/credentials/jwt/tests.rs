//! The credential itself: which token a request has, and when it is another.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::{super::tests::held, *};

const SECRET: &str = "a secret of thirty-two bytes ...";

fn settings(key: Held) -> Settings {
    Settings {
        algorithm: Algorithm::new("HS256").unwrap(),
        key,
        encoding: Encoding::Raw,
        certificate: None,
        kid: Some("1".to_owned()),
        typ: Settings::DEFAULT_TYPE.to_owned(),
        claims: vec![("iss".to_owned(), text("me"))],
        lifetime: Settings::DEFAULT_LIFETIME,
        per_request: false,
        carrier: Carrier::new(None, None).unwrap(),
    }
}

fn text(text: &str) -> Claim {
    Claim::Text(Text::new(text, true).unwrap())
}

fn request() -> Request {
    http::Request::post("https://mcp.example.com/mcp").body(Bytes::from_static(b"{}")).unwrap()
}

/// The same moment, so many seconds later.
fn later(now: Now, seconds: u64) -> Now {
    let by = Duration::from_secs(seconds);
    Now { steady: now.steady + by, wall: now.wall + by }
}

/// A part of a token: 0 is its header, 1 are its claims.
fn part(value: &HeaderValue, number: usize) -> Value {
    let token = value.to_str().unwrap().rsplit(' ').next().unwrap();
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn sent(jwt: &Jwt, now: Now) -> (HeaderValue, Generation) {
    let (value, generation) = jwt.value(&request(), now).await.unwrap();
    assert!(value.is_sensitive());
    (value, generation)
}

#[tokio::test]
async fn a_token_is_made_of_its_settings_the_clock_and_an_id() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(held(&folder.path().join("key"), SECRET));
    let (signer, _) = Pair::new(settings.clone()).current(Instant::now()).await.unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_392_000_900);
    let token = mint(&settings, &signer, now, [255; 16], None).unwrap();
    let again = mint(&settings, &signer, now, [255; 16], None).unwrap();
    assert_eq!(token, again);
    let value = derived::sensitive(&token).unwrap();
    assert!(value.to_str().unwrap().starts_with("Bearer eyJ"));
    assert_eq!(part(&value, 0), json!({"alg": "HS256", "typ": "JWT", "kid": "1"}));
    let claims = json!({
        "iss": "me", "iat": 1_795_391_995, "nbf": 1_795_391_995, "exp": 1_795_392_295,
        "jti": "_____________________w",
    });
    assert_eq!(part(&value, 1), claims);
}

#[tokio::test]
async fn one_token_is_for_many_requests_until_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let jwt = Jwt::new(settings(held(&folder.path().join("key"), SECRET)));
    let now = Now::read();
    let first = sent(&jwt, now).await;
    assert_eq!(sent(&jwt, later(now, 200)).await, first);
    let second = sent(&jwt, later(now, 210)).await;
    assert_ne!(part(&second.0, 1)["jti"], part(&first.0, 1)["jti"]);
    assert_eq!(second.1, first.1 + 1);
}

#[tokio::test]
async fn twenty_that_are_refused_together_have_one_new_token() {
    let folder = tempfile::tempdir().unwrap();
    let jwt = Jwt::new(settings(held(&folder.path().join("key"), SECRET)));
    let now = Now::read();
    let (_, refused) = sent(&jwt, now).await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        assert!(jwt.replaced(refused, later(now, 2)).await);
        seen.push(sent(&jwt, later(now, 2)).await);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
    // The new one is no better, so that is not what is wrong.
    let (_, refused) = seen[0];
    assert!(!jwt.replaced(refused, later(now, 2)).await);
    assert!(!jwt.replaced(refused, later(now, 60)).await);
    assert_eq!(sent(&jwt, later(now, 60)).await, seen[0]);
}

#[tokio::test]
async fn a_new_key_makes_a_new_token_however_young_the_refused_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let jwt = Jwt::new(settings(held(&path, SECRET)));
    let now = Now::read();
    let (first, refused) = sent(&jwt, now).await;
    assert!(!jwt.replaced(refused, now).await);
    fs::write(&path, "another secret of so many bytes .").unwrap();
    assert!(jwt.replaced(refused, now).await);
    let (second, _) = sent(&jwt, now).await;
    let signature = |value: &HeaderValue| value.to_str().unwrap().rsplit('.').next().unwrap().len();
    assert_ne!(first, second);
    assert_eq!(signature(&first), signature(&second));
}

#[tokio::test]
async fn a_token_of_one_request_is_bound_to_it_and_only_a_new_key_makes_it_better() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let claims = vec![("htm".to_owned(), text("{method}")), ("htu".to_owned(), text("{url}"))];
    let jwt = Jwt::new(Settings { per_request: true, claims, ..settings(held(&path, SECRET)) });
    assert!(jwt.renewable());
    let now = Now::read();
    let (first, generation) = sent(&jwt, now).await;
    assert_eq!(part(&first, 1)["htm"], "POST");
    assert_eq!(part(&first, 1)["htu"], "https://mcp.example.com/mcp");
    let (second, _) = sent(&jwt, now).await;
    assert_ne!(part(&first, 1)["jti"], part(&second, 1)["jti"]);
    let (refused, ()) = http::Response::builder().status(403).body(()).unwrap().into_parts();
    assert!(!jwt.refused(generation, &refused).await);
    fs::write(&path, "another secret of so many bytes .").unwrap();
    assert!(jwt.refused(generation, &refused).await);
    let (other, ()) = http::Response::builder().status(404).body(()).unwrap().into_parts();
    assert!(!jwt.refused(generation, &other).await);
}

/// Puts the key of `pair` there, or its certificate.
struct Files<'a>(&'a Path);

impl Files<'_> {
    fn key(&self, pair: &KeyPair) {
        fs::write(self.0.join("key.pem"), pair.serialize_pem()).unwrap();
    }

    fn certificate(&self, pair: &KeyPair) {
        let certificate = CertificateParams::new(vec!["a".to_owned()]).unwrap();
        fs::write(self.0.join("cert.pem"), certificate.self_signed(pair).unwrap().pem()).unwrap();
    }

    fn settings(&self) -> Settings {
        let path = self.0.join("key.pem");
        let pem = fs::read(&path).unwrap();
        let certificate = Certificate { path: self.0.join("cert.pem"), x5c: true, x5t_s256: true };
        Settings {
            algorithm: Algorithm::new("ES256").unwrap(),
            certificate: Some(certificate),
            ..settings(held(&path, pem))
        }
    }
}

#[tokio::test]
async fn a_certificate_is_shown_with_signatures_of_its_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files(folder.path());
    let [old, new] = [(); 2].map(|()| KeyPair::generate().unwrap());
    files.key(&old);
    files.certificate(&old);
    let jwt = Jwt::new(files.settings());
    let now = Now::read();
    let (first, refused) = sent(&jwt, now).await;
    let shown = part(&first, 0)["x5c"].clone();
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert_eq!(part(&first, 0)["x5t#S256"].as_str().unwrap().len(), 43);

    // One after the other, as rotations are; refused in between.
    files.key(&new);
    assert!(!jwt.pair.refused(1, now.steady).await);
    assert_eq!(sent(&jwt, now).await.0, first);
    files.certificate(&new);
    assert!(jwt.replaced(refused, now).await);
    let (second, _) = sent(&jwt, now).await;
    assert_ne!(part(&second, 0)["x5c"], shown);
}

#[tokio::test]
async fn a_pair_that_does_not_fit_is_found_at_start_and_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files(folder.path());
    let [pair, other] = [(); 2].map(|()| KeyPair::generate().unwrap());
    files.key(&pair);
    files.certificate(&other);
    let failure = files.settings().check().unwrap_err();
    assert_eq!(failure.stage(), Stage::Configuration);
    assert!(failure.what().contains("cert.pem does not belong to the key file:"), "{failure}");
    let failure = Jwt::new(files.settings()).value(&request(), Now::read()).await.unwrap_err();
    assert_eq!(failure.stage(), Stage::Credential);
    files.certificate(&pair);
    files.settings().check().unwrap();
    fs::remove_file(folder.path().join("cert.pem")).unwrap();
    assert!(files.settings().check().unwrap_err().what().contains("can't be read"));
}

#[test]
fn a_header_of_its_own_has_no_prefix_unless_it_is_said() {
    for (name, prefix, expected) in [
        (None, None, ("authorization", "Bearer ")),
        (None, Some("DPoP"), ("authorization", "DPoP ")),
        (None, Some(""), ("authorization", "")),
        (Some("Authorization"), None, ("authorization", "Bearer ")),
        (Some("X-Token"), None, ("x-token", "")),
        (Some("X-Token"), Some("JWT"), ("x-token", "JWT ")),
    ] {
        let carrier = Carrier::new(name, prefix).unwrap();
        assert_eq!((carrier.name.as_str(), carrier.prefix.as_str()), expected);
    }
    assert!(Carrier::new(Some("Host"), None).is_err());
    assert!(Carrier::new(None, Some("can\nary")).unwrap_err().next_step().is_some());
}

#[test]
fn debug_shows_no_claim_and_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let claims = vec![("a".to_owned(), text("canary"))];
    let settings = Settings { claims, ..settings(held(&folder.path().join("key"), "canary")) };
    let shown = format!("{settings:?}");
    assert!(shown.contains("HS256") && shown.contains("file:"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}
