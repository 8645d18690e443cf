//! Messages pass byte for byte, both ways.

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Mangle, Rule},
    upstream::Upstream,
};

/// Odd spacing, escapes that have other spellings, numbers that no double holds, members twice.
const ODD: &str = r#""params" :{"big":123456789012345678901234567890.50,"exp":1E+02,"neg":-0.0,"esc":"\u00e9\/\ud83d\ude00\u0000","raw":"é 漢 😀", "twice":1,"twice": [ ] }	,  "extra":null"#;

#[test]
fn a_request_reaches_the_upstream_as_it_was_written() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let line = format!(r#"{{ "jsonrpc" : "2.0","id":9007199254740993, "method":"x\/y",{ODD} }}"#);
    client.send(&line);
    let sent = upstream.wait_for_request(|seen| seen.body.ends_with(b"\"extra\":null }"));
    assert_eq!(sent.body, line);
    assert_eq!(client.error(&json!(9_007_199_254_740_993_u64))["message"], "no method x/y");

    client.send(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/unknown",{ODD}}}"#));
    upstream.wait_for_request(|seen| seen.body.ends_with(b"\"extra\":null}"));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_response_reaches_the_client_as_it_was_written() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let said = ODD.replace("params", "result");
    for id in ["\"a\\/b é\"", "123456789012345678901234567890", "1.50"] {
        let answer = format!(r#"{{"id": {id} ,{said},"jsonrpc":"2.0"}}"#);
        let event = format!("data: {answer}\n\n");
        for fault in [Fault::json_text(answer.clone()), Fault::sse_text(event)] {
            upstream.script(Rule::call("odd"), fault);
            client.send(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"odd"}}}}"#
            ));
            assert_eq!(client.process.next_line().as_deref(), Some(&*answer));
        }
    }
}

#[test]
fn what_the_server_says_by_itself_passes_unchanged() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let notice = format!(r#"{{"method":"notifications\/odd","jsonrpc":"2.0", {ODD}}}"#);
    let question = format!(r#"{{"id":"q" ,"method":"odd/ask","jsonrpc":"2.0", {ODD}}}"#);
    let answer = r#"{"jsonrpc":"2.0","id":77,"result":{} }"#;
    let events = format!(
        "retry: 5\nevent: message\ndata:{notice}\n\n: comment\ndata: {question}\r\n\r\ndata: {answer}\r\r"
    );
    upstream.script(Rule::call("odd"), Fault::sse_text(events));
    client.send(r#"{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"odd"}}"#);
    for expected in [&*notice, &*question, answer] {
        assert_eq!(client.process.next_line().as_deref(), Some(expected));
    }
}

#[test]
fn line_feeds_between_tokens_become_spaces() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    for tool in ["echo", "progress"] {
        upstream.script(Rule::call(tool), Fault::Mangle(Mangle::LineFeeds));
        let id = client.call_with_progress(tool, json!({"steps": 2, "text": "a\nb\r\nc"}));
        assert!(client.result(&id)["structuredContent"].is_object());
    }
    let lines = client.process.stdout();
    assert!(lines.contains("  \"progress\": 2,"), "{lines}");
    assert!(lines.contains("\"text\": \"a\\nb\\r\\nc\""), "{lines}");
}

#[test]
fn carriage_returns_and_blank_lines_are_no_messages() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let line = r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#;
    client.process.write(format!("\r\n\n \t\r\n{line}\r\n\r\n\n"));
    assert_eq!(client.result(&json!(5)), json!({}));
    assert_eq!(upstream.posts("ping")[0].body, line);
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.seen().iter().filter(|seen| seen.method == "POST").count(), 3);
}

#[test]
fn a_message_may_arrive_in_any_pieces_and_many_in_one() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::connect(&pki, &upstream);
    let line = r#"{"jsonrpc":"2.0","id":"é","method":"ping"}"#;
    for byte in line.as_bytes() {
        client.process.write([*byte]);
    }
    client.process.write("\n");
    assert_eq!(client.result(&json!("é")), json!({}));
    let many = (0..50).map(|id| line.replace('é', &id.to_string()) + "\n");
    client.process.write(many.collect::<String>());
    for id in 0..50 {
        assert_eq!(client.result(&json!(id.to_string())), json!({}));
    }
    assert_eq!(upstream.posts("ping").len(), 51);
}
