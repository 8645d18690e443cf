//! Whatever bytes come, they are a message or they are not; a message passes as one line, and nothing
//! about it changes on the way.

use bytes::Bytes;
use countersign::mcp::message::{Malformed, Message};

pub(super) fn run(input: &[u8]) {
    let message = match Message::parse(Bytes::copy_from_slice(input)) {
        Ok(message) => message,
        Err(Malformed::NotJson(_)) => {
            let json = std::str::from_utf8(input)
                .ok()
                .and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
            // Numbers too large and strings that are no Unicode are JSON to the one and not the other.
            assert!(
                json.is_none() || input.contains(&b'\\') || json.is_some_and(|it| it.is_array())
            );
            return;
        }
        Err(Malformed::NotRpc { .. }) => return,
    };
    assert_eq!(message.bytes(), input.trim_ascii());
    let line = message.line();
    assert_eq!(line.len(), message.bytes().len());
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    let again = Message::parse(line).expect("a line of ours is a message");
    assert_eq!(again.envelopes(), message.envelopes());
    assert_eq!(message.parts().count(), message.envelopes().len());
    for part in message.parts() {
        Message::parse(part).expect("each part is a message");
    }
    if message.single().is_some() && message.request_ids().next().is_some() {
        let renamed = Message::parse(message.with_id("\"ours\"")).expect("it has another id");
        let id = renamed.request_ids().next().expect("it is a request still").token().to_owned();
        assert_eq!(id, "\"ours\"");
    }
}
