//! A session that the server does not know any more is replaced: once, without the client, and
//! only what the loss proves unprocessed is sent again.

use serde_json::{Value, json};

use super::connected;
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Fault, Lost, Reply, Rule},
    upstream::Upstream,
};

const LISTS: [&str; 3] = [
    "notifications/tools/list_changed",
    "notifications/resources/list_changed",
    "notifications/prompts/list_changed",
];

/// The id of the first call of a client that is connected.
const FIRST: u64 = 2;

#[test]
fn many_calls_that_find_the_session_lost_cause_one_new_session() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream);
    upstream.forget_sessions();
    let ids: Vec<Value> = (0..32).map(|n| client.call("count", json!({"n": n}))).collect();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(client.result(id)["structuredContent"], json!({"n": n, "times": 1}));
        assert_eq!(upstream.ran(n), 1);
    }
    assert_eq!(upstream.posts("initialize").len(), 2);
    assert_eq!(upstream.posts("notifications/initialized").len(), 2);
    LISTS.iter().for_each(|list| drop(client.notification(list)));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn the_clients_handshake_is_repeated_under_an_id_of_our_own() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream);
    upstream.forget_sessions();
    client.tool("count", json!({"n": 1}));
    let [first, second] = &*upstream.posts("initialize") else { panic!("two sessions") };
    assert_eq!(second.json()["params"], first.json()["params"]);
    assert!(second.id().is_string() && second.id() != first.id(), "{second:?}");
    assert_eq!((second.session(), second.header("mcp-protocol-version")), (None, None));
    let [first, second] = &*upstream.posts("notifications/initialized") else { panic!("twice") };
    assert_eq!(second.body, first.body);
    assert_ne!(second.session(), first.session());
}

#[test]
fn every_shape_of_a_loss_is_recognised() {
    for shape in [Lost::NotFound, Lost::BadRequest, Lost::Ok, Lost::Unauthorized] {
        let pki = Pki::new();
        let upstream = Upstream::options(&pki).lost(shape).start();
        let mut client = connected(&pki, &upstream);
        upstream.forget_sessions();
        assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1, "{shape:?}");
        assert_eq!((upstream.ran(1), upstream.posts("initialize").len()), (1, 2), "{shape:?}");
        LISTS.iter().for_each(|list| drop(client.notification(list)));
        assert_eq!(client.finish(), [] as [Value; 0], "{shape:?}");
    }
}

#[test]
fn a_server_that_was_restarted_between_calls_is_nobodys_trouble() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream);
    for n in 0..3 {
        assert_eq!(client.tool("count", json!({"n": n}))["times"], 1);
        upstream.restart();
    }
    assert_eq!(client.tool("count", json!({"n": 3}))["times"], 1);
}

#[test]
fn a_session_lost_twice_is_an_error_and_the_next_call_tries_again() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream);
    upstream.script(Rule::call("count").times(2), Fault::Lost(Lost::NotFound));
    let id = client.call("count", json!({"n": 1}));
    let error = client.error(&id);
    assert_eq!(error["data"]["stage"], "response", "{error}");
    assert!(error["message"].as_str().unwrap().contains("lost the session again"), "{error}");
    assert!(error["data"]["hint"].as_str().unwrap().contains("load balancer"), "{error}");
    assert_eq!(upstream.ran(1), 0);
    assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1);
    assert_eq!(upstream.posts("initialize").len(), 3);
}

#[test]
fn a_new_session_that_is_refused_is_said_and_tried_again_with_the_next_call() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream);
    upstream.forget_sessions();
    upstream.script(Rule::on("initialize"), Fault::status(500));
    let id = client.call("count", json!({"n": 1}));
    assert!(client.error(&id)["message"].as_str().unwrap().contains("500"));
    assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1);
    assert_eq!(upstream.ran(1), 0);
}

#[test]
fn questions_of_the_old_session_are_withdrawn_and_their_answers_go_nowhere() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream);
    let asking = client.call("ask", json!({"method": "roots/list"}));
    let question = client.server_request("roots/list");
    upstream.forget_sessions();
    client.error(&asking);
    client.tool("echo", json!({}));
    let withdrawn = client.notification("notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    client.respond(&question, json!({"roots": []}));
    client.tool("echo", json!({}));
    let answers = upstream.seen().into_iter().filter(|seen| seen.json().get("result").is_some());
    assert_eq!(answers.count(), 0);
}

/// Calls `count` with the answer of the script; the error that the client saw, unchanged.
fn passed_on(client: &mut Client, upstream: &Upstream, reply: Reply) -> Value {
    upstream.script(Rule::call("count"), Fault::RunThenAnswer(reply));
    let id = client.call("count", json!({"n": 1}));
    assert_eq!(id, FIRST);
    let response = client.response(&id);
    assert_eq!((upstream.ran(1), upstream.posts("initialize").len()), (1, 1), "{response}");
    response
}

#[test]
fn a_tools_own_words_about_sessions_are_not_the_transports() {
    let words = "Session not found: open the browser first";
    let result = json!({"isError": true, "content": [{"type": "text", "text": words}]});
    let error = |code: i64, message| json!({"code": code, "message": message});
    let answers = [
        json!({"jsonrpc": "2.0", "id": FIRST, "result": result}),
        json!({"jsonrpc": "2.0", "id": FIRST, "error": error(-32000, words)}),
        json!({"jsonrpc": "2.0", "id": FIRST, "error": error(-32000, "Session not found")}),
        json!({"jsonrpc": "2.0", "id": FIRST, "error": error(-32001, words)}),
        json!({"jsonrpc": "2.0", "id": FIRST, "error": error(-32602, "invalid session")}),
    ];
    for answer in answers {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = connected(&pki, &upstream);
        let seen = passed_on(&mut client, &upstream, Reply::json(200, &answer));
        assert_eq!(seen, answer);
    }
}

#[test]
fn other_refusals_that_speak_of_sessions_are_not_sent_again() {
    for status in [403, 500, 503] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = connected(&pki, &upstream);
        let reply = Reply::new(status).body("Session not found");
        let seen = passed_on(&mut client, &upstream, reply);
        assert_eq!(seen["error"]["data"]["stage"], "response", "{seen}");
    }
}
