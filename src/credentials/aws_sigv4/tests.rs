//! Against the suite of AWS itself (see tests/vectors/aws-sigv4), and as requests leave.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{borrow::Cow, fs, time::Duration};

use bytes::Bytes;
use serde::Deserialize;

use super::*;
use crate::{credentials::tests::held, secret::Held};

const SUITE: &str = include_str!("../../../tests/vectors/aws-sigv4/suite.json");

#[derive(Deserialize)]
struct Suite {
    access_key_id: String,
    secret_access_key: String,
    region: String,
    service: String,
    timestamp: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    normalize: bool,
    sign_body: bool,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    omit_session_token: bool,
    timestamp: Option<String>,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    canonical_request: String,
    string_to_sign: Option<String>,
    signature: Option<String>,
    authorization: Option<String>,
}

impl Case {
    fn token(&self) -> Option<&str> {
        self.token.as_deref().filter(|_| !self.omit_session_token)
    }

    /// The headers of the request and those that the signer adds, whatever their names: the suite
    /// signs all there are.
    fn headers<'a>(&'a self, at: &'a Timestamp, digest: &'a str) -> Vec<canonical::Header<'a>> {
        let mut headers: Vec<canonical::Header<'a>> = Vec::new();
        let of_request = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let added = [
            ("x-amz-date", Some(at.as_str())),
            ("x-amz-security-token", self.token()),
            ("x-amz-content-sha256", self.sign_body.then_some(digest)),
        ];
        let added = added.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (name, value) in of_request.chain(added) {
            let (name, value) = (name.parse().unwrap(), Cow::Borrowed(value.as_bytes()));
            match headers.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => headers.push((name, vec![value])),
            }
        }
        headers
    }
}

fn instant(text: &str) -> SystemTime {
    humantime::parse_rfc3339(text).unwrap()
}

#[test]
fn every_case_of_the_official_suite_comes_out_exactly() {
    let suite: Suite = serde_json::from_str(SUITE).unwrap();
    let scope = Scope { region: suite.region, service: suite.service };
    for case in &suite.cases {
        let at = Timestamp::new(instant(case.timestamp.as_ref().unwrap_or(&suite.timestamp)));
        let digest = sign::sha256(case.body.as_bytes());
        let (path, query) = match case.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (case.target.as_str(), None),
        };
        let parts = Parts {
            method: &case.method,
            path,
            query,
            headers: case.headers(&at, &digest),
            payload: &digest,
        };
        let paths = if case.normalize { Paths::Normalized } else { Paths::AsIs };
        let canonical = Canonical::new(parts, paths);
        let text = std::str::from_utf8(&canonical.text).unwrap();
        assert_eq!(text, case.canonical_request, "{}", case.name);
        let Some(signature) = &case.signature else { continue };

        let token = case.token().map(str::as_bytes);
        let (id, secret) = (suite.access_key_id.as_bytes(), suite.secret_access_key.as_bytes());
        let keys = Keys::new(id, secret, token).ok().unwrap();
        let to_sign = sign::string_to_sign(&canonical, &scope, &at);
        assert_eq!(Some(&to_sign), case.string_to_sign.as_ref(), "{}", case.name);
        let authorization = sign::authorization(&canonical, &keys, &scope, &at);
        assert!(authorization.ends_with(signature), "{}", case.name);
        assert_eq!(Some(&authorization), case.authorization.as_ref(), "{}", case.name);
    }
    assert_eq!(suite.cases.len(), 41);
}

/// Keys in files of their own, with which requests to a service are signed.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn held(&self, name: &str, text: &str) -> Held {
        held(&self.0.path().join(name), text)
    }

    fn given(&self, token: Option<&str>) -> Source {
        Source::Given(Given {
            access_key_id: AccessKeyId::Held(self.held("id", "AKIDEXAMPLE")),
            secret_access_key: self.held("secret", "canary/key"),
            session_token: token.map(|token| self.held("token", token)),
        })
    }

    fn settings(&self, service: &str, token: Option<&str>) -> Settings {
        let (region, service) = ("eu-west-1".to_owned(), service.to_owned());
        Settings::new(region, service, self.given(token), false).unwrap()
    }
}

fn request() -> Request {
    http::Request::post("https://mcp.example.com:8443/a%20b/mcp?b=2&a=1")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-session-id", "1")
        .header("x-amz-meta", "x")
        .header("x-amzn-trace-id", "of a proxy")
        .body(Bytes::from_static(b"{}"))
        .unwrap()
}

fn sent(request: &Request, name: &str) -> Option<String> {
    let mut values = request.headers().get_all(name).iter();
    let value = values.next().map(|value| value.to_str().unwrap().to_owned());
    assert!(values.next().is_none(), "{name} twice");
    value
}

async fn signed(credential: &AwsSigv4) -> (Request, Generation) {
    let mut request = request();
    let generation = credential.apply(&mut request).await.unwrap();
    (request, generation)
}

