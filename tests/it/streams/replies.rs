//! Answers that are as they should be: in either form, over either version of HTTP, their bytes
//! untouched.

use http::Version;
use serde_json::{Value, json};

use super::{FIRST, HTTP, connected};
use crate::support::{
    pki::Pki,
    script::{Fault, Form, Mangle, Rule},
    upstream::Upstream,
};

#[test]
fn either_form_over_either_version_gives_the_same_answer() {
    for (http, version) in HTTP.into_iter().zip([Version::HTTP_11, Version::HTTP_2]) {
        for form in [Form::Json, Form::Sse] {
            let pki = Pki::new();
            let upstream = Upstream::options(&pki).form(form).start();
            let mut client = connected(&pki, &upstream, &["--http", http]);
            assert_eq!(client.tool("echo", json!({"a": [1, "é"]})), json!({"a": [1, "é"]}));
            assert!(upstream.seen().iter().all(|seen| seen.version == version));
            assert_eq!(client.finish(), [] as [Value; 0]);
        }
    }
}

#[test]
fn progress_comes_before_the_result_and_in_order() {
    for http in HTTP {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = connected(&pki, &upstream, &["--http", http]);
        let id = client.call_with_progress("progress", json!({"steps": 100}));
        client.result(&id);
        let progress = |message: &Value| message["params"]["progress"].as_u64();
        let steps: Vec<u64> = client.received().iter().filter_map(progress).collect();
        assert_eq!(steps, Vec::from_iter(1..=100));
        assert_eq!(client.received().last().unwrap()["id"], id);
    }
}

#[test]
fn progress_is_delivered_while_the_call_still_runs() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream, &[]);
    let id = client.call_with_progress("progress", json!({"steps": 1, "gate": "end"}));
    client.notification("notifications/progress");
    upstream.release("end");
    client.result(&id);
}

#[test]
fn line_feeds_between_tokens_become_blanks_and_no_token_changes() {
    for form in [Form::Json, Form::Sse] {
        let pki = Pki::new();
        let upstream = Upstream::options(&pki).form(form).start();
        let mut client = connected(&pki, &upstream, &[]);
        for mangle in [Mangle::LineFeeds, Mangle::CarriageReturns] {
            upstream.script(Rule::call("echo"), Fault::Mangle(mangle));
            assert_eq!(client.tool("echo", json!({"a": "b\nc"})), json!({"a": "b\nc"}));
        }
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

#[test]
fn the_bytes_of_a_message_are_the_servers() {
    let odd = format!(
        r#" {{ "id" : {FIRST} ,"jsonrpc":"2.0","result":{{"n":1.0e+2,"big":12345678901234567890123,"u":"\u00e9\/é","a":1,"a":2}} }} "#
    );
    for fault in [Fault::json_text(odd.clone()), Fault::sse_text(format!("data:{odd}\n\n"))] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = connected(&pki, &upstream, &[]);
        upstream.script(Rule::call("echo"), fault);
        let id = client.call("echo", json!({}));
        client.result(&id);
        let stdout = client.process.stdout();
        let line = stdout.lines().last().unwrap();
        assert_eq!(line.trim(), odd.trim());
    }
}

#[test]
fn the_bytes_of_a_message_are_the_clients() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream, &[]);
    let odd =
        r#"{ "method":"ping" , "id":"\u00e9" , "jsonrpc" : "2.0","params":{"n":1.00,"a":1,"a":2}}"#;
    client.send(odd);
    client.result(&json!("é"));
    assert_eq!(upstream.wait_for_method("ping").body, odd);
}

#[test]
fn many_calls_are_in_flight_at_a_time() {
    for http in HTTP {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = connected(&pki, &upstream, &["--http", http]);
        let ids: Vec<Value> =
            (0..64).map(|_| client.call("wait", json!({"gate": "end"}))).collect();
        upstream.wait_for(|seen| seen.iter().filter(|seen| seen.is("tools/call")).count() == 64);
        assert_eq!(client.tool("echo", json!({"a": 1})), json!({"a": 1}), "none holds another");
        upstream.release("end");
        ids.iter().for_each(|id| drop(client.result(id)));
        assert_eq!(client.finish(), [] as [Value; 0]);
        let connections = upstream.record().connections.len();
        let expected = if http == "2" { 1..=2 } else { 65..=67 };
        assert!(expected.contains(&connections), "{http}: {connections} connections");
    }
}
