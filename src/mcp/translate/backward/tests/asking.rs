//! Questions of the server, by clauses of patterns/mrtr.

use super::*;
use crate::failure::{Failure, Stage};

fn asked_of(did: &[Did]) -> &Value {
    let asked = delivered(did);
    assert_eq!(asked.len(), 1, "{did:?}");
    assert_eq!(asked[0]["result"]["resultType"], "input_required", "{did:?}");
    asked[0]
}

/// What the server is told of its request `id`.
fn told<'a>(did: &'a [Did], id: &str) -> &'a Value {
    let told = posts(did).into_iter().find(|said| said["id"] == id && said["method"].is_null());
    told.unwrap_or_else(|| panic!("{id}: {did:?}"))
}

/// "Basic Workflow".
#[test]
fn a_question_ends_the_request_and_the_retry_goes_on_with_the_call() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let asked = table.asks(exchange, &elicit("q"));
    assert_eq!(asked["id"], 1);
    assert_eq!(asked["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "old");
    let inputs = asked["result"]["inputRequests"].as_object().unwrap();
    let input = inputs.values().next().unwrap();
    assert_eq!((inputs.len(), &input["method"]), (1, &json!("elicitation/create")));
    assert_eq!(input["params"], elicit("q")["params"]);
    assert!(!table.machine.settled(exchange), "the call's stream stays open");
    let did = table.client(&retry(&call(1), 2, &asked, &accept()));
    let [Did::Post(_, answer)] = &did[..] else { panic!("{did:?}") };
    assert_eq!(*answer, result(&json!("q"), accept()), "and the call is not sent again");
    let did = table.server(exchange, &result(&id, json!({ "content": [] })));
    assert_eq!(
        (&said(&did)["id"], &said(&did)["result"]["resultType"]),
        (&json!(2), &json!("complete"))
    );
    assert!(table.machine.settled(exchange));
}

/// "Supported Requests" and the three kinds of questions.
#[test]
fn what_may_be_asked_and_through_what() {
    let ask = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": "q", "method": method, "params": params });
    let url = || {
        ask(
            "elicitation/create",
            json!({ "mode": "url", "url": "https://a", "message": "m", "elicitationId": "e" }),
        )
    };
    let form = || elicit("q");
    let sample = || ask("sampling/createMessage", json!({ "messages": [], "maxTokens": 1 }));
    let tools =
        || ask("sampling/createMessage", json!({ "messages": [], "maxTokens": 1, "tools": [] }));
    let roots = || json!({ "jsonrpc": "2.0", "id": "q", "method": "roots/list" });
    let all = r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}"#;
    for (capabilities, method, question, refusal) in [
        (all, "tools/call", form(), None),
        (all, "prompts/get", sample(), None),
        (all, "resources/read", roots(), None),
        (all, "tools/call", tools(), None),
        (all, "tools/call", url(), None),
        (all, "tools/list", form(), Some(-32_601)),
        (all, "completion/complete", form(), Some(-32_601)),
        (all, "tools/call", ask("tasks/get", json!({})), Some(-32_601)),
        ("{}", "tools/call", form(), Some(-32_601)),
        ("{}", "tools/call", sample(), Some(-32_601)),
        ("{}", "tools/call", roots(), Some(-32_601)),
        (r#"{"elicitation":{}}"#, "tools/call", form(), None),
        (r#"{"elicitation":{}}"#, "tools/call", url(), Some(-32_602)),
        (r#"{"elicitation":{"url":{}}}"#, "tools/call", form(), Some(-32_602)),
        (r#"{"sampling":{}}"#, "tools/call", sample(), None),
        (r#"{"sampling":{}}"#, "tools/call", tools(), Some(-32_602)),
    ] {
        let mut table = Table::new();
        let did = table.client(&by(capabilities, 1, method, json!({ "name": "run" })));
        let did = table.stands(&did);
        let (exchange, _) = posted(&did);
        let did = table.server(exchange, &question);
        match refusal {
            Some(code) => {
                assert_eq!(told(&did, "q")["error"]["code"], code, "{question}");
                assert!(delivered(&did).is_empty());
            }
            None => {
                let input = &asked_of(&did)["result"]["inputRequests"]["input-1"];
                assert_eq!(input["method"], question["method"]);
                assert!(input["params"]["elicitationId"].is_null(), "changelog, minor 11");
            }
        }
    }
}

#[test]
fn a_ping_is_answered_here_and_what_belongs_to_no_call_is_refused() {
    let mut table = Table::ready();
    let stream = table.stream;
    let ping = json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" });
    let roots = json!({ "jsonrpc": "2.0", "id": "r", "method": "roots/list" });
    assert_eq!(told(&table.server(stream, &ping), "p")["result"], json!({}));
    assert_eq!(told(&table.server(stream, &roots), "r")["error"]["code"], -32_601);
    assert_eq!(told(&table.server(stream, &elicit("q")), "q")["error"]["code"], -32_601);
    // Not all servers relate it to the call that they need it for.
    table.calls(&call(1));
    assert_eq!(table.asks(stream, &roots)["id"], 1);
}

/// patterns/cancellation, "Behavior Requirements": what is over asks nobody, least of all in the name of
/// another call.
#[test]
fn a_call_that_is_over_does_not_ask_through_another() {
    let mut table = Table::ready();
    let (cancelled, _) = table.calls(&call(1));
    let (_, id) = table.calls(&call(2));
    table.client(&cancel(1));
    let did = table.server(cancelled, &elicit("q"));
    assert_eq!(told(&did, "q")["error"]["code"], -32_601, "{id}");
    assert_eq!(delivered(&did), Vec::<&Value>::new());
}

/// What waits for an answer that has certainly not arrived would wait for ever.
#[test]
fn an_answer_that_can_not_be_brought_ends_the_call() {
    let failure = |stage| End::Broken(Failure::new(stage, "it broke"));
    for (end, over) in [
        (refused(403), true),
        (failure(Stage::Connect), true),
        (failure(Stage::Credential), true),
        (refused(502), false),
        (failure(Stage::Response), false),
        (End::Idle(Duration::from_secs(1)), false),
        (End::Complete { accepted: true }, false),
    ] {
        let words = format!("{end:?}");
        let mut table = Table::ready();
        let (exchange, id) = table.calls(&call(1));
        let asked = table.asks(exchange, &elicit("q"));
        let (bringing, _) = posted(&table.client(&retry(&call(1), 2, &asked, &accept())));
        let did = table.on(Event::Ended(bringing, end, Position::default()));
        let answered = table.server(exchange, &result(&id, json!({})));
        if over {
            let answer = delivered(&did)[0];
            assert_eq!(answer["id"], 2);
            let why = answer["error"]["message"].as_str().unwrap();
            assert!(why.contains("may have run"), "{why}");
            assert_eq!(posts(&did)[0]["method"], "notifications/cancelled", "{words}");
            assert_eq!(answered, [], "{words}");
        } else {
            assert_eq!((did, said(&answered)["id"].clone()), (vec![], json!(2)), "{words}");
        }
    }
}

/// Servers that do not relate their question to the call ask on the GET stream.
#[test]
fn a_question_of_the_session_is_put_through_the_one_call_that_can_have_it() {
    let mut table = Table::ready();
    let (_, id) = table.calls(&call(1));
    table.calls(&request(2, "tools/list", json!({})));
    let stream = table.stream;
    let did = table.server(stream, &elicit("q"));
    let asked = asked_of(&did).clone();
    assert_eq!(asked["id"], 1);
    let did = table.client(&retry(&call(1), 3, &asked, &accept()));
    assert_eq!(told(&did, "q")["result"], accept());
    let (other, _) = table.calls(&call(4));
    assert_eq!(
        told(&table.server(stream, &elicit("r")), "r")["error"]["code"],
        -32_601,
        "of two, which?"
    );
    let did = table.server(other, &result(&id, json!({})));
    assert_eq!(said(&did)["id"], 3, "the answer finds its request, whatever stream it is on");
}

/// "Core Types": several requests in one result; later ones are for the next round.
#[test]
fn what_is_at_hand_is_asked_together_and_what_comes_later_in_the_next_round() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let did = table.server(exchange, &json!([elicit("a"), elicit("b")]));
    let first = asked_of(&did).clone();
    assert_eq!(first["result"]["inputRequests"].as_object().unwrap().len(), 2);
    assert_eq!(table.server(exchange, &elicit("c")), [], "the client has no request for it");
    let did = table.client(&retry(&call(1), 2, &first, &accept()));
    for id in ["a", "b"] {
        assert_eq!(told(&did, id)["result"], accept());
    }
    let second = asked_of(&did).clone();
    assert_eq!(second["id"], 2);
    let inputs = second["result"]["inputRequests"].as_object().unwrap();
    assert_eq!(inputs["input-3"]["params"]["message"], "c");
    assert_ne!(second["result"]["requestState"], first["result"]["requestState"]);
    let did = table.client(&retry(&call(1), 3, &second, &accept()));
    assert_eq!(told(&did, "c")["result"], accept());
    assert_eq!(said(&table.server(exchange, &result(&id, json!({}))))["id"], 3);
}

/// "Error Handling".
#[test]
fn what_a_retry_leaves_out_is_asked_again_and_what_nobody_asked_is_ignored() {
    let mut table = Table::ready();
    let (exchange, _) = table.calls(&call(1));
    let did = table.server(exchange, &json!([elicit("a"), elicit("b")]));
    let mut half = retry(&call(1), 2, asked_of(&did), &accept());
    half["params"]["inputResponses"] = json!({ "input-2": accept(), "x": {} });
    let did = table.client(&half);
    assert_eq!(posts(&did).len(), 1);
    assert_eq!(told(&did, "b")["result"], accept());
    let asked = asked_of(&did);
    assert_eq!(asked["result"]["inputRequests"].as_object().unwrap().len(), 1);
    let mut none = retry(&call(1), 3, asked, &accept());
    none["params"].as_object_mut().unwrap().remove("inputResponses");
    assert_eq!(asked_of(&table.client(&none))["id"], 3);
}

#[test]
fn two_calls_that_ask_at_once_are_kept_apart() {
    let mut table = Table::ready();
    let other = |id| request(id, "tools/call", json!({ "name": "other" }));
    let (one, one_id) = table.calls(&call(1));
    let (two, two_id) = table.calls(&other(2));
    let first = table.asks(one, &elicit("q"));
    let second = table.asks(two, &elicit("q2"));
    // Neither state goes on with the other call.
    assert_eq!(code(&table.client(&retry(&call(3), 3, &second, &accept()))), (json!(3), -32_602));
    assert_eq!(code(&table.client(&retry(&other(3), 3, &first, &accept()))), (json!(3), -32_602));
    let did = table.client(&retry(&other(2), 4, &second, &accept()));
    told(&did, "q2");
    let did = table.client(&retry(&call(1), 5, &first, &accept()));
    told(&did, "q");
    assert_eq!(said(&table.server(one, &result(&one_id, json!({}))))["id"], 5);
    assert_eq!(said(&table.server(two, &result(&two_id, json!({}))))["id"], 4);
}

/// "Server Requirements" 4 and 5.
#[test]
fn a_state_that_is_forged_foreign_expired_or_used_is_refused() {
    let mut table = Table::ready();
    let (exchange, _) = table.calls(&call(1));
    let asked = table.asks(exchange, &elicit("q"));
    let good = retry(&call(1), 2, &asked, &accept());
    let state = asked["result"]["requestState"].as_str().unwrap().to_owned();
    let with = |state: Value| {
        let mut retry = good.clone();
        retry["params"]["requestState"] = state;
        retry
    };
    let mut elsewhere = good.clone();
    elsewhere["params"]["arguments"]["a"] = json!(2);
    let mut bad_responses = good.clone();
    bad_responses["params"]["inputResponses"] = json!([]);
    let mut bad_response = good.clone();
    bad_response["params"]["inputResponses"] = json!({ "input-1": null });
    let mut stateless = good.clone();
    stateless["params"].as_object_mut().unwrap().remove("requestState");
    for bad in [
        with(json!("1.AAAA")),
        with(json!("")),
        with(json!(7)),
        with(json!(state.replacen('1', "2", 1))),
        with(json!(format!("{state}A"))),
        elsewhere,
        bad_responses,
        bad_response,
        stateless,
    ] {
        assert_eq!(code(&table.client(&bad)), (json!(2), -32_602), "{bad}");
    }
    told(&table.client(&good), "q");
    let mut again = good.clone();
    again["id"] = json!(3);
    assert_eq!(code(&table.client(&again)), (json!(3), -32_602), "used twice");
    // Another machine, another key.
    let mut other = Table::ready();
    other.machine.seal = super::super::state::Seal::new(&[8; 32]);
    assert_eq!(code(&other.client(&good)), (json!(2), -32_602));
}

#[test]
fn a_call_that_is_not_gone_on_with_in_time_is_cancelled() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let did = table.server(exchange, &elicit("q"));
    let [Did::Deliver(asked), Did::After(timer)] = &did[..] else { panic!("{did:?}") };
    table.server(exchange, &elicit("r"));
    let (asked, timer) = (asked.clone(), *timer);
    let did = table.on(Event::Elapsed(timer));
    assert_eq!(posts(&did)[0]["params"]["requestId"], id);
    for question in ["q", "r"] {
        assert_eq!(told(&did, question)["error"]["code"], -32_603);
    }
    assert!(delivered(&did).is_empty());
    assert_eq!(code(&table.client(&retry(&call(1), 2, &asked, &accept()))), (json!(2), -32_602));
    assert_eq!(table.on(Event::Elapsed(timer)), []);
    // A timer of a round that was gone on with means nothing.
    let (exchange, _) = table.calls(&call(3));
    let did = table.server(exchange, &elicit("s"));
    let [Did::Deliver(asked), Did::After(timer)] = &did[..] else { panic!("{did:?}") };
    let (asked, timer) = (asked.clone(), *timer);
    table.client(&retry(&call(3), 4, &asked, &accept()));
    assert_eq!(table.on(Event::Elapsed(timer)), []);
}

/// basic, "Per-request protocol fields": of each request by itself.
#[test]
fn a_retry_says_anew_what_can_be_asked() {
    let mut table = Table::ready();
    let (exchange, _) = table.calls(&call(1));
    let asked = table.asks(exchange, &elicit("q"));
    let mut less = retry(&call(1), 2, &asked, &accept());
    less["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "roots": {} });
    told(&table.client(&less), "q");
    assert_eq!(told(&table.server(exchange, &elicit("r")), "r")["error"]["code"], -32_601);
    // What has come while the call was held is not asked of such a client either.
    let (exchange, _) = table.calls(&call(3));
    let asked = table.asks(exchange, &elicit("s"));
    assert_eq!(table.server(exchange, &elicit("t")), []);
    let mut less = retry(&call(3), 4, &asked, &accept());
    less["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "roots": {} });
    let did = table.client(&less);
    assert_eq!(told(&did, "s")["result"], accept());
    assert_eq!(told(&did, "t")["error"]["code"], -32_601);
    assert_eq!(delivered(&did), Vec::<&Value>::new());
}

#[test]
fn what_comes_of_a_call_while_it_is_held_is_kept_for_the_retry() {
    for answer in
        [json!({ "result": { "content": [] } }), json!({ "error": { "code": 9, "message": "m" } })]
    {
        let mut table = Table::ready();
        let (exchange, id) = table.calls(&call(1));
        let asked = table.asks(exchange, &elicit("q"));
        let mut response = answer.clone();
        response["jsonrpc"] = json!("2.0");
        response["id"] = id;
        assert_eq!(table.server(exchange, &response), [], "its request is over");
        let did = table.client(&retry(&call(1), 2, &asked, &accept()));
        assert_eq!(said(&did)["id"], 2);
        assert_eq!(said(&did)["error"], answer["error"]);
    }
    // Nor is anything cancelled there when it is not fetched.
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let did = table.server(exchange, &elicit("q"));
    let Did::After(timer) = did[1] else { panic!("{did:?}") };
    table.server(exchange, &result(&id, json!({})));
    assert_eq!(table.on(Event::Elapsed(timer)), []);
}

#[test]
fn a_question_that_the_server_takes_back_is_not_answered() {
    let take_back = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "q" } });
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let asked = table.asks(exchange, &elicit("q"));
    assert_eq!(table.server(exchange, &take_back), [], "no server of the revision says that");
    assert_eq!(table.client(&retry(&call(1), 2, &asked, &accept())), []);
    assert_eq!(said(&table.server(exchange, &result(&id, json!({}))))["id"], 2);
}

#[test]
fn progress_of_a_retried_call_has_the_token_of_the_retry() {
    let mut table = Table::ready();
    let with = |id: u32, token: Value| {
        request(id, "tools/call", json!({ "name": "run", "_meta": { "progressToken": token } }))
    };
    let progress = |token: Value| json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": token, "progress": 1 } });
    let (exchange, ours) = table.calls(&with(1, json!(1)));
    let asked = table.asks(exchange, &elicit("q"));
    assert_eq!(table.server(exchange, &progress(ours.clone())), [], "its request is over");
    table.client(&retry(&with(1, json!("two")), 2, &asked, &accept()));
    let did = table.server(exchange, &progress(ours.clone()));
    assert_eq!(*said(&did), progress(json!("two")));
    let asked = table.asks(exchange, &elicit("r"));
    table.client(&retry(&call(1), 3, &asked, &accept()));
    assert_eq!(table.server(exchange, &progress(ours)), [], "the retry has none");
}

#[test]
fn held_calls_are_bounded_and_so_are_their_questions() {
    let mut table = Table::ready();
    for n in 0..256 {
        let (exchange, _) = table.calls(&call(n));
        table.asks(exchange, &elicit(&format!("q{n}")));
    }
    let (exchange, _) = table.calls(&call(900));
    let did = table.server(exchange, &elicit("more"));
    assert_eq!(told(&did, "more")["error"]["code"], -32_603);
    let mut table = Table::ready();
    let (exchange, _) = table.calls(&call(1));
    table.asks(exchange, &elicit("q"));
    for n in 0..31 {
        assert_eq!(table.server(exchange, &elicit(&n.to_string())), []);
    }
    assert_eq!(told(&table.server(exchange, &elicit("more")), "more")["error"]["code"], -32_603);
}

#[test]
fn the_id_of_a_held_request_is_free_for_another() {
    let mut table = Table::ready();
    let (exchange, id) = table.calls(&call(1));
    let asked = table.asks(exchange, &elicit("q"));
    let (other, other_id) = table.calls(&call(1));
    assert_ne!(id, other_id);
    assert_eq!(said(&table.server(other, &result(&other_id, json!({}))))["id"], 1);
    told(&table.client(&retry(&call(1), 1, &asked, &accept())), "q");
}

#[test]
fn a_session_that_is_lost_takes_its_questions_along() {
    let mut table = Table::ready();
    let (exchange, _) = table.calls(&call(1));
    let asked = table.asks(exchange, &elicit("q"));
    let (other, _) = table.calls(&call(2));
    let did = table.on(Event::Ended(other, refused(404), Position::default()));
    table.stands(&did);
    let did = table.client(&retry(&call(1), 3, &asked, &accept()));
    assert!(posts(&did).is_empty(), "{did:?}");
    let did = table.over(exchange, false);
    assert_eq!(code(&did).0, 3);
}
