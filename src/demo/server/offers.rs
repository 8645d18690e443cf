//! What the demo's server offers: its tools, its resource, its prompt, and their answers.
//!
//! Methods and parameters come in, results go out; nothing here knows HTTP.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};

use super::{Caller, Outcome, line};

const METHOD_NOT_FOUND: i64 = -32_601;
const INVALID_PARAMS: i64 = -32_602;
/// 2025-11-25, "Resources", "Error Handling".
const RESOURCE_NOT_FOUND: i64 = -32_002;

const RULES: &str = "demo://gateway/rules";

/// Between two numbers of a count-down: enough to be seen to stream.
const TICK: Duration = Duration::from_millis(40);
const LONGEST: u64 = 10;

/// The answer to a request.
pub(super) enum Reply {
    /// At once.
    Now(Outcome),
    /// Over time, with progress on the way.
    CountDown(CountDown),
}

/// What request `method` is answered.
pub(super) fn reply(method: &str, params: &Value, caller: &Caller<'_>) -> Reply {
    let outcome = match method {
        "ping" => Outcome::Result(json!({})),
        "tools/list" => Outcome::Result(tools()),
        "tools/call" => return call(params, caller),
        "resources/list" => Outcome::Result(json!({ "resources": [{
            "uri": RULES, "name": "rules", "mimeType": "text/plain",
            "description": "Whom the gateway lets in",
        }] })),
        "resources/templates/list" => Outcome::Result(json!({ "resourceTemplates": [] })),
        "resources/read" => read(params),
        "prompts/list" => Outcome::Result(json!({ "prompts": [{
            "name": "introduce", "description": "Introduce somebody to the gateway",
            "arguments": [{ "name": "name", "required": true }],
        }] })),
        "prompts/get" => prompt(params),
        _ => error(METHOD_NOT_FOUND, "there is no such method"),
    };
    Reply::Now(outcome)
}

fn tools() -> Value {
    json!({ "tools": [
        {
            "name": "greet",
            "description": "Greets somebody",
            "inputSchema": {
                "type": "object",
                "properties": { "name": { "type": "string" } },
                "required": ["name"],
            },
        },
        {
            "name": "count_down",
            "description": "Counts down to lift-off, with progress",
            "inputSchema": {
                "type": "object",
                "properties": { "from": { "type": "integer", "minimum": 1, "maximum": LONGEST } },
            },
        },
        {
            "name": "whoami",
            "description": "Tells whom the gateway takes the caller for",
            "inputSchema": { "type": "object" },
        },
    ] })
}

fn call(params: &Value, caller: &Caller<'_>) -> Reply {
    let arguments = &params["arguments"];
    let outcome = match params["name"].as_str() {
        Some("greet") => match arguments["name"].as_str() {
            Some(name) => said(&format!("Hello, {name}!")),
            None => error(INVALID_PARAMS, "greet needs a name"),
        },
        Some("whoami") => {
            said(&format!("You are {}, of the tenant {}", caller.subject, caller.tenant))
        }
        Some("count_down") => {
            let from = arguments["from"].as_u64().unwrap_or(3).clamp(1, LONGEST);
            let token = params["_meta"].get("progressToken").cloned();
            return Reply::CountDown(CountDown { from, token });
        }
        _ => error(INVALID_PARAMS, "there is no such tool"),
    };
    Reply::Now(outcome)
}

/// A count-down that is to be.
pub(super) struct CountDown {
    from: u64,
    /// What the caller wants its progress under, if at all.
    token: Option<Value>,
}

impl CountDown {
    /// A progress notification a number, then the answer to request `id`.
    pub(super) fn messages(self, id: Value) -> impl Stream<Item = String> + Send + 'static {
        let Self { from, token } = self;
        let steps = stream::iter(0..from).then(|done| async move {
            tokio::time::sleep(TICK).await;
            done
        });
        let progress = steps.map(move |done| {
            let token = token.as_ref()?;
            let message = (from - done).to_string();
            let params = json!({
                "progressToken": token, "progress": done + 1, "total": from, "message": message,
            });
            Some(format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#
            ))
        });
        let answer = line(&id, said("Lift-off!"));
        progress.filter_map(std::future::ready).chain(stream::iter([answer]))
    }
}

fn read(params: &Value) -> Outcome {
    if params["uri"] != RULES {
        return error(RESOURCE_NOT_FOUND, "there is no such resource");
    }
    let text = "No client certificate of our CA, no handshake. No bearer token, no answer.";
    Outcome::Result(json!({
        "contents": [{ "uri": RULES, "mimeType": "text/plain", "text": text }],
    }))
}

fn prompt(params: &Value) -> Outcome {
    let name = params["arguments"]["name"].as_str();
    let (Some("introduce"), Some(name)) = (params["name"].as_str(), name) else {
        return error(INVALID_PARAMS, "expected the prompt introduce with a name");
    };
    let text = format!("Greet {name}, then tell them who the gateway takes you for.");
    Outcome::Result(json!({
        "messages": [{ "role": "user", "content": { "type": "text", "text": text } }],
    }))
}

/// A tool's result.
fn said(text: &str) -> Outcome {
    Outcome::Result(json!({ "content": [{ "type": "text", "text": text }] }))
}

fn error(code: i64, message: &str) -> Outcome {
    Outcome::Error { code, message: message.to_owned() }
}
