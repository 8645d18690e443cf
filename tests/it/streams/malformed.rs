//! Answers that are not the protocol: one error that says what came, and the next call works.

use serde_json::{Value, json};

use super::{FIRST, HTTP, connected, hint, message};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Form, Mangle, Reply, Rule},
    upstream::Upstream,
};

/// A session, and the error of one call of `count` under this fault.
fn under(http: &str, fault: Fault) -> (Upstream, Client, Value) {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream, &["--http", http]);
    upstream.script(Rule::call("count"), fault);
    let id = client.call("count", json!({"n": 1}));
    let error = client.error(&id);
    assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1, "the next call works: {error}");
    assert_eq!(upstream.posts("tools/call").len(), 2, "{error}");
    (upstream, client, error)
}

#[test]
fn what_is_no_message_is_said_and_not_shown() {
    let bodies = ["{", "[]", "\"s3cret\"", "{\"s3cret\":1}", "\u{0}\u{1}", "{}{}"];
    for body in bodies {
        let event = format!("data: {body}\n\n");
        for fault in [Fault::json_text(body), Fault::sse_text(event)] {
            let (_upstream, client, error) = under("2", fault);
            assert_eq!(error["data"]["stage"], "protocol", "{body:?}: {error}");
            assert!(hint(&error).contains("may have run"), "{error}");
            assert!(!client.process.stdout().contains("s3cret"), "{error}");
            assert_eq!(client.finish(), [] as [Value; 0]);
        }
    }
}

#[test]
fn a_login_page_is_recognised() {
    let page = "<!doctype html><title>Sign in</title>";
    let page = Reply::new(200).header("content-type", "text/html; charset=utf-8").body(page);
    let (upstream, _client, error) = under("1.1", Fault::Answer(page));
    assert_eq!(error["data"]["stage"], "protocol", "{error}");
    assert!(message(&error).contains("text/html"), "{error}");
    assert!(hint(&error).contains("login page"), "{error}");
    assert_eq!(upstream.ran(1), 0);
}

#[test]
fn an_event_stream_under_another_name_is_no_answer() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).form(Form::Sse).start();
    let mut client = connected(&pki, &upstream, &[]);
    let other = Fault::Header("content-type", "application/octet-stream".into());
    upstream.script(Rule::call("count"), other);
    let id = client.call("count", json!({"n": 1}));
    let error = client.error(&id);
    assert!(message(&error).contains("application/octet-stream"), "{error}");
    assert_eq!(upstream.ran(1), 1);
}

#[test]
fn accepted_is_no_answer_to_a_request() {
    let no_content = Fault::status(204);
    let empty = Fault::json_text("");
    for fault in [Fault::accepted(), no_content, empty, Fault::sse_text("")] {
        let (_upstream, client, error) = under("2", fault);
        assert!(message(&error).contains("without answering the request"), "{error}");
        assert!(hint(&error).contains("may have run"), "{error}");
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

#[test]
fn a_response_to_another_request_is_not_delivered() {
    for form in [Form::Json, Form::Sse] {
        let pki = Pki::new();
        let upstream = Upstream::options(&pki).form(form).start();
        let mut client = connected(&pki, &upstream, &[]);
        for other in [json!("other"), json!(FIRST.to_string()), json!(99)] {
            upstream.script(Rule::call("echo"), Fault::Mangle(Mangle::OtherId(other)));
            let id = client.call("echo", json!({}));
            assert!(message(&client.error(&id)).contains("without answering the request"));
        }
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

#[test]
fn a_response_that_comes_twice_is_delivered_once() {
    for http in HTTP {
        let pki = Pki::new();
        let upstream = Upstream::options(&pki).form(Form::Sse).start();
        let mut client = connected(&pki, &upstream, &["--http", http]);
        upstream.script(Rule::call("echo"), Fault::Mangle(Mangle::Twice));
        client.tool("echo", json!({}));
        client.tool("echo", json!({}));
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

#[test]
fn bytes_that_are_no_http_may_mean_that_it_ran() {
    for http in HTTP {
        let garbage = b"220 mail.example ESMTP\r\n\r\n".to_vec();
        let (_upstream, client, error) = under(http, Fault::Garbage(garbage));
        assert!(message(&error).contains("may have run"), "{error}");
        assert!(!message(&error).contains("ESMTP"), "{error}");
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

#[test]
fn a_message_over_the_limit_is_refused_by_name_of_the_flag() {
    for sse in [false, true] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = connected(&pki, &upstream, &["--max-message", "64KiB"]);
        let id = client.call("big", json!({"bytes": 200_000, "sse": sse}));
        let error = client.error(&id);
        assert_eq!(error["data"]["stage"], "protocol", "{error}");
        assert!(hint(&error).contains("--max-message"), "{error}");
        let id = client.call("big", json!({"bytes": 60_000, "sse": sse}));
        client.result(&id);
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}
