//! Whatever a server lists, what is left of it is a list, and arguments become headers that can be sent.
//! The first line is a call's arguments, the rest the list.

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
    for (name, value) in annotations.headers("run", Some(&arguments)) {
        assert!(name.as_str().starts_with("mcp-param-") && value.is_sensitive());
    }
}
