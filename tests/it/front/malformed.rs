//! What is no message is answered as JSON-RPC 2.0 section 5.1 says, and the next call works.

use serde_json::{Value, json};

use crate::support::{jsonrpc::Client, pki::Pki, upstream::Upstream};

#[test]
fn bad_json_is_a_parse_error_and_the_next_call_works() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let lines =
        [&b"{nope"[..], b"{\"jsonrpc\":\"2.0\"", b"hello", b"{}}", b"{\"id\":\"\xff\"}", b"\0"];
    for line in lines {
        client.process.write([line, b"\n"].concat());
        let error = client.error(&Value::Null);
        assert_eq!(error["code"], -32_700, "{error}");
        assert_eq!(client.tool("echo", json!({"a": 1})), json!({"a": 1}));
    }
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.posts("tools/call").len(), lines.len());
}

#[test]
fn json_that_is_no_message_is_an_invalid_request() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    for (line, id) in [
        ("[]", Value::Null),
        ("1", Value::Null),
        ("\"text\"", Value::Null),
        ("null", Value::Null),
        (r#"{"jsonrpc":"2.0"}"#, Value::Null),
        (r#"{"jsonrpc":"2.0","id":5}"#, json!(5)),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Value::Null),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, Value::Null),
        (r#"{"jsonrpc":"2.0","id":7,"method":7}"#, Value::Null),
        (r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}"#, Value::Null),
    ] {
        client.send(line);
        assert_eq!(client.error(&id)["code"], -32_600, "{line}");
    }
    assert_eq!(client.ask("ping", Value::Null), json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.posts("ping").len(), 1);
}

#[test]
fn what_it_answers_quotes_nothing_of_what_it_got() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    for line in [r#"{"token":canary"#, r#"{"jsonrpc":"2.0","id":"x","canary":1}"#] {
        client.send(line);
        let answer = client.wait("an error", |message| message.get("error").is_some());
        assert!(!answer.to_string().contains("canary"), "{answer}");
    }
}
