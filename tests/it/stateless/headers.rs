//! What the body says, said again in headers; and the errors that are about it.

use serde_json::{Value, json};

use super::{both, call, stamped};
use crate::support::{
    pki::Pki,
    script::{Fault, Reply, Rule},
};

#[test]
fn requests_pass_with_their_headers_and_results_byte_for_byte() {
    let pki = Pki::new();
    let (upstream, mut client) = both(&pki);
    let discovered = client.ask("server/discover", stamped(json!({})));
    assert_eq!(discovered["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(discovered["resultType"], "complete");
    let id = call(&mut client, "echo", json!({"text": "Hello, \u{4e16}\u{754c}"}));
    assert_eq!(client.result(&id)["structuredContent"]["text"], "Hello, \u{4e16}\u{754c}");
    // The server is strict: that it answered shows the headers. A name that no header can have:
    let id = client.request("resources/read", stamped(json!({"uri": "file:///\u{e4} "})));
    assert_eq!(client.error(&id)["code"], -32_602);
    let seen = upstream.seen();
    assert_eq!(seen[2].header("mcp-name"), Some("=?base64?ZmlsZTovLy/DpCA=?="));
    assert!(seen.iter().all(|seen| seen.session().is_none() && seen.method == "POST"));
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert_eq!(upstream.seen().len(), 3, "nothing is said at the end");
}

#[test]
fn annotated_arguments_are_mirrored_and_bad_tools_left_out() {
    let pki = Pki::new();
    let (upstream, mut client) = both(&pki);
    let listed = client.ask("tools/list", stamped(json!({})));
    let names: Vec<&Value> =
        listed["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert!(names.contains(&&json!("run")) && !names.contains(&&json!("bad")), "{names:?}");
    let id = call(&mut client, "run", json!({"region": " us"}));
    assert_eq!(client.result(&id)["structuredContent"]["region"], " us");
    assert_eq!(upstream.seen().len(), 2);
    assert!(client.process.stderr().contains("\"bad\""), "{}", client.process.transcript());
}

#[test]
fn a_call_with_headers_of_an_old_list_is_sent_once_more() {
    let pki = Pki::new();
    let (upstream, mut client) = both(&pki);
    client.ask("tools/list", stamped(json!({})));
    upstream.modern().annotate("Zone");
    let id = call(&mut client, "run", json!({"region": "us"}));
    assert_eq!(client.result(&id)["structuredContent"]["region"], "us");
    let calls = upstream.posts("tools/call");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].header("mcp-param-zone"), Some("us"));
    assert_eq!(upstream.posts("tools/list").len(), 2);
    assert_eq!(client.unclaimed(), [] as [Value; 0]);
}

#[test]
fn the_servers_own_errors_arrive() {
    let pki = Pki::new();
    let (upstream, mut client) = both(&pki);
    let id = client.request("no/such", stamped(json!({})));
    assert_eq!(client.error(&id), json!({"code": -32_601, "message": "Method not found"}));
    let mut params = stamped(json!({}));
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "1900-01-01".into();
    let id = client.request("tools/list", params);
    assert_eq!(client.error(&id)["data"]["supported"], json!(["2026-07-28"]));
    upstream.script(Rule::next(), Fault::Answer(Reply::new(401)));
    let id = client.request("tools/list", stamped(json!({})));
    assert!(client.error(&id)["message"].as_str().unwrap().contains("401"));
}

#[test]
fn arguments_are_in_no_log() {
    let pki = Pki::new();
    let (_upstream, mut client) = {
        let upstream = crate::support::upstream::Upstream::options(&pki).modern().start();
        let bridge =
            crate::support::jsonrpc::Client::bridge(&pki, &upstream).args(["--debug", "-vvv"]);
        (upstream, crate::support::jsonrpc::Client::start(&bridge))
    };
    client.ask("tools/list", stamped(json!({})));
    let id = call(&mut client, "run", json!({"region": "canary-of-the-argument"}));
    client.result(&id);
    let said = client.process.stderr();
    assert!(said.contains("mcp-param-region"), "{said}");
    assert!(!said.contains("canary-of"), "{said}");
}
