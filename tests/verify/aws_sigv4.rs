//! AWS signatures, computed once more by botocore.

use serde_json::{Value, json};

use crate::{
    python::{Request, refuses, verify},
    support::{jsonrpc::Client, pki::Pki, upstream::Upstream},
};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// What the upstream saw of a session to this path, signed for this service.
fn session(path: &str, service: &str, token: Option<&str>, http: &[&str]) -> (Vec<Request>, Value) {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let url = format!("{}{path}", upstream.url());
    let flag = format!("aws:amz:eu-west-1:{service}");
    let mut bridge = crate::support::process::Countersign::to(&url)
        .identity(&pki.client)
        .cacert(&pki.ca)
        .args(["--aws-sigv4", &flag, "--header", "X-Amz-Meta:  two   words"])
        .args(http)
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", SECRET);
    if let Some(token) = token {
        bridge = bridge.env("AWS_SESSION_TOKEN", token);
    }
    let mut client = Client::start(&bridge);
    client.handshake();
    upstream.wait_for_listener();
    client.tool("echo", json!({"text": "ß 漢"}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.seen();
    let mut material = json!({
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": SECRET,
        "region": "eu-west-1",
        "service": service,
    });
    if let Some(token) = token {
        material["session_token"] = token.into();
    }
    (seen.iter().map(|seen| Request::of(&upstream, seen)).collect(), material)
}

#[test]
fn every_request_of_a_session_holds() {
    let token = "AQoDYXdzEPT//////////wEXAMPLE==";
    for (path, service, token, http) in [
        ("", "execute-api", None, &[][..]),
        ("?b=2&a=%2Fx%20y&a=1&c", "execute-api", Some(token), &["--http", "1.1"]),
        ("", "s3", None, &[]),
    ] {
        let (requests, material) = session(path, service, token, http);
        assert!(requests.len() >= 4, "{}", requests.len());
        for request in &requests {
            verify("aws_sigv4", request, &material);
        }
    }
}

#[test]
fn what_was_tampered_with_does_not() {
    let (requests, material) = session("?a=1", "execute-api", Some("token"), &[]);
    let call = requests.iter().find(|request| !request.body.is_empty()).unwrap();
    verify("aws_sigv4", call, &material);
    let mut body = call.clone();
    body.body.push(b' ');
    let mut url = call.clone();
    url.url.push_str("&b=2");
    let mut method = call.clone();
    method.method = "DELETE".to_owned();
    let token = call.clone().with_header("x-amz-security-token", |token| format!("{token}x"));
    let kind = call.clone().with_header("content-type", |kind| format!("{kind}; charset=x"));
    for tampered in [body, url, method, token, kind] {
        refuses("aws_sigv4", &tampered, &material);
    }
    let mut other = material;
    other["secret_access_key"] = "another".into();
    refuses("aws_sigv4", call, &other);
}
