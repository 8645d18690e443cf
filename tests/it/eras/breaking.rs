//! What breaks while a question is open: the upstream, its session, the client's input. Each request
//! has one answer, and no call is made twice.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    answer_seen, call, calls, completed, form, legacy_client, modern_client, questions, retry,
    stamped, told,
};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::DEADLINE,
    script::{Ending, Fault, Rule},
    upstream::Upstream,
};

/// The error of a request whose outcome is not known.
#[track_caller]
fn unknown(client: &mut Client, id: &Value) {
    let error = client.error(id);
    assert!(error["message"].as_str().unwrap().contains("may have run: check before"), "{error}");
}

#[test]
fn a_modern_server_is_gone_when_the_legacy_client_has_answered() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = legacy_client(&pki);
        let asking = client.call("inquire", question.arguments());
        let asked = client.server_request(question.method());
        let waiting = client.call("progress", json!({"gate": "never"}));
        upstream.wait_for_request(|seen| seen.tool() == Some("progress"));
        upstream.down();
        client.respond(&asked, question.answer);
        assert_eq!(client.error(&asking)["data"]["stage"], "connect");
        unknown(&mut client, &waiting);
        upstream.up();
        assert_eq!(client.tool("echo", json!({"n": 1})), json!({"n": 1}));
        assert_eq!(calls(&upstream, "inquire").len(), 1);
        let rest = client.finish();
        assert!(rest.is_empty(), "each was answered once: {rest:?}");
    }
}

#[test]
fn a_modern_server_breaks_off_the_retry_of_a_legacy_client() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    upstream.script(Rule::call("inquire").after(1), Fault::RunThenHangup(Ending::Reset));
    let id = client.call("inquire", form().arguments());
    let asked = client.server_request("elicitation/create");
    client.respond(&asked, form().answer);
    unknown(&mut client, &id);
    assert_eq!(calls(&upstream, "inquire").len(), 2);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_legacy_server_breaks_off_a_call_whose_question_the_modern_client_has() {
    let pki = Pki::new();
    let breaks: [fn(&Upstream); 3] =
        [Upstream::drop_connections, Upstream::forget_sessions, Upstream::restart];
    for breaks in breaks {
        for question in questions() {
            let (upstream, mut client) = modern_client(&pki);
            let id = call(&mut client, "inquire", &question.arguments());
            let required = client.result(&id);
            breaks(&upstream);
            let said = json!({"input-1": question.answer});
            let again = retry(&mut client, "inquire", &question.arguments(), &required, said);
            unknown(&mut client, &again);
            let id = call(&mut client, "echo", &json!({"n": 1}));
            assert_eq!(client.result(&id)["structuredContent"], json!({"n": 1}));
            assert_eq!(calls(&upstream, "inquire").len(), 1);
            assert_eq!(client.finish(), [] as [Value; 0]);
        }
    }
}

/// 2025-11-25 transports, "Resumability and Redelivery".
#[test]
fn a_held_call_goes_on_where_its_stream_can_be_resumed() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).resumable(None).start();
    let bridge = Client::bridge(&pki, &upstream).args(["--protocol", "modern"]);
    let mut client = Client::start(&bridge);
    client.ask("server/discover", stamped(json!({})));
    let id = call(&mut client, "inquire", &form().arguments());
    let required = client.result(&id);
    upstream.drop_connections();
    let said = json!({"input-1": form().answer});
    let again = retry(&mut client, "inquire", &form().arguments(), &required, said);
    assert_eq!(client.result(&again), completed(told(&json!([[form().answer]]))));
    assert_eq!(calls(&upstream, "inquire").len(), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// The server would wait for it, and the client for the server.
#[test]
fn an_answer_that_does_not_reach_the_server_ends_the_call() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).resumable(None).start();
    let bridge = Client::bridge(&pki, &upstream).args(["--protocol", "modern"]);
    let mut client = Client::start(&bridge);
    client.ask("server/discover", stamped(json!({})));
    let id = call(&mut client, "inquire", &form().arguments());
    let required = client.result(&id);
    upstream.down();
    let said = json!({"input-1": form().answer});
    let again = retry(&mut client, "inquire", &form().arguments(), &required, said);
    let error = client.error(&again);
    assert!(error["message"].as_str().unwrap().contains("could not be brought"), "{error}");
    upstream.up();
    let id = call(&mut client, "echo", &json!({"n": 1}));
    assert_eq!(client.result(&id)["structuredContent"], json!({"n": 1}));
    assert_eq!(calls(&upstream, "inquire").len(), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// A server that does not keep streams open closes one once it has asked (2025-11-25 transports, "Sending
/// Messages to the Server" 6).
#[test]
fn a_held_call_goes_on_where_the_server_has_its_stream_polled() {
    let pki = Pki::new();
    let retry_after = Some(Duration::from_millis(10));
    let upstream = Upstream::options(&pki).resumable(retry_after).start();
    let bridge = Client::bridge(&pki, &upstream).args(["--protocol", "modern"]);
    let mut client = Client::start(&bridge);
    client.ask("server/discover", stamped(json!({})));
    upstream.script(Rule::call("inquire"), Fault::EndAfterEvents(2));
    let id = call(&mut client, "inquire", &form().arguments());
    let required = client.result(&id);
    let resumed = upstream.wait_for_request(|seen| seen.header("last-event-id").is_some());
    assert_eq!(resumed.method, "GET");
    let said = json!({"input-1": form().answer});
    let again = retry(&mut client, "inquire", &form().arguments(), &required, said);
    assert_eq!(client.result(&again), completed(told(&json!([[form().answer]]))));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_legacy_client_ends_while_it_is_asked() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = legacy_client(&pki);
        let id = client.call("inquire", question.arguments());
        let asked = client.server_request(question.method());
        client.process.close_stdin();
        let error = client.error(&id);
        assert!(error["message"].as_str().unwrap().contains("closed its input"), "{error}");
        let withdrawn = client.notification("notifications/cancelled");
        assert_eq!(withdrawn["params"]["requestId"], asked["id"]);
        assert_eq!(client.finish(), [] as [Value; 0]);
        assert_eq!(calls(&upstream, "inquire").len(), 1);
    }
}

