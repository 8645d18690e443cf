//! A session that goes well: the id and version it goes by, and its end.

use http::Method;
use serde_json::{Value, json};

use super::connected;
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Rule},
    upstream::Upstream,
};

#[test]
fn every_later_request_names_the_session_and_the_version() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    for (n, version) in ["2025-03-26", "2025-06-18", "2025-11-25"].into_iter().enumerate() {
        let mut client = Client::start(&Client::bridge(&pki, &upstream));
        assert_eq!(client.handshake_with(version)["protocolVersion"], version);
        client.tool("echo", json!({}));
        let session = upstream.sessions().pop();
        assert_eq!(client.finish(), [] as [Value; 0]);

        let seen = &upstream.seen()[5 * n..];
        let methods: Vec<&Method> = seen.iter().map(|seen| &seen.method).collect();
        let (post, get, delete) = (&Method::POST, &Method::GET, &Method::DELETE);
        assert_eq!(methods, [post, post, get, post, delete], "{seen:?}");
        assert_eq!((seen[0].session(), seen[0].header("mcp-protocol-version")), (None, None));
        for later in &seen[1..] {
            assert_eq!(later.session(), session.as_deref(), "{later:?}");
            assert_eq!(later.header("mcp-protocol-version"), Some(version), "{later:?}");
        }
    }
}

#[test]
fn the_version_that_the_server_chose_is_the_one_that_is_named() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).protocol("2025-06-18").start();
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    assert_eq!(client.handshake_with("2025-11-25")["protocolVersion"], "2025-06-18");
    client.tool("echo", json!({}));
    let call = upstream.wait_for_method("tools/call");
    assert_eq!(call.header("mcp-protocol-version"), Some("2025-06-18"));
}

#[test]
fn the_end_of_input_ends_the_session_whatever_the_server_thinks_of_it() {
    for fault in [Fault::status(405), Fault::status(404), Fault::status(500), Fault::Stall] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let client = connected(&pki, &upstream);
        upstream.script(Rule::delete(), fault);
        assert_eq!(client.finish(), [] as [Value; 0]);
        let deletes = upstream.seen().into_iter().filter(|seen| seen.method == Method::DELETE);
        assert_eq!(deletes.count(), 1);
    }
}

#[test]
fn a_client_that_initializes_again_leaves_its_old_session() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream);
    let old = upstream.sessions();
    client.handshake();
    client.tool("echo", json!({}));
    let delete = upstream.wait_for_request(|seen| seen.method == Method::DELETE);
    assert_eq!(delete.session(), Some(&*old[0]));
    let call = upstream.wait_for_method("tools/call");
    assert!(call.session().is_some_and(|session| session != old[0]), "{call:?}");
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert!(upstream.sessions().is_empty(), "both sessions are over");
}

#[test]
fn a_server_without_sessions_is_sent_no_session() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let mut client = connected(&pki, &upstream);
    client.tool("echo", json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.seen();
    assert!(seen.iter().all(|seen| seen.session().is_none()), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.method != Method::DELETE), "{seen:?}");
}

#[test]
fn without_a_session_404_is_a_wrong_path_and_no_loss() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let mut client = connected(&pki, &upstream);
    upstream.script(Rule::call("count"), Fault::status(404));
    let id = client.call("count", json!({"n": 1}));
    let error = client.error(&id);
    assert_eq!(error["data"]["stage"], "response", "{error}");
    assert!(error["data"]["hint"].as_str().unwrap().contains("/mcp"), "{error}");
    assert_eq!((upstream.ran(1), upstream.posts("initialize").len()), (0, 1));
}

#[test]
fn a_path_that_is_wrong_is_said_to_the_first_request() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    for (status, hint) in [(404, "/mcp"), (405, "/mcp"), (406, "/mcp")] {
        upstream.script(Rule::on("initialize"), Fault::status(status));
        let mut client = Client::start(&Client::bridge(&pki, &upstream));
        let id = client.initialize("2025-11-25");
        let error = client.error(&id);
        assert!(error["message"].as_str().unwrap().contains(&status.to_string()), "{error}");
        assert!(error["data"]["hint"].as_str().unwrap().contains(hint), "{error}");
    }
}
