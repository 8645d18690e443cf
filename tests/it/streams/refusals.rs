//! Refusals: the status, what the server said of it, and the next step, in the client's words.

use serde_json::{Value, json};

use super::{FIRST, connected, hint, message};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Reply, Rule},
    upstream::Upstream,
};

/// The error of one call that is refused like this; it was not run, and the next one is.
fn refused(reply: Reply) -> Value {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream, &[]);
    upstream.script(Rule::call("count"), Fault::Answer(reply));
    let id = client.call("count", json!({"n": 1}));
    let error = client.error(&id);
    assert_eq!(error["data"]["stage"], "response", "{error}");
    assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1);
    assert_eq!((upstream.ran(1), upstream.posts("tools/call").len()), (0, 2));
    assert_eq!(client.finish(), [] as [Value; 0]);
    error
}

#[test]
fn a_failing_server_is_quoted_and_may_have_run_the_request() {
    let error = refused(Reply::json(500, &json!({"error": {"message": "database is away"}})));
    assert!(message(&error).contains("500 Internal Server Error"), "{error}");
    assert!(message(&error).contains("database is away"), "{error}");
    assert!(hint(&error).contains("may have run"), "{error}");
    assert!(hint(&error).contains("look at its log"), "{error}");
    let html = Reply::new(502).header("content-type", "text/html");
    let error = refused(html.body("<html><title>502 Bad Gateway</title><p>nginx s3cret"));
    assert!(message(&error).contains("502 Bad Gateway") && !message(&error).contains("s3cret"));
}

#[test]
fn a_busy_server_says_when_to_come_back() {
    for status in [429, 503] {
        let error = refused(Reply::new(status).header("retry-after", "17"));
        assert!(message(&error).contains(&status.to_string()), "{error}");
        assert_eq!(hint(&error), "try again in 17 seconds");
        let date = "Sun, 22 Nov 2026 08:49:37 GMT";
        let error = refused(Reply::new(status).header("retry-after", date));
        assert!(hint(&error).contains(date), "{error}");
        assert_eq!(hint(&refused(Reply::new(status))), "try again later");
    }
}

#[test]
fn refused_credentials_are_explained_with_the_servers_challenge() {
    let challenge = r#"Bearer error="invalid_token", error_description="expired""#;
    let error = refused(Reply::new(401).header("www-authenticate", challenge));
    assert!(message(&error).contains("401 Unauthorized"), "{error}");
    assert!(message(&error).contains("invalid_token"), "{error}");
    for part in ["expired", "'Bearer '", "--bearer", "tenant"] {
        assert!(hint(&error).contains(part), "{part}: {error}");
    }
    let challenge = r#"Bearer error="insufficient_scope", scope="files:write""#;
    let error = refused(Reply::new(403).header("www-authenticate", challenge));
    assert!(message(&error).contains("files:write"), "{error}");
    assert!(hint(&error).contains("scope") && hint(&error).contains("permissions"), "{error}");
}

#[test]
fn a_refusal_of_initialize_is_explained_the_same() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    upstream.script(Rule::on("initialize"), Fault::status(401));
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    let id = client.initialize("2025-11-25");
    let error = client.error(&id);
    assert!(message(&error).contains("401 Unauthorized"), "{error}");
    assert!(hint(&error).contains("--bearer"), "{error}");
    client.handshake();
    client.tool("echo", json!({}));
}

#[test]
fn an_error_of_json_rpc_under_an_error_status_is_passed_on() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream, &[]);
    let answer = json!({"jsonrpc": "2.0", "id": FIRST, "error": {"code": -32042, "message": "m"}});
    upstream.script(Rule::call("count"), Fault::Answer(Reply::json(400, &answer)));
    let id = client.call("count", json!({"n": 1}));
    assert_eq!(client.response(&id), answer);
    assert_eq!(client.finish(), [] as [Value; 0]);
}
