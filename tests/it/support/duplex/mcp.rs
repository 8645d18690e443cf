//! What the server behind a channel says to a message.

use serde_json::{Value, json};

/// The answers to a message, and what goes before them.
pub(super) fn answers(message: &Value) -> Vec<Value> {
    let id = &message["id"];
    let result = |result: Value| vec![json!({"jsonrpc": "2.0", "id": id, "result": result})];
    match message["method"].as_str() {
        Some("initialize") => result(json!({
            "protocolVersion": "2024-11-05",
            "capabilities": {"tools": {"listChanged": true}, "prompts": {}},
            "serverInfo": {"name": "channel", "version": "1"},
        })),
        Some("tools/call") => call(message),
        Some(_) if !id.is_null() => result(json!({})),
        Some(_) => Vec::new(),
        // The client's answer to our question; it is the result of the call that asked.
        None => {
            let Some(call) = id.as_str().and_then(|id| id.strip_prefix("ask-")) else {
                return Vec::new();
            };
            let call: Value = serde_json::from_str(call).unwrap();
            let result = json!({"structuredContent": message["result"], "content": []});
            vec![json!({"jsonrpc": "2.0", "id": call, "result": result})]
        }
    }
}

fn call(message: &Value) -> Vec<Value> {
    let (id, params) = (&message["id"], &message["params"]);
    let answer = |result: Value| json!({"jsonrpc": "2.0", "id": id, "result": result});
    match params["name"].as_str().unwrap_or_default() {
        "hold" => Vec::new(),
        "ask" => vec![json!({
            "jsonrpc": "2.0",
            "id": format!("ask-{id}"),
            "method": "elicitation/create",
            "params": {"message": "which?", "requestedSchema": {"type": "object"}},
        })],
        "progress" => {
            let progress = |step: u32| {
                json!({
                    "jsonrpc": "2.0",
                    "method": "notifications/progress",
                    "params": {"progressToken": params["_meta"]["progressToken"], "progress": step},
                })
            };
            let result = json!({"structuredContent": {"steps": 2}, "content": []});
            vec![progress(1), progress(2), answer(result)]
        }
        "big" => {
            let bytes = usize::try_from(params["arguments"]["bytes"].as_u64().unwrap()).unwrap();
            vec![answer(json!({"content": [{"type": "text", "text": "x".repeat(bytes)}]}))]
        }
        _ => vec![answer(json!({"structuredContent": params["arguments"], "content": []}))],
    }
}
