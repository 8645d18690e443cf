//! Clients with sessions before a server that has none.

use serde_json::{Value, json};

use super::{
    super::{call, get, named, post, sessions},
    ends, event, open, result, scene, stream, within,
};
use crate::support::{pki::Pki, sidecar::Line, upstream::Upstream};

#[test]
fn a_client_opens_a_session_and_calls() {
    let scene = scene(true, &[]);
    let session = open(&scene, &json!({}));
    assert!(session.len() == 48 && session.bytes().all(|it| it.is_ascii_hexdigit()), "{session}");
    let listed = scene.sidecar.ask(within(&session, 1, "tools/list", &json!({})));
    assert!(result(&listed, &json!(1))["tools"].as_array().is_some_and(|all| all.len() > 5));
    let params = json!({"name": "echo", "arguments": {"a": 1}});
    let echoed = scene.sidecar.ask(within(&session, 2, "tools/call", &params));
    assert_eq!(result(&echoed, &json!(2))["structuredContent"], json!({"a": 1}));
    assert!(scene.upstream.posts("initialize").is_empty());
    let seen = scene.upstream.posts("tools/call").pop().unwrap();
    assert_eq!(seen.client.as_deref(), Some("CN=client"));
    assert_eq!((seen.session(), seen.header("mcp-name")), (None, Some("echo")));
    let warned = scene.sidecar.finish();
    assert!(warned.len() == 1 && warned[0].contains("the tool \"bad\" is left out"), "{warned:?}");
}