#[tokio::test]
async fn what_proxies_leave_alone_is_covered_and_what_they_add_is_not() {
    let files = Files::new();
    let settings = files.settings("execute-api", Some("a token=="));
    let (keys, _) = AwsSigv4::new(settings.clone()).keys().await.unwrap();
    let mut request = request();
    settings.sign(&mut request, &keys, instant("2026-11-23T12:00:00Z")).unwrap();
    let authorization = sent(&request, "authorization").unwrap();
    let start = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-west-1/execute-api/\
                 aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-meta;\
                 x-amz-security-token, Signature=";
    let signature = authorization.strip_prefix(start).expect(&authorization);
    assert_eq!(signature.len(), 64);
    assert_eq!(sent(&request, "x-amz-date").as_deref(), Some("20261123T120000Z"));
    assert_eq!(sent(&request, "x-amz-security-token").as_deref(), Some("a token=="));
    assert_eq!(sent(&request, "x-amz-content-sha256"), None);
    assert!(request.headers()["authorization"].is_sensitive());
    assert!(request.headers()["x-amz-security-token"].is_sensitive());
    let canonical = settings.canonical(&request, "d1");
    let text = String::from_utf8(canonical.text).unwrap();
    assert!(text.starts_with("POST\n/a%2520b/mcp\na=1&b=2\ncontent-type:application/json\n"));
    assert!(text.contains("\nhost:mcp.example.com:8443\n") && text.ends_with("\nd1"), "{text}");
    assert!(!format!("{settings:?}").contains("canary"));
}

#[tokio::test]
async fn s3_is_told_the_digest_and_others_when_they_ask() {
    let files = Files::new();
    let asked =
        Settings::new("r".to_owned(), "execute-api".to_owned(), files.given(None), true).unwrap();
    for settings in [files.settings("s3", None), asked] {
        let (request, _) = signed(&AwsSigv4::new(settings)).await;
        let digest = sent(&request, "x-amz-content-sha256");
        assert_eq!(digest, Some(sign::sha256(b"{}")));
        let authorization = sent(&request, "authorization").unwrap();
        assert!(authorization.contains("host;x-amz-content-sha256;x-amz-date"), "{authorization}");
    }
}

#[tokio::test]
async fn each_reference_is_read_again_when_the_keys_were_refused() {
    let files = Files::new();
    let credential = AwsSigv4::new(files.settings("execute-api", Some("first")));
    assert!(credential.renewable());
    let response =
        |status| http::Response::builder().status(status).body(()).unwrap().into_parts().0;
    let (_, generation) = signed(&credential).await;
    assert!(!credential.refused(generation, &response(403)).await, "all are still the same");
    for (name, text) in [("id", "ASIAEXAMPLE"), ("secret", "other"), ("token", "second")] {
        let (_, generation) = signed(&credential).await;
        fs::write(files.0.path().join(name), text).unwrap();
        assert!(!credential.refused(generation, &response(500)).await);
        assert!(credential.refused(generation, &response(403)).await, "{name}");
        assert!(credential.refused(generation, &response(401)).await, "and for all who were");
    }
    let (request, _) = signed(&credential).await;
    assert_eq!(sent(&request, "x-amz-security-token").as_deref(), Some("second"));
    assert!(sent(&request, "authorization").unwrap().contains("Credential=ASIAEXAMPLE/"));
}

#[tokio::test(start_paused = true)]
async fn a_broken_replacement_keeps_the_last_good_key() {
    let files = Files::new();
    let credential = AwsSigv4::new(files.settings("execute-api", None));
    let (_, generation) = signed(&credential).await;
    fs::write(files.0.path().join("id"), "canary canary").unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let (request, now) = signed(&credential).await;
    assert_eq!(now, generation);
    assert!(sent(&request, "authorization").unwrap().contains("Credential=AKIDEXAMPLE/"));
}

#[test]
fn what_can_be_no_key_is_found_at_start_and_not_shown() {
    let files = Files::new();
    let refused = |source| {
        let made = Settings::new("eu-west-1".to_owned(), "s3".to_owned(), source, false);
        let failure = made.unwrap_err();
        assert_eq!(failure.stage(), Stage::Configuration);
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
        failure.what().to_owned()
    };
    let given = |id, secret, token: Option<&str>| {
        Source::Given(Given {
            access_key_id: id,
            secret_access_key: files.held("secret", secret),
            session_token: token.map(|token| files.held("token", token)),
        })
    };
    let plain = |text: &str| AccessKeyId::Plain(text.to_owned());
    assert!(refused(given(plain("canary/"), "x", None)).contains("access_key_id is not an access"));
    assert!(refused(given(plain("AKID"), "can ary", None)).contains("is not a secret access key"));
    assert!(refused(given(plain("AKID"), "x", Some("canary\0x"))).contains("no header can carry"));
    for region in ["", "eu west 1", "eu/west"] {
        let source = given(plain("AKID"), "x", None);
        let made = Settings::new(region.to_owned(), "s3".to_owned(), source, false);
        assert!(made.unwrap_err().what().contains("name of an AWS region"));
    }
}
