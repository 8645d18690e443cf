//! Whatever a server lists, what is left of it is a list, and arguments become headers that can be sent,
//! from which a server decodes what was an argument. The first line is a call's arguments, the rest the
//! list.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use countersign::mcp::{annotations::Annotations, message::Message};
use serde_json::{Value, value::RawValue};

pub(super) fn run(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(message) = Message::parse(Bytes::copy_from_slice(&input[end..])) else { return };
    let mut annotations = Annotations::default();
    let learned = annotations.learn(&message);
    if let Some(without) = learned.without {
        let tools = |text: &[u8]| {
            let value: Value = serde_json::from_slice(text).ok()?;
            value["result"]["tools"].as_array().map(Vec::len)
        };
        Message::parse(without.clone()).expect("what is left is a message");
        if let (Some(before), Some(after)) = (tools(message.bytes()), tools(&without)) {
            assert!(after < before);
        }
    }
    let Ok(arguments) = serde_json::from_slice::<Box<RawValue>>(&input[..end]) else { return };
    for (name, value) in annotations.headers("run", Some(arguments.get())) {
        assert!(name.as_str().starts_with("mcp-param-") && value.is_sensitive());
        let said = decoded(value.as_bytes());
        if let Ok(arguments) = serde_json::from_str(arguments.get()) {
            assert!(has(&arguments, &said), "{said} is no argument");
        }
    }
}

fn decoded(value: &[u8]) -> String {
    let value = std::str::from_utf8(value).expect("a value is ASCII");
    let inner = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let Some(inner) = inner else { return value.to_owned() };
    String::from_utf8(BASE64_STANDARD.decode(inner).expect("Base64")).expect("UTF-8")
}

/// Whether `text` is what a string, number or boolean somewhere in `value` says.
fn has(value: &Value, text: &str) -> bool {
    match value {
        Value::Bool(is) => text == is.to_string(),
        // Both read by the same parser, which may be off in the last digit.
        Value::Number(is) => serde_json::from_str(text).ok() == is.as_f64(),
        Value::String(is) => text == is,
        Value::Null | Value::Array(_) => false,
        Value::Object(members) => members.values().any(|member| has(member, text)),
    }
}
