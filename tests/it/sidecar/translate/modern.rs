//! Clients without sessions before a server that has them.

use serde_json::{Value, json};

use super::super::post;
use super::{META, ends, event, result, scene, stated, stated_call, stream};
use crate::support::script::{Fault, Reply, Rule};

#[test]
fn a_client_discovers_and_calls_under_its_own_ids() {
    let scene = scene(false, &[]);
    let id = json!("discover");
    let found = result(&scene.sidecar.ask(stated(&id, "server/discover", json!({}))), &id);
    assert_eq!(found["supportedVersions"], json!(["2026-07-28"]));
    for id in [json!(7), json!("7"), json!("a\"b")] {
        let answer = scene.sidecar.ask(stated_call(&id, "echo", &json!({"id": id})));
        assert_eq!(result(&answer, &id)["structuredContent"], json!({"id": id}));
        assert_eq!(answer.header("mcp-session-id"), None);
    }
    assert_eq!(scene.upstream.posts("initialize").len(), 1);
    assert!(scene.upstream.posts("tools/call").iter().all(|it| it.session().is_some()));
    let sessions = scene.upstream.sessions();
    assert_eq!(sessions.len(), 1);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn clients_with_the_same_ids_and_tokens_do_not_meet() {
    let scene = scene(false, &[]);
    let call = |gate: &str| {
        let arguments = json!({"steps": 1, "gate": gate});
        let token = json!({"progressToken": "t"});
        stated(
            &json!(1),
            "tools/call",
            json!({"name": "progress", "arguments": arguments, "_meta": token}),
        )
    };
    let mut lines = ["a", "b"].map(|gate| stream(&scene, &call(gate)));
    for line in &mut lines {
        assert_eq!(event(line)["params"]["progressToken"], "t");
    }
    let [first, second] = &mut lines;
    scene.upstream.release("b");
    assert_eq!(event(second)["id"], 1);
    assert_eq!(second.try_chunk(), Some(None));
    scene.upstream.release("a");
    assert_eq!(event(first)["id"], 1);
    let seen = scene.upstream.posts("tools/call");
    let tokens: Vec<&Value> =
        seen.iter().map(|it| &it.json()["params"]["_meta"]["progressToken"]).collect();
    assert!(tokens.len() == 2 && tokens[0] != tokens[1], "{tokens:?}");
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn a_question_is_a_result_and_its_answer_a_retry() {
    let scene = scene(false, &[]);
    let form = json!({"message": "who?", "requestedSchema": {"type": "object", "properties": {}}});
    let arguments = json!({"method": "elicitation/create", "params": form});
    let asked = scene.sidecar.ask(stated_call(&json!(1), "ask", &arguments));
    let asked = result(&asked, &json!(1));
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let requests = asked["inputRequests"].as_object().unwrap();
    let (name, question) = requests.iter().next().unwrap();
    assert_eq!(question["method"], "elicitation/create");
    let said = json!({"action": "accept", "content": {}});
    let retry = json!({
        "name": "ask", "arguments": arguments, "requestState": asked["requestState"],
        "inputResponses": {name: said},
    });
    let answer = scene.sidecar.ask(stated(&json!(2), "tools/call", retry));
    let answer = result(&answer, &json!(2));
    assert_eq!(answer["structuredContent"]["result"], said, "{answer}");
    assert_eq!(scene.upstream.posts("tools/call").len(), 1, "the call was made once");
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn a_subscription_is_a_stream_of_its_own() {
    let scene = scene(false, &[]);
    let listen = |id: &str| {
        let wanted = json!({"notifications": {"toolsListChanged": true}});
        stream(&scene, &stated(&json!(id), "subscriptions/listen", wanted))
    };
    let mut lines = ["one", "two"].map(|id| (id, listen(id)));
    for (id, line) in &mut lines {
        let acknowledged = event(line);
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(acknowledged["params"]["_meta"][format!("{META}subscriptionId")], *id);
    }
    scene.upstream.wait_for_listener();
    scene.upstream.notify("notifications/tools/list_changed", &Value::Null);
    for (id, line) in &mut lines {
        let changed = event(line);
        assert_eq!(changed["method"], "notifications/tools/list_changed");
        assert_eq!(changed["params"]["_meta"][format!("{META}subscriptionId")], *id);
    }
    // One that is closed ends alone.
    let [(_, one), (_, mut two)] = lines;
    drop(one);
    result(&scene.sidecar.ask(stated_call(&json!(1), "echo", &json!({}))), &json!(1));
    scene.upstream.notify("notifications/tools/list_changed", &Value::Null);
    assert_eq!(event(&mut two)["method"], "notifications/tools/list_changed");
    scene.sidecar.process.signal(rustix::process::Signal::TERM);
    assert_eq!(two.try_chunk(), Some(None));
    ends(scene);
}

#[test]
fn who_leaves_has_cancelled() {
    let scene = scene(false, &[]);
    // One that was not answered yet, and one whose stream has begun.
    let mut waiting = scene.sidecar.connect();
    waiting.write(stated_call(&json!(1), "wait", &json!({"gate": "never"})));
    let seen = scene.upstream.wait_for_method("tools/call");
    drop(waiting);
    let cancelled = scene.upstream.wait_for_method("notifications/cancelled");
    assert_eq!(cancelled.json()["params"]["requestId"], seen.id());
    let arguments = json!({"steps": 1, "gate": "never"});
    let params = json!({"name": "progress", "arguments": arguments, "_meta": {"progressToken": 1}});
    let mut line = stream(&scene, &stated(&json!(1), "tools/call", params));
    event(&mut line);
    drop(line);
    scene
        .upstream
        .wait_for(|all| all.iter().filter(|it| it.is("notifications/cancelled")).count() == 2);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn headers_that_do_not_match_the_body_and_what_is_not_spoken_are_refused() {
    let scene = scene(false, &[]);
    let good = stated_call(&json!(1), "count", &json!({"n": 1}));
    for (found, instead, status, code) in [
        ("Mcp-Name: count", "Mcp-Name: other", 400, -32020),
        ("Mcp-Method: tools/call", "Mcp-Method: tools/list", 400, -32020),
        ("\r\nMcp-Name: count", "", 400, -32020),
        ("Version: 2026-07-28", "Version: 2026-07-29", 400, -32020),
        ("2026-07-28", "2027-01-01", 400, -32022),
        ("tools/call", "tools/cull", 404, -32601),
        ("Accept: application/json, text/event-stream", "Accept: application/json", 406, -32600),
    ] {
        let answer = scene.sidecar.ask(good.replace(found, instead));
        assert_eq!(answer.status, status, "{instead}: {answer:?}");
        assert_eq!(answer.json()["error"]["code"], code, "{instead}: {answer:?}");
    }
    let lines = "\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: x";
    let batch =
        scene.sidecar.ask(post(lines, &json!([{"jsonrpc": "2.0", "id": 1, "method": "x"}])));
    assert_eq!(batch.status, 400);
    let notification =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    assert_eq!(scene.sidecar.ask(post(lines, &notification)).status, 202);
    assert_eq!(scene.upstream.ran(1), 0);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn headers_that_a_tool_asks_for_are_held_against_its_arguments() {
    let scene = scene(false, &[]);
    let call = stated_call(&json!(1), "count", &json!({"n": 7}));
    // What nobody has listed here is not known here.
    assert_eq!(scene.sidecar.ask(&call).status, 200);
    let listed = Fault::made(|seen| {
        let parameter = json!({"type": "integer", "x-mcp-header": "Number"});
        let schema = json!({"type": "object", "properties": {"n": parameter}});
        let listed = json!({"tools": [{"name": "count", "inputSchema": schema}]});
        let listed = json!({"jsonrpc": "2.0", "id": seen.id(), "result": listed});
        Fault::Answer(Reply::json(200, &listed))
    });
    scene.upstream.script(Rule::on("tools/list"), listed);
    let list = stated(&json!(2), "tools/list", json!({}));
    result(&scene.sidecar.ask(list), &json!(2));
    let stating = |number: &str| {
        let header = format!("Mcp-Name: count\r\nMcp-Param-Number: {number}");
        scene.sidecar.ask(call.replace("Mcp-Name: count", &header))
    };
    let other = stated_call(&json!(1), "count", &json!({}))
        .replace("Mcp-Name: count", "Mcp-Name: count\r\nMcp-Param-Number: 7");
    let [missing, absent] = [scene.sidecar.ask(&call), scene.sidecar.ask(other)];
    for answer in [missing, absent, stating("8"), stating("=?base64?!?=")] {
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32020)));
    }
    assert_eq!((stating("7").status, stating("7.0").status), (200, 200));
    assert_eq!(scene.upstream.ran(7), 3);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn at_its_end_the_sidecar_ends_its_sessions() {
    let scene = scene(false, &[]);
    let mut waiting = scene.sidecar.connect();
    waiting.write(stated_call(&json!(1), "wait", &json!({"gate": "end"})));
    scene.upstream.wait_for_method("tools/call");
    scene.sidecar.process.signal(rustix::process::Signal::TERM);
    scene.sidecar.process.wait_for_stderr("leaving");
    scene.upstream.release("end");
    assert_eq!(result(&waiting.answer(), &json!(1))["structuredContent"]["gate"], "end");
    scene.upstream.wait_for_request(|seen| seen.method == "DELETE");
    ends(scene);
}

#[test]
fn what_is_spoken_for_is_logged_and_bounded_like_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access");
    let flags = ["--access-log", log.to_str().unwrap(), "--max-message", "4KiB"];
    let scene = scene(false, &flags);
    result(&scene.sidecar.ask(stated_call(&json!(1), "echo", &json!({}))), &json!(1));
    let mut left = scene.sidecar.connect();
    left.write(stated_call(&json!(2), "wait", &json!({"gate": "never"})));
    scene.upstream.wait_for(|all| all.iter().any(|it| it.tool() == Some("wait")));
    drop(left);
    scene.upstream.wait_for_method("notifications/cancelled");
    let long = stated_call(&json!(3), "echo", &json!({"text": "x".repeat(5000)}));
    assert_eq!(scene.sidecar.ask(long).status, 413);
    let foreign = stated_call(&json!(4), "count", &json!({"n": 1}));
    let foreign =
        foreign.replace("Host: localhost", "Host: localhost\r\nOrigin: https://evil.example");
    assert_eq!(scene.sidecar.ask(foreign).status, 403);
    assert_eq!(scene.upstream.ran(1), 0);
    assert_eq!(scene.sidecar.finish(), ["too_long", "origin"]);
    let said = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = said.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let of = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("status"), [json!(200), Value::Null, json!(413), json!(403)], "{said}");
    assert_eq!(of("outcome")[..2], [json!("answered"), json!("aborted")]);
    assert_eq!(of("name")[..2], [json!("echo"), json!("wait")]);
}
