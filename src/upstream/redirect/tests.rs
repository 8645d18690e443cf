//! What is followed and what is not, against an upstream without a socket.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body_util::{BodyExt as _, Empty};
use tower::ServiceExt as _;

use super::*;
use crate::service::Body;

const URL: &str = "https://gw.example/mcp?tenant=canary";

/// What an upstream that answers with these statuses and locations, one after the other and the
/// last one ever after, was asked; and the outcome.
async fn ask(answers: &[(u16, &'static str)]) -> (Vec<String>, Result<u16, Failure>) {
    ask_with(answers, &[], &[]).await
}

/// The same where each request carried what a user's own headers say, and secrets besides.
async fn ask_with(
    answers: &[(u16, &'static str)],
    said: &[&'static str],
    secrets: &[&'static str],
) -> (Vec<String>, Result<u16, Failure>) {
    let values = |texts: &[&'static str]| -> Vec<HeaderValue> {
        texts.iter().copied().map(HeaderValue::from_static).collect()
    };
    let carried = Carried([values(said), values(secrets)].concat().into());
    let secrets = Secrets(values(secrets).into());
    let url = UpstreamUrl::parse(URL).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (record, answers) = (Arc::clone(&seen), answers.to_vec());
    let inner = HttpService::new(service_fn(move |request: Request| {
        let mut seen = record.lock().unwrap();
        let (status, location) = answers[seen.len().min(answers.len() - 1)];
        let body = String::from_utf8_lossy(request.body()).into_owned();
        seen.push(format!("{} {} {body}", request.method(), request.uri()));
        let body = Body::new(Empty::<Bytes>::new().map_err(|never| match never {}));
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if !location.is_empty() {
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(location));
        }
        response.extensions_mut().insert(carried.clone());
        response.extensions_mut().insert(secrets.clone());
        std::future::ready(Ok(response))
    }));
    let mut request = Request::new(Bytes::from_static(b"{}"));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.uri().clone();
    let outcome = follow_same_origin(&url, inner).oneshot(request).await;
    let seen = seen.lock().unwrap().clone();
    (seen, outcome.map(|response| response.status().as_u16()))
}

#[tokio::test]
async fn within_the_origin_method_and_body_are_kept() {
    for location in ["/mcp/?x=1", "https://gw.example/mcp/?x=1", "//GW.example:443/mcp/?x=1#frag"] {
        for status in [307, 308] {
            let (seen, outcome) = ask(&[(status, location), (202, "")]).await;
            assert_eq!(outcome.unwrap(), 202);
            assert_eq!(seen[0], format!("POST {URL} {{}}"));
            assert_eq!(seen[1], "POST https://gw.example/mcp/?x=1 {}", "{location}");
        }
    }
}

#[tokio::test]
async fn a_location_is_relative_to_the_url_that_was_asked() {
    let (seen, _) = ask(&[(307, "/a/b/"), (307, "../c"), (200, "")]).await;
    assert_eq!(seen[2], "POST https://gw.example/a/c {}");
}

#[tokio::test]
async fn what_is_not_followed_names_both_urls_and_no_query() {
    for (status, location, why) in [
        (307, "https://evil.example/mcp?token=canary", "another origin"),
        (308, "https://gw.example:8443/mcp", "another origin"),
        (307, "https://gw.example@evil.example/", "another origin"),
        (307, "https://user:canary@gw.example/", "another origin"),
        (307, "//evil.example/", "another origin"),
        (307, "ftp://gw.example/", "another origin"),
        (308, "http://gw.example/mcp/", "leave TLS"),
        (301, "/mcp/", "change the method"),
        (302, "/login?state=canary", "change the method"),
        (303, "/mcp/", "change the method"),
        (307, "https://[/", "no URL"),
        (307, "mailto:canary", "no URL"),
    ] {
        let (seen, outcome) = ask(&[(status, location)]).await;
        assert_eq!(seen.len(), 1, "{status} {location}");
        let failure = outcome.unwrap_err();
        assert_eq!(failure.stage(), Stage::Protocol);
        assert!(failure.what().starts_with("https://gw.example/mcp redirects"), "{failure}");
        assert!(failure.what().contains(why), "{failure}");
        assert!(failure.next_step().is_some());
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    }
    let failure = ask(&[(307, "https://evil.example:8443/x")]).await.1.unwrap_err();
    assert!(failure.what().contains("https://evil.example:8443/x"), "{failure}");
}

#[tokio::test]
async fn a_secret_is_followed_nowhere_and_shown_in_no_spelling() {
    let token = "Bearer AbcdefghijKlmno/PqrstuvwxyzZyxwvu";
    for location in [
        // A host name, once it is parsed: without its capitals.
        "http:/AbcdefghijKlmno/PqrstuvwxyzZyxwvu",
        "https://AbcdefghijKlmno/PqrstuvwxyzZyxwvu",
        "//AbcdefghijKlmno%2FPqrstuvwxyzZyxwvu/",
        "/login/AbcdefghijKlmno/PqrstuvwxyzZyxwvu",
        "/login?token=AbcdefghijKlmno%2fPqrstuvwxyzZyxwvu",
    ] {
        for status in [302, 307, 308] {
            let (seen, outcome) = ask_with(&[(status, location)], &[], &[token]).await;
            assert_eq!(seen.len(), 1, "{location}");
            let failure = format!("{:?}", outcome.unwrap_err()).to_lowercase();
            assert!(failure.contains("repeats what it was sent"), "{failure}");
            assert!(!failure.contains("klmno") && !failure.contains("zyxwvu"), "{failure}");
        }
    }
}

#[tokio::test]
async fn a_tenant_of_a_users_header_may_stand_in_a_path() {
    let answers = [(308, "/acme-corp/mcp/"), (200, "")];
    let (seen, outcome) = ask_with(&answers, &["acme-corp"], &["Bearer s3cr3t-token"]).await;
    assert_eq!(outcome.unwrap(), 200);
    assert_eq!(seen[1], "POST https://gw.example/acme-corp/mcp/ {}");
}

#[tokio::test]
async fn what_a_users_header_says_is_not_told_as_the_name_of_a_host() {
    for location in
        ["http:/AbcDef~Ghi/Jkl", "//AbcDef~Ghi/Jkl/", "https://abcdef~ghi%2FAbcDef~Ghi/Jkl"]
    {
        let outcome = ask_with(&[(307, location)], &["AbcDef~Ghi/Jkl"], &[]).await.1;
        let failure = format!("{:?}", outcome.unwrap_err()).to_lowercase();
        assert!(!failure.contains("abcdef~ghi"), "{failure}");
    }
    let there = "https://login.example/?tenant=acme-corp";
    let failure = ask_with(&[(302, there)], &["acme-corp"], &[]).await.1.unwrap_err();
    assert!(failure.what().contains("to https://login.example/: not followed"), "{failure}");
}

#[tokio::test]
async fn what_is_no_redirect_passes() {
    for (status, location) in [(300, "/other"), (304, "/other"), (307, ""), (201, "/created")] {
        let (seen, outcome) = ask(&[(status, location)]).await;
        assert_eq!((seen.len(), outcome.unwrap()), (1, status));
    }
}

#[tokio::test]
async fn a_circle_ends() {
    let (seen, outcome) = ask(&[(307, "/mcp")]).await;
    assert_eq!(seen.len(), FOLLOWED_AT_MOST + 1);
    assert!(outcome.unwrap_err().what().contains("circles"));
}

#[tokio::test]
async fn a_path_that_is_not_shown_is_not_told() {
    for (status, location) in [
        (302, "/messages/canary-session/"),
        (302, "/login?next=canary-session"),
        (307, "https://evil.example/messages/canary-session"),
        (308, "http://gw.example/messages/canary-session"),
        (307, "http://[/canary-session"),
    ] {
        let url = UpstreamUrl::parse(URL).unwrap();
        let inner = HttpService::new(service_fn(move |_: Request| {
            let body = Body::new(Empty::<Bytes>::new().map_err(|never| match never {}));
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(location));
            std::future::ready(Ok(response))
        }));
        let mut request = Request::new(Bytes::from_static(b"{}"));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "https://gw.example/messages/canary-session".parse().unwrap();
        request.extensions_mut().insert(Unshown);
        let failure = follow_same_origin(&url, inner).oneshot(request).await.unwrap_err();
        assert!(failure.what().contains("https://gw.example/<redacted> redirects"), "{failure}");
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    }
}
