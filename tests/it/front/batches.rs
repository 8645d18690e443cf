//! Batches, which 2025-03-26 has and later revisions do not.

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Form, Rule},
    upstream::Upstream,
};

const BATCH: &str = r#"[ {"jsonrpc":"2.0","id":101,"method":"ping"}, {"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":102,"method":"tools/list"}]"#;

fn start() -> (Pki, Upstream, Client) {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).protocol("2025-03-26").start();
    let mut client = Client::start(&Client::bridge(&pki, &upstream));
    client.handshake_with("2025-03-26");
    (pki, upstream, client)
}

#[test]
fn a_batch_travels_as_one_message_both_ways() {
    let (_pki, upstream, mut client) = start();
    client.send(BATCH);
    let answer = client.wait("a batch", Value::is_array);
    let ids: Vec<&Value> = answer.as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert!(ids.len() == 2 && ids.contains(&&json!(101)) && ids.contains(&&json!(102)));
    assert_eq!(upstream.posts("ping")[0].body, BATCH);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_batch_may_be_answered_one_by_one_on_a_stream() {
    let (_pki, upstream, mut client) = start();
    upstream.script(Rule::on("ping"), Fault::Form(Form::Sse));
    client.send(BATCH);
    assert_eq!(client.result(&json!(101)), json!({}));
    assert!(client.result(&json!(102))["tools"].is_array());
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn each_request_of_a_batch_gets_its_error() {
    let (_pki, upstream, mut client) = start();
    upstream.script(Rule::on("ping"), Fault::status(500));
    client.send(BATCH);
    for id in [101, 102] {
        assert_eq!(client.error(&json!(id))["data"]["stage"], "response");
    }
    client.send(&BATCH.replace("\"tools/list\"", "5"));
    assert_eq!(client.error(&json!(101))["code"], -32_600);
    assert_eq!(client.ask("ping", Value::Null), json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_batch_that_wants_no_answer_gets_none() {
    let (_pki, upstream, mut client) = start();
    client.send(r#"[{"jsonrpc":"2.0","method":"notifications/x"}]"#);
    upstream.wait_for_method("notifications/x");
    assert_eq!(client.ask("ping", Value::Null), json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
}
