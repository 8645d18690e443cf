//! What a server wants to know in the midst of a call: 2026-07-28 has it in results and retries, what
//! was before in requests of the server on the call's stream. Whole round trips, as both sides see them.

use serde_json::{Value, json};

use super::{
    answer_seen, call, calls, capabilities, completed, form, information, legacy_client, meta,
    modern_client, questions, retry, server, told,
};
use crate::support::{
    pki::Pki,
    script::{Fault, Rule},
    upstream::inquire,
};

#[test]
fn a_legacy_client_is_asked_what_a_modern_server_wants_to_know() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = legacy_client(&pki);
        let id = client.call("inquire", question.arguments());
        let asked = client.server_request(question.method());
        let mut expected = question.asked.clone();
        expected["jsonrpc"] = "2.0".into();
        expected["id"] = asked["id"].clone();
        if expected["params"]["mode"] == "url" {
            // 2025-11-25 client/elicitation, "URL Mode": a URL has an id.
            expected["params"]["elicitationId"] = asked["id"].clone();
        }
        assert_eq!(asked, expected);
        client.respond(&asked, question.answer.clone());
        let answers = json!([[question.answer]]);
        assert_eq!(client.result(&id), told(&answers));
        let [first, again] = &calls(&upstream, "inquire")[..] else { panic!("two requests") };
        let mut params =
            json!({"name": "inquire", "arguments": question.arguments(), "_meta": meta()});
        assert_eq!((&first["id"], &first["params"]), (&id, &params));
        // patterns/mrtr, "Client Requirements" 1 to 3.
        params["inputResponses"][inquire::name(0, 0)] = question.answer;
        params["requestState"] = inquire::state(&[]).into();
        assert_eq!(again["params"], params);
        assert_ne!(again["id"], id);
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

#[test]
fn a_modern_client_is_asked_what_a_legacy_server_wants_to_know() {
    let pki = Pki::new();
    for question in questions() {
        let (upstream, mut client) = modern_client(&pki);
        let id = call(&mut client, "inquire", &question.arguments());
        let required = client.result(&id);
        let expected = json!({
            "resultType": "input_required", "inputRequests": {"input-1": question.asked},
            "requestState": required["requestState"], "_meta": server(),
        });
        assert_eq!(required, expected);
        let said = json!({"input-1": question.answer});
        let again = retry(&mut client, "inquire", &question.arguments(), &required, said);
        let answers = json!([[question.answer]]);
        assert_eq!(client.result(&again), completed(told(&answers)));
        let [called] = &calls(&upstream, "inquire")[..] else { panic!("one request") };
        let arguments = question.arguments();
        assert_eq!(called["params"]["arguments"], arguments);
        assert_eq!(called["params"].get("_meta").unwrap_or(&json!({})), &json!({}));
        let answer = answer_seen(&upstream);
        assert!(answer["id"].as_str().unwrap().starts_with("ask-"));
        assert_eq!(answer["result"], question.answer);
        let opened = upstream.posts("initialize")[0].json().clone();
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": capabilities(),
            "clientInfo": information(),
        });
        assert_eq!(opened["params"], params);
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

/// Two questions at a time, and then one more that depends on them.
fn rounds() -> Value {
    let [form, url, sampling, roots] = questions().map(|question| question.asked);
    json!({"rounds": [[form, roots], [sampling], [url]]})
}

fn answers() -> Value {
    let [form, url, sampling, roots] = questions().map(|question| question.answer);
    json!([[form, roots], [sampling], [url]])
}

