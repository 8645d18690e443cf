//! A client of one era before a server of the other: the real binary between them, and what each side
//! sees of it. Modern is 2026-07-28, legacy what begins with `initialize`.

mod asking;
mod breaking;
mod cancelling;
mod changing;
mod channels;
mod choosing;
mod legacy_client;
mod many;
mod modern_client;
mod promises;
mod subscribing;

use serde_json::{Value, json};

use crate::support::{jsonrpc::Client, pki::Pki, upstream::Upstream};

/// What a server may want to know, and what the client says to it.
struct Question {
    asked: Value,
    answer: Value,
}

impl Question {
    fn method(&self) -> &str {
        self.asked["method"].as_str().unwrap()
    }

    /// The arguments of a call that asks this.
    fn arguments(&self) -> Value {
        json!({"rounds": [[self.asked]]})
    }

    /// The same, of one that waits for these gates before it asks and before it ends.
    fn gated(&self, gates: &Value) -> Value {
        json!({"rounds": [[self.asked]], "gates": gates})
    }
}

/// All there is to ask: elicitation in both modes, sampling, roots.
fn questions() -> [Question; 4] {
    let schema = json!({"type": "object", "properties": {"it": {"type": "string"}}});
    let ask = |text: &str| json!([{"role": "user", "content": {"type": "text", "text": text}}]);
    [
        Question {
            asked: json!({"method": "elicitation/create", "params": {
                "mode": "form", "message": "Which \u{e4}?", "requestedSchema": schema,
            }}),
            answer: json!({"action": "accept", "content": {"it": "this \u{fc}"}}),
        },
        Question {
            asked: json!({"method": "elicitation/create", "params": {
                "mode": "url", "message": "Sign in", "url": "https://example.com/in?for=me",
            }}),
            answer: json!({"action": "accept"}),
        },
        Question {
            asked: json!({"method": "sampling/createMessage", "params": {
                "messages": ask("2 + 2?"), "maxTokens": 10, "temperature": 0.5,
            }}),
            answer: json!({
                "role": "assistant", "content": {"type": "text", "text": "4"}, "model": "m",
                "stopReason": "endTurn",
            }),
        },
        Question {
            asked: json!({"method": "roots/list"}),
            answer: json!({"roots": [{"uri": "file:///a", "name": "a"}]}),
        },
    ]
}

fn form() -> Question {
    let [form, ..] = questions();
    form
}

/// What the clients of these tests can be asked for.
fn capabilities() -> Value {
    json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}})
}

fn information() -> Value {
    json!({"name": "test", "version": "1"})
}

/// `_meta` of each request in their name, as a modern server has it.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": information(),
        "io.modelcontextprotocol/clientCapabilities": capabilities(),
    })
}

/// A modern server, and a legacy client of it that has not spoken.
fn before_modern(pki: &Pki) -> (Upstream, Client) {
    let upstream = Upstream::options(pki).modern().start();
    let client = Client::start(&Client::bridge(pki, &upstream));
    (upstream, client)
}

/// A modern server, and a legacy client in its session with it.
#[track_caller]
fn legacy_client(pki: &Pki) -> (Upstream, Client) {
    let (upstream, mut client) = before_modern(pki);
    initialized(&mut client);
    (upstream, client)
}

/// What `initialize` is answered.
#[track_caller]
fn initialized(client: &mut Client) -> Value {
    let result = client.ask("initialize", initialize());
    client.notify("notifications/initialized", Value::Null);
    result
}

/// The parameters of `initialize`.
fn initialize() -> Value {
    let mut capabilities = capabilities();
    capabilities["roots"]["listChanged"] = true.into();
    json!({
        "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": information(),
    })
}

/// A legacy server, and a modern client of it that has not spoken.
fn before_legacy(pki: &Pki) -> (Upstream, Client) {
    let upstream = Upstream::mutual(pki);
    let bridge = Client::bridge(pki, &upstream).args(["--protocol", "modern"]);
    (upstream, Client::start(&bridge))
}

/// A legacy server, and a modern client that has found out what it can do.
#[track_caller]
fn modern_client(pki: &Pki) -> (Upstream, Client) {
    let (upstream, mut client) = before_legacy(pki);
    client.ask("server/discover", stamped(json!({})));
    (upstream, client)
}

/// `params` as a modern client sends them.
fn stamped(mut params: Value) -> Value {
    for (name, value) in meta().as_object().unwrap() {
        params["_meta"][name] = value.clone();
    }
    params
}

/// A modern client calls a tool.
fn call(client: &mut Client, tool: &str, arguments: &Value) -> Value {
    client.request("tools/call", stamped(json!({"name": tool, "arguments": arguments})))
}

/// A modern client goes on with a call that was answered by `required`.
fn retry(
    client: &mut Client,
    tool: &str,
    arguments: &Value,
    required: &Value,
    said: Value,
) -> Value {
    let params = json!({
        "name": tool, "arguments": arguments, "inputResponses": said,
        "requestState": required["requestState"],
    });
    client.request("tools/call", stamped(params))
}

/// What the tool `inquire` says at the end.
fn told(answers: &Value) -> Value {
    let told = json!({"answers": answers});
    json!({"content": [{"type": "text", "text": told.to_string()}], "structuredContent": told})
}

/// The same, from a legacy server to a modern client.
fn completed(mut result: Value) -> Value {
    result["resultType"] = "complete".into();
    result["_meta"] = server();
    result
}

/// How a modern result names the legacy server.
fn server() -> Value {
    json!({"io.modelcontextprotocol/serverInfo": {"name": "upstream", "version": "1"}})
}

/// What the upstream was told of a question of its own.
#[track_caller]
fn answer_seen(upstream: &Upstream) -> Value {
    let is = |message: &Value| message.get("method").is_none();
    upstream.wait_for_request(|seen| seen.messages().iter().any(is)).json().clone()
}

/// The calls of this tool, as the upstream received them.
fn calls(upstream: &Upstream, tool: &str) -> Vec<Value> {
    let seen = upstream.seen().into_iter().filter(|seen| seen.tool() == Some(tool));
    seen.map(|seen| seen.json().clone()).collect()
}

/// Members of a result of more than a mebibyte, written as nobody would write them anew.
fn large_content() -> String {
    let piece = r#"\u00e4\/ \ud83d\ude00 é \u0041 \\ \" "#;
    let text = piece.repeat((1 << 20) / piece.len() + 1);
    let numbers = "1.0, 1e2 ,-0.00 , 12345678901234567890.10";
    format!(r#""content" : [ {{"text":"{text}", "type":"text"}} ], "x":[{numbers}],"x2":{{ }}"#)
}
