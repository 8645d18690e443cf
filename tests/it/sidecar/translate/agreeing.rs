//! Where client and upstream are of one era, and where nobody translates.

use serde_json::json;

use super::{
    super::{Scene, call, get},
    open, scene, stated_call,
};
use crate::support::{pki::Pki, sidecar::Sidecar, upstream::Upstream};

#[test]
fn a_session_of_the_upstreams_own_passes_byte_for_byte() {
    let scene = scene(false, &[]);
    let session = open(&scene, &json!({}));
    assert_eq!(scene.upstream.sessions(), std::slice::from_ref(&session));
    let request = call(&session, "echo", &json!({"a": 1}));
    let body = request.split("\r\n\r\n").nth(1).unwrap().replace(':', ": ");
    let head = request.split("Content-Length").next().unwrap();
    let request =
        format!("{head}Content-Length: {}{}\r\n\r\n{body}", body.len(), super::named(&session));
    let answer = scene.sidecar.ask(request);
    assert_eq!(answer.json()["result"]["structuredContent"], json!({"a": 1}));
    let seen = scene.upstream.seen().pop().unwrap();
    assert_eq!(seen.body, body.as_bytes());
    assert_eq!(seen.session(), Some(&*session));
    // It was asked for its era once.
    open(&scene, &json!({}));
    assert_eq!(scene.upstream.posts("server/discover").len(), 1);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn a_modern_request_passes_to_a_modern_upstream_byte_for_byte() {
    let scene = scene(true, &[]);
    let request = stated_call(&json!("mine"), "echo", &json!({"a": 1}));
    assert_eq!(scene.sidecar.ask(&request).json()["id"], "mine");
    let seen = scene.upstream.seen().pop().unwrap();
    assert_eq!(seen.body, request.split("\r\n\r\n").nth(1).unwrap().as_bytes());
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn what_is_no_mcp_passes() {
    let scene = scene(true, &[]);
    let answer = scene.sidecar.ask(get("Host: localhost"));
    assert_eq!(answer.status, 405);
    assert_eq!(scene.upstream.seen().len(), 1, "and nothing is asked for it");
    let text = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\ntext";
    scene.sidecar.ask(text);
    assert_eq!(scene.upstream.seen().pop().unwrap().body, &b"text"[..]);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn without_the_flag_nobody_translates() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let sidecar = Sidecar::start(&Sidecar::program(&pki, &upstream));
    let scene = Scene { pki, upstream, sidecar };
    let answer = scene.sidecar.ask(stated_call(&json!(1), "count", &json!({"n": 1})));
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(scene.upstream.seen().len(), 1);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

/// An upstream that is replaced by one of the other era is found out by its refusals.
#[test]
fn an_upstream_that_can_not_be_asked_is_not_translated_for() {
    use crate::support::script::{Fault, Rule};
    let scene = scene(true, &[]);
    scene.upstream.script(Rule::next().times(2), Fault::status(503));
    let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}});
    assert_eq!(scene.sidecar.ask(super::post("", &message)).status, 503);
    let seen = scene.upstream.seen();
    assert!(seen[0].is("server/discover") && seen[1].is("initialize") && seen.len() == 2);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}