#[test]
fn progress_and_a_question_come_on_the_stream_of_the_call() {
    let scene = scene(true, &[]);
    let session = open(&scene, &json!({"elicitation": {}}));
    let mut line = stream(&scene, &call(&session, "progress", &json!({"steps": 2})));
    for step in 1..=2 {
        let progress = event(&mut line);
        assert_eq!(progress["params"]["progressToken"], "t");
        assert_eq!(progress["params"]["progress"], step);
    }
    assert_eq!(event(&mut line)["id"], 1);
    assert_eq!(line.try_chunk(), Some(None));

    let form = json!({"message": "who?", "requestedSchema": {"type": "object", "properties": {}}});
    let requests = json!({"name": {"method": "elicitation/create", "params": form}});
    let mut line = stream(&scene, &call(&session, "ask", &json!({ "requests": requests })));
    let question = event(&mut line);
    assert_eq!(question["method"], "elicitation/create");
    let said = json!({"action": "accept", "content": {"name": "me"}});
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": said});
    assert_eq!(scene.sidecar.ask(post(&named(&session), &answer)).status, 202);
    let answered = event(&mut line);
    assert_eq!(answered["id"], 1);
    assert_eq!(answered["result"]["structuredContent"]["name"], said, "{answered}");
    assert_eq!(line.try_chunk(), Some(None));
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn who_listens_hears_of_changes() {
    let scene = scene(true, &[]);
    let session = open(&scene, &json!({}));
    let listening = |scene: &super::Scene| {
        stream(
            scene,
            &get(&format!("Host: localhost\r\nAccept: text/event-stream{}", named(&session))),
        )
    };
    let mut line = listening(&scene);
    let watched = within(&session, 1, "resources/subscribe", &json!({"uri": "file:///a"}));
    result(&scene.sidecar.ask(watched), &json!(1));
    let wanted = |uri: Value| {
        scene.upstream.wait_for_request(|seen| {
            let asked = &seen.json()["params"]["notifications"]["resourceSubscriptions"];
            seen.is("subscriptions/listen") && *asked == uri
        });
    };
    wanted(json!(["file:///a"]));
    while scene
        .upstream
        .modern()
        .publish("notifications/resources/updated", &json!({"uri": "file:///a"}))
        == 0
    {}
    let updated = event(&mut line);
    assert_eq!(updated["method"], "notifications/resources/updated");
    assert_eq!(updated["params"]["uri"], "file:///a");
    // Another stream takes the place of the first.
    let mut other = listening(&scene);
    assert_eq!(line.try_chunk(), Some(None));
    assert!(scene.upstream.modern().publish("notifications/tools/list_changed", &Value::Null) > 0);
    assert_eq!(event(&mut other)["method"], "notifications/tools/list_changed");
    drop(other);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn what_is_cancelled_ends_here_and_there_and_who_only_leaves_has_not_cancelled() {
    let scene = scene(true, &[]);
    let session = open(&scene, &json!({}));
    let mut line =
        stream(&scene, &call(&session, "progress", &json!({"steps": 1, "gate": "never"})));
    event(&mut line);
    let cancel =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    assert_eq!(scene.sidecar.ask(post(&named(&session), &cancel)).status, 202);
    assert_eq!(line.try_chunk(), Some(None));
    scene.upstream.wait_until_left(&scene.upstream.wait_for_method("tools/call"));

    // In a batch, which is how 2025-03-26 may say it, no less.
    let mut line =
        stream(&scene, &call(&session, "progress", &json!({"steps": 1, "gate": "never"})));
    event(&mut line);
    assert_eq!(scene.sidecar.ask(post(&named(&session), &json!([cancel]))).status, 202);
    assert_eq!(line.try_chunk(), Some(None));

    let mut line =
        stream(&scene, &call(&session, "progress", &json!({"steps": 1, "gate": "left"})));
    event(&mut line);
    drop(line);
    // It is in flight still: its id is not free.
    let again = scene.sidecar.ask(call(&session, "count", &json!({"n": 1})));
    assert!(again.json()["error"]["message"].as_str().unwrap().contains("in flight"), "{again:?}");
    scene.upstream.release("left");
    let params = json!({"name": "count", "arguments": {"n": 2}});
    result(&scene.sidecar.ask(within(&session, 2, "tools/call", &params)), &json!(2));
    assert_eq!(scene.upstream.ran(1), 0);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn a_session_belongs_to_whom_it_was_given_and_ends_by_delete() {
    let folder = super::super::attacks::open_folder();
    let socket = folder.path().join("it.sock");
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).modern().start();
    let own = [rustix::process::geteuid().as_raw()];
    let scene = sessions::scene_before(pki, upstream, &socket, &own, &["--translate"]);
    let (mut user, mut anyone) = (Line::unix(&socket), scene.sidecar.connect());
    let (first, second) = (scene.session_over(&mut user), scene.session_over(&mut anyone));
    sessions::belongs(&scene, &first, &mut user, &mut anyone);
    sessions::belongs(&scene, &second, &mut anyone, &mut user);
    // What was ended, or never was, is begun anew by its client.
    for session in [&*second, "foreseen"] {
        let answer = scene.sidecar.ask(call(session, "count", &json!({"n": 2})));
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    assert_eq!(scene.upstream.ran(2), 0);
    assert_eq!(scene.sidecar.finish(), ["session"; 8]);
}

#[test]
fn what_the_transport_does_not_allow_is_refused() {
    let scene = scene(true, &[]);
    let session = open(&scene, &json!({}));
    let with = |version: &str| {
        let lines = format!("\r\nMcp-Session-Id: {session}\r\nMcp-Protocol-Version: {version}");
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
        scene.sidecar.ask(post(&lines, &ping)).status
    };
    assert_eq!((with("2025-03-26"), with("1999-01-01")), (200, 400));
    let listening = |accept: &str| {
        scene
            .sidecar
            .ask(get(&format!("Host: localhost\r\nAccept: {accept}{}", named(&session))))
            .status
    };
    assert_eq!(listening("application/json"), 406);
    let broken = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1{}\r\n\r\n{{",
        named(&session)
    );
    let broken = scene.sidecar.ask(broken);
    assert_eq!((broken.status, &broken.json()["error"]["code"]), (400, &json!(-32700)));
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn an_upstream_that_says_no_is_heard_and_no_session_is_left() {
    use crate::support::script::{Fault, Rule};
    let scene = scene(true, &[]);
    let first = open(&scene, &json!({}));
    scene.upstream.down();
    let params = json!({"name": "count", "arguments": {"n": 1}});
    let answer = scene.sidecar.ask(within(&first, 1, "tools/call", &params));
    assert_eq!(answer.json()["error"]["data"]["stage"], "connect", "{answer:?}");
    scene.upstream.up();
    scene
        .upstream
        .script(Rule::call("count"), Fault::RunThenHangup(crate::support::script::Ending::Reset));
    let answer = scene.sidecar.ask(within(&first, 2, "tools/call", &params));
    assert_eq!(answer.json()["error"]["data"]["stage"], "send", "{answer:?}");
    assert_eq!(scene.upstream.ran(1), 1, "and it is not sent twice");
}

#[test]
fn at_its_end_the_sidecar_waits_for_calls_and_for_no_listener() {
    let scene = scene(true, &[]);
    let session = open(&scene, &json!({}));
    let listen = format!("Host: localhost\r\nAccept: text/event-stream{}", named(&session));
    let mut listening = stream(&scene, &get(&listen));
    let mut calling =
        stream(&scene, &call(&session, "progress", &json!({"steps": 1, "gate": "end"})));
    event(&mut calling);
    scene.sidecar.process.signal(rustix::process::Signal::TERM);
    assert_eq!(listening.try_chunk(), Some(None));
    scene.upstream.release("end");
    assert_eq!(event(&mut calling)["result"]["structuredContent"]["steps"], 1);
    ends(scene);
}

/// Neither who leaves nor who needs no answer can have more under way than there is room for.
#[test]
fn what_nobody_waits_for_takes_up_its_place_until_the_upstream_is_done_with_it() {
    use crate::support::script::{Fault, Rule};
    let scene = scene(true, &["--max-requests", "1"]);
    let session = open(&scene, &json!({}));
    let listed = || scene.sidecar.ask(within(&session, 2, "tools/call", &json!({"name": "echo"})));
    let mut left = scene.sidecar.connect();
    left.write(call(&session, "wait", &json!({"gate": "left"})));
    scene.upstream.wait_for(|all| all.iter().any(|it| it.tool() == Some("wait")));
    drop(left);
    assert_eq!(listed().status, 503);
    scene.upstream.release("left");
    assert_eq!(listed().status, 200);

    let told = json!({"jsonrpc": "2.0", "method": "notifications/of-some-extension"});
    scene.upstream.script(Rule::on("notifications/of-some-extension"), Fault::Stall);
    assert_eq!(scene.sidecar.ask(post(&named(&session), &told)).status, 202);
    scene.upstream.wait_for_method("notifications/of-some-extension");
    assert_eq!(listed().status, 503);
    scene.upstream.drop_connections();
    assert_eq!(listed().status, 200);
    assert_eq!(scene.sidecar.finish(), ["busy"; 2]);
}