#[test]
fn a_modern_client_ends_while_it_is_asked() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = modern_client(&pki);
        let id = call(&mut client, "inquire", &question.arguments());
        assert_eq!(client.result(&id)["resultType"], "input_required");
        assert_eq!(client.finish(), [] as [Value; 0]);
        // The server need not wait: its call is cancelled, its question answered, its session over.
        let cancelled = upstream.wait_for_method("notifications/cancelled");
        let called = calls(&upstream, "inquire")[0]["id"].clone();
        assert_eq!(cancelled.json()["params"]["requestId"], called);
        assert_eq!(answer_seen(&upstream)["error"]["code"], -32_603);
        assert_eq!(upstream.sessions(), [] as [String; 0]);
    }
}

#[test]
fn a_signal_ends_it_as_the_end_of_input_does() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    let id = client.call("inquire", form().arguments());
    let waiting = client.call("wait", json!({"gate": "never"}));
    client.server_request("elicitation/create");
    upstream.wait_for_request(|seen| seen.tool() == Some("wait"));
    client.process.signal(Signal::TERM);
    client.error(&id);
    client.error(&waiting);
    client.notification("notifications/cancelled");
    client.process.wait_exit(DEADLINE);
    assert_eq!(client.unclaimed(), [] as [Value; 0]);

    let (upstream, mut client) = modern_client(&pki);
    let id = call(&mut client, "inquire", &form().arguments());
    client.result(&id);
    let waiting = call(&mut client, "wait", &json!({"gate": "never"}));
    upstream.wait_for_request(|seen| seen.tool() == Some("wait"));
    client.process.signal(Signal::TERM);
    client.error(&waiting);
    client.process.wait_exit(DEADLINE);
    assert_eq!(client.unclaimed(), [] as [Value; 0]);
    assert_eq!(upstream.sessions(), [] as [String; 0]);
}

/// What the server is doing when the input ends is awaited; what it would then ask, nobody can answer.
#[test]
fn a_client_ends_before_it_is_asked() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    let id = client.call("inquire", form().gated(&json!(["late"])));
    upstream.wait_for_method("tools/call");
    let listening = upstream.wait_for_method("subscriptions/listen");
    client.process.close_stdin();
    upstream.wait_until_left(&listening);
    upstream.release("late");
    let error = client.error(&id);
    assert!(error["message"].as_str().unwrap().contains("client that is gone"), "{error}");
    assert_eq!(client.finish(), [] as [Value; 0]);

    let (upstream, mut client) = modern_client(&pki);
    let id = call(&mut client, "inquire", &form().gated(&json!(["late"])));
    upstream.wait_for_method("tools/call");
    let params = stamped(json!({"notifications": {"toolsListChanged": true}}));
    let listening = client.request("subscriptions/listen", params);
    client.notification("notifications/subscriptions/acknowledged");
    client.process.close_stdin();
    client.result(&listening);
    upstream.release("late");
    // A legacy server is told that it can't ask, and its call comes to an end of its own.
    let said = client.result(&id)["structuredContent"]["answers"][0][0].clone();
    assert!(said["error"]["message"].as_str().unwrap().contains("gone"), "{said}");
    assert_eq!(client.finish(), [] as [Value; 0]);
}