#[test]
fn a_legacy_client_is_asked_round_after_round() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    let id = client.call("inquire", rounds());
    let [form, url, sampling, roots] = questions();
    // Both are asked before either is answered, and are answered in the other order.
    let first = client.server_request("elicitation/create");
    let second = client.server_request("roots/list");
    client.respond(&second, roots.answer);
    client.respond(&first, form.answer);
    let third = client.server_request("sampling/createMessage");
    client.respond(&third, sampling.answer);
    let fourth = client.server_request("elicitation/create");
    client.respond(&fourth, url.answer);
    assert_eq!(client.result(&id), told(&answers()));
    let sent = calls(&upstream, "inquire");
    let names = |at: usize| -> Vec<&String> {
        sent[at]["params"]["inputResponses"].as_object().unwrap().keys().collect()
    };
    assert_eq!(sent.len(), 4);
    assert_eq!(names(1), [&inquire::name(0, 0), &inquire::name(0, 1)]);
    assert_eq!(names(3), [&inquire::name(2, 0)], "and none of another round");
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_modern_client_is_asked_round_after_round() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    let mut id = call(&mut client, "inquire", &rounds());
    let known = questions();
    let mut states = Vec::new();
    // How many rounds these are is for the bridge to say: what it has at hand is asked together.
    let result = loop {
        let result = client.result(&id);
        if result["resultType"] == "complete" {
            break result;
        }
        let mut said = json!({});
        for (name, asked) in result["inputRequests"].as_object().unwrap() {
            let question = known.iter().find(|question| question.asked == *asked);
            said[name] = question.unwrap_or_else(|| panic!("{asked}")).answer.clone();
        }
        states.push(result["requestState"].to_string());
        id = retry(&mut client, "inquire", &rounds(), &result, said);
    };
    assert_eq!(result, completed(told(&answers())));
    assert!((3..=4).contains(&states.len()), "{states:?}");
    states.dedup();
    assert!((3..=4).contains(&states.len()), "each state is another: {states:?}");
    assert_eq!(calls(&upstream, "inquire").len(), 1, "a call is never made twice");
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_legacy_client_that_declines_has_answered_and_one_that_fails_has_not() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    let id = client.call("inquire", form().arguments());
    let asked = client.server_request("elicitation/create");
    client.respond(&asked, json!({"action": "decline"}));
    assert_eq!(client.result(&id), told(&json!([[{"action": "decline"}]])));
    let id = client.call("inquire", form().arguments());
    let asked = client.server_request("elicitation/create");
    client.respond_error(&asked, -1, "no one is here");
    let error = client.error(&id);
    assert!(error["message"].as_str().unwrap().contains("no one is here"), "{error}");
    assert_eq!(calls(&upstream, "inquire").len(), 3, "that call did not go on");
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_client_is_not_asked_for_what_it_has_not_declared() {
    let pki = Pki::new();
    let (upstream, mut client) = super::before_modern(&pki);
    client.ask(
        "initialize",
        json!({
            "protocolVersion": "2025-06-18", "capabilities": {"elicitation": {}},
            "clientInfo": information(),
        }),
    );
    let [_, by_url, sampling, _] = questions();
    for (question, lacking) in [(by_url, "elicitation.url"), (sampling, "sampling")] {
        let id = client.call("inquire", question.arguments());
        let error = client.error(&id);
        assert!(error["message"].as_str().unwrap().contains(lacking), "{error}");
    }
    assert_eq!(calls(&upstream, "inquire").len(), 2);
    assert_eq!(client.finish(), [] as [Value; 0]);

    let (upstream, mut client) = modern_client(&pki);
    let [_, by_url, ..] = questions();
    let mut params = json!({"name": "inquire", "arguments": by_url.arguments(), "_meta": meta()});
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({"elicitation": {}});
    let id = client.request("tools/call", params);
    // The server is told so, and its call goes on.
    let said = client.result(&id)["structuredContent"]["answers"][0][0].clone();
    assert_eq!(said["error"]["code"], -32_602, "{said}");
    assert_eq!(answer_seen(&upstream)["error"], said["error"]);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// Servers that do not tie a question to its call ask on the stream of the session.
#[test]
fn a_question_on_the_stream_of_the_session_is_put_through_the_one_call_that_is_open() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    let waiting = json!({"gate": "asked"});
    let id = call(&mut client, "wait", &waiting);
    upstream.wait_for_method("tools/call");
    let question = form();
    std::thread::scope(|scope| {
        let asked = &question.asked;
        let asking = scope.spawn(|| upstream.ask("elicitation/create", &asked["params"]));
        let required = client.result(&id);
        assert_eq!(required["inputRequests"], json!({"input-1": asked}));
        let said = json!({"input-1": question.answer});
        let again = retry(&mut client, "wait", &waiting, &required, said);
        assert_eq!(asking.join().unwrap()["result"], question.answer);
        upstream.release("asked");
        assert_eq!(client.result(&again)["structuredContent"], waiting);
    });
    // Through none, it can't be asked.
    let refused = upstream.ask("elicitation/create", &question.asked["params"]);
    assert_eq!(refused["error"]["code"], -32_601);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// 2025-11-25 client/elicitation, "URL Elicitation Required Error".
#[test]
fn an_address_that_must_be_opened_first_is_a_question_and_the_call_is_made_anew() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    upstream.script(
        Rule::call("count"),
        Fault::made(|seen| {
            let elicitation = json!({
                "mode": "url", "elicitationId": "e", "url": "https://example.com", "message": "in",
            });
            let error = json!({
                "code": -32_042, "message": "sign in", "data": {"elicitations": [elicitation]},
            });
            let answer = json!({"jsonrpc": "2.0", "id": seen.id(), "error": error});
            Fault::json_text(answer.to_string())
        }),
    );
    let id = call(&mut client, "count", &json!({"n": 1}));
    let required = client.result(&id);
    let input = json!({"method": "elicitation/create", "params": {
        "mode": "url", "url": "https://example.com", "message": "in",
    }});
    assert_eq!(required["inputRequests"], json!({"input-1": input}));
    let said = json!({"input-1": {"action": "accept"}});
    let again = retry(&mut client, "count", &json!({"n": 1}), &required, said);
    assert_eq!(client.result(&again)["structuredContent"], json!({"n": 1, "times": 1}));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// What goes from one side to the other is not read more than it must be, nor written anew.
#[test]
fn what_is_asked_and_said_is_carried_as_it_was_written() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    let params = r#"{"message":"\u0041\/" ,"requestedSchema":{"x":[1.0, 1e2]}}"#;
    let asked = format!(r#"{{"q\u0031": {{"method":"elicitation/create","params":{params}}}}}"#);
    let state = r#""st\u0061te\/\ud83d\ude00""#;
    upstream.script(
        Rule::call("echo"),
        Fault::made(move |seen| {
            let result = format!(
                r#"{{"resultType":"input_required","inputRequests":{asked},"requestState":{state}}}"#
            );
            Fault::json_text(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.id()))
        }),
    );
    let id = client.call("echo", json!({"n": 1}));
    let question = client.server_request("elicitation/create");
    assert!(client.process.stdout().contains(&format!(r#""params":{params}"#)));
    let said = r#"{"action":"accept" ,"content":{"a":1.0,"b":"\/\u00e4"}}"#;
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{said}}}"#, question["id"]));
    assert_eq!(client.result(&id)["structuredContent"], json!({"n": 1}));
    let again = upstream.seen().into_iter().rfind(|seen| seen.tool() == Some("echo")).unwrap();
    let body = String::from_utf8(again.body.to_vec()).unwrap();
    assert!(body.contains(&format!(r#""requestState":{state}"#)), "{body}");
    assert!(body.contains(said), "{body}");
    assert_eq!(again.json()["params"]["inputResponses"].as_object().unwrap().len(), 1);
    assert!(again.json()["params"]["inputResponses"]["q1"].is_object());
    assert_eq!(client.finish(), [] as [Value; 0]);

    let (upstream, mut client) = modern_client(&pki);
    let id = call(&mut client, "inquire", &form().arguments());
    let required = client.result(&id);
    let (state, arguments) = (&required["requestState"], form().arguments());
    // With its members in another order, as a client may write them.
    client.send(&format!(
        r#"{{"id":"again","params":{{"requestState":{state},"inputResponses":{{"input\u002d1":{said}}},"_meta":{},"arguments":{arguments},"name":"inquire"}},"method":"tools/call","jsonrpc":"2.0"}}"#,
        meta()
    ));
    client.result(&json!("again"));
    let answers = upstream.seen().into_iter().filter(|seen| seen.json().get("result").is_some());
    let bodies: Vec<String> =
        answers.map(|seen| String::from_utf8(seen.body.to_vec()).unwrap()).collect();
    assert!(bodies.len() == 1 && bodies[0].contains(said), "{bodies:?}");
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// patterns/mrtr, "Supported Requests".
#[test]
fn other_requests_than_calls_may_ask_too() {
    let pki = Pki::new();
    let (upstream, mut client) = legacy_client(&pki);
    let large = "s".repeat(1 << 20);
    let state = large.clone();
    upstream.script(
        Rule::on("resources/read").times(2),
        Fault::made(move |seen| {
            let result = match seen.json()["params"].get("requestState") {
                Some(back) => {
                    assert_eq!(*back, *state);
                    let said = seen.json()["params"]["inputResponses"]["q"].to_string();
                    json!({"contents": [{"uri": "a:b", "text": said}], "ttlMs": 1})
                }
                None => json!({
                    "resultType": "input_required",
                    "inputRequests": {"q": {"method": "roots/list"}},
                    "requestState": state,
                }),
            };
            let answer = json!({"jsonrpc": "2.0", "id": seen.id(), "result": result});
            Fault::json_text(answer.to_string())
        }),
    );
    let id = client.request("resources/read", json!({"uri": "a:b"}));
    let asked = client.server_request("roots/list");
    client.respond(&asked, json!({"roots": []}));
    let contents = json!([{"uri": "a:b", "text": r#"{"roots":[]}"#}]);
    assert_eq!(client.result(&id), json!({"contents": contents}));
    assert_eq!(client.finish(), [] as [Value; 0]);

    // And what is asked may be large.
    let (_upstream, mut client) = modern_client(&pki);
    let mut question = form();
    question.asked["params"]["message"] = large.clone().into();
    question.answer["content"]["it"] = large.into();
    let id = call(&mut client, "inquire", &question.arguments());
    let required = client.result(&id);
    assert_eq!(required["inputRequests"]["input-1"], question.asked);
    let said = json!({"input-1": question.answer});
    let id = retry(&mut client, "inquire", &question.arguments(), &required, said);
    let answers = &client.result(&id)["structuredContent"]["answers"];
    assert_eq!(answers[0][0], question.answer);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// patterns/mrtr, "Server Requirements" 4 and 5.
#[test]
fn a_state_is_good_for_one_retry_of_one_call() {
    let pki = Pki::new();
    let (upstream, mut client) = modern_client(&pki);
    let arguments = form().arguments();
    let id = call(&mut client, "inquire", &arguments);
    let required = client.result(&id);
    let said = json!({"input-1": form().answer});
    let mut forged = required.clone();
    forged["requestState"] = format!("{}x", required["requestState"].as_str().unwrap()).into();
    let other = json!({"rounds": [[form().asked]], "more": 1});
    for (arguments, required) in [(&arguments, &forged), (&other, &required)] {
        let id = retry(&mut client, "inquire", arguments, required, said.clone());
        let error = client.error(&id);
        assert_eq!(error["code"], -32_602);
        assert!(error["message"].as_str().unwrap().contains("not made here"), "{error}");
    }
    let id = retry(&mut client, "inquire", &arguments, &required, said.clone());
    assert_eq!(client.result(&id), completed(told(&json!([[form().answer]]))));
    let id = retry(&mut client, "inquire", &arguments, &required, said);
    assert!(client.error(&id)["message"].as_str().unwrap().contains("used before"));
    assert_eq!(calls(&upstream, "inquire").len(), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}
