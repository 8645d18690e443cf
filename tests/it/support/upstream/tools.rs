//! What the server can do: its methods, and the tools that make behaviour visible.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Shared, inquire, mcp::Session, stream::Log};

pub const TOOLS: [&str; 8] =
    ["echo", "count", "wait", "progress", "big", "ask", "inquire", "notify"];

/// Whether the answer to a request is an event stream, if nothing else was said.
pub fn streams(request: &Value) -> bool {
    let params = &request["params"];
    match params["name"].as_str() {
        Some("progress" | "ask" | "inquire") => true,
        Some("big") => params["arguments"]["sse"] == true,
        _ => false,
    }
}

/// Runs a request; what it says before its result goes to `log`.
pub async fn run(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    log: &Arc<Log>,
    request: &Value,
) -> Result<Value, Value> {
    let params = &request["params"];
    match request["method"].as_str().unwrap_or_default() {
        "initialize" => Ok(json!({
            "protocolVersion": session.version(),
            "capabilities": {
                "tools": {"listChanged": true},
                "prompts": {"listChanged": true},
                "resources": {"listChanged": true, "subscribe": true},
                "logging": {},
            },
            "serverInfo": {"name": "upstream", "version": "1"},
        })),
        "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
            Ok(json!({}))
        }
        "tools/list" => Ok(json!({"tools": TOOLS.map(|name| {
            json!({"name": name, "description": name, "inputSchema": {"type": "object"}})
        })})),
        "prompts/list" => Ok(json!({"prompts": []})),
        "resources/list" => Ok(json!({"resources": []})),
        "tools/call" => call(shared, Some(session), log, params).await,
        method => Err(json!({"code": -32601, "message": format!("no method {method}")})),
    }
}

/// Runs a tool; only in a session there is someone to notify.
pub async fn call(
    shared: &Arc<Shared>,
    session: Option<&Arc<Session>>,
    log: &Arc<Log>,
    params: &Value,
) -> Result<Value, Value> {
    let arguments = &params["arguments"];
    match params["name"].as_str().unwrap_or_default() {
        "echo" => Ok(result(arguments)),
        "count" => {
            let n = arguments["n"].clone();
            let times = shared.recorder.note(|record| {
                record.ran.push(n.clone());
                record.ran.iter().filter(|ran| **ran == n).count()
            });
            Ok(result(&json!({"n": n, "times": times})))
        }
        "wait" => {
            gate(shared, arguments["gate"].as_str().unwrap_or_default()).await;
            Ok(result(&json!({"gate": arguments["gate"]})))
        }
        "progress" => {
            let steps = arguments["steps"].as_u64().unwrap_or(3);
            let token = &params["_meta"]["progressToken"];
            for step in (1..=steps).filter(|_| !token.is_null()) {
                log.push(json!({
                    "jsonrpc": "2.0",
                    "method": "notifications/progress",
                    "params": {"progressToken": token, "progress": step, "total": steps},
                }));
            }
            if let Some(name) = arguments["gate"].as_str() {
                gate(shared, name).await;
            }
            Ok(result(&json!({"steps": steps})))
        }
        "big" => {
            let bytes = usize::try_from(arguments["bytes"].as_u64().unwrap_or(0)).unwrap();
            Ok(json!({"content": [{"type": "text", "text": "x".repeat(bytes)}]}))
        }
        "ask" => {
            let (sender, response) = oneshot::channel();
            let waiter = Box::new(move |response| drop(sender.send(response)));
            let method = arguments["method"].as_str().unwrap_or("ping");
            shared.mcp.ask(log, method, &arguments["params"], waiter);
            Ok(result(&response.await.unwrap_or(Value::Null)))
        }
        "inquire" if session.is_some() => Ok(inquire::on_the_stream(shared, log, arguments).await),
        "inquire" => Ok(inquire::in_the_result(shared, params).await),
        "notify" => {
            let (method, params) = (&arguments["method"], &arguments["params"]);
            let method = method.as_str().unwrap_or_default();
            let heard = match session {
                Some(session) => session.say(method, params),
                None => shared.modern.publish(method, params) > 0,
            };
            Ok(result(&json!({"heard": heard})))
        }
        name => Err(json!({"code": -32602, "message": format!("no tool {name}")})),
    }
}

/// A tool's result, as text and as structure.
pub fn result(structured: &Value) -> Value {
    let text = structured.to_string();
    json!({"content": [{"type": "text", "text": text}], "structuredContent": structured})
}

/// Waits until the test opens this gate.
pub async fn gate(shared: &Shared, name: &str) {
    let _ = shared.mcp.gates.subscribe().wait_for(|open| open.contains(name)).await;
}

impl Session {
    /// Sends a notification on the GET stream; false, and lost, if no one listens.
    pub fn say(&self, method: &str, params: &Value) -> bool {
        let heard = self.listen.has_reader();
        if heard {
            let mut message = json!({"jsonrpc": "2.0", "method": method});
            if !params.is_null() {
                message["params"] = params.clone();
            }
            self.listen.push(message);
        }
        heard
    }
}
