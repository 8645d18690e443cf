//! What an HTTP client owes its origin: redirects within it and never out of it, its cookies.

use serde_json::{Value, json};

use super::{HTTP, connected, hint, message};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Rule},
    upstream::Upstream,
};

#[test]
fn a_redirect_within_the_origin_is_followed_with_method_and_body() {
    for http in HTTP {
        for status in [307, 308] {
            let pki = Pki::new();
            let upstream = Upstream::mutual(&pki);
            let mut client = connected(&pki, &upstream, &["--http", http]);
            upstream.script(Rule::call("count"), Fault::redirect(status, "/mcp/v2?a=b"));
            assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
            let [first, second] = &*upstream.posts("tools/call") else { panic!("two requests") };
            assert_eq!((&*first.path, &*second.path), ("/mcp", "/mcp/v2?a=b"));
            assert_eq!(second.body, first.body);
            assert_eq!(second.session(), first.session());
        }
    }
}

#[test]
fn a_redirect_to_another_origin_is_refused_and_names_both() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let other = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).args(["--header", "X-Canary: s3cret"]);
    let mut client = Client::start(&program);
    client.handshake();
    for status in [307, 308, 302] {
        upstream.script(Rule::call("count"), Fault::redirect(status, &other.url()));
        let id = client.call("count", json!({"n": 1}));
        let error = client.error(&id);
        assert!(message(&error).contains(&upstream.url()), "{error}");
        assert!(message(&error).contains(&other.url()), "{error}");
        assert!(hint(&error).contains("URL"), "{error}");
    }
    assert!(other.record().connections.is_empty(), "no one even knocked there");
    assert_eq!(upstream.ran(1), 0);
}

#[test]
fn a_redirect_that_changes_the_method_or_the_scheme_is_refused() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream, &[]);
    let plain = upstream.url().replace("https://", "http://");
    for (status, to) in [(301, "/v2"), (302, "/v2"), (303, "/v2"), (307, &*plain)] {
        upstream.script(Rule::call("count"), Fault::redirect(status, to));
        let id = client.call("count", json!({"n": 1}));
        let error = client.error(&id);
        assert!(message(&error).contains(&format!("redirects ({status}")), "{error}");
    }
    assert!(upstream.seen().iter().all(|seen| seen.path == "/mcp"));
    assert_eq!(upstream.ran(1), 0);
}

#[test]
fn a_redirect_in_a_circle_ends() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream, &[]);
    upstream.script(Rule::call("count").always(), Fault::redirect(307, "/mcp"));
    let id = client.call("count", json!({"n": 1}));
    let error = client.error(&id);
    assert!(message(&error).contains("more than 5 times"), "{error}");
    upstream.clear_script();
    assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1);
}

#[test]
fn cookies_of_the_origin_come_back_to_it() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let sticky =
        |value: &str| Fault::Header("set-cookie", format!("node={value}; Secure; HttpOnly"));
    upstream.script(Rule::on("initialize"), sticky("a"));
    upstream.script(Rule::call("echo"), sticky("b"));
    let mut client = connected(&pki, &upstream, &[]);
    client.tool("echo", json!({}));
    client.tool("echo", json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.seen();
    let cookies: Vec<Option<&str>> = seen.iter().map(|seen| seen.header("cookie")).collect();
    let (a, b) = (Some("node=a"), Some("node=b"));
    assert_eq!(cookies, [None, a, a, a, b, b], "{seen:?}");
}
