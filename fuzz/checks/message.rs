//! Whatever bytes come, they are a message or they are not; a message passes as one line, and nothing
//! about it changes on the way.

use bytes::Bytes;
use countersign::mcp::{
    edit::{Edit, picked},
    message::{Envelope, Malformed, Message},
};

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
    assert_eq!(again.envelopes().len(), message.envelopes().len());
    for (again, before) in again.envelopes().iter().zip(message.envelopes()) {
        same(again, before);
    }
    assert_eq!(message.parts().count(), message.envelopes().len());
    for part in message.parts() {
        Message::parse(part).expect("each part is a message");
    }
    if message.single().is_some() && message.request_ids().next().is_some() {
        let renamed = Message::parse(message.with_id("\"ours\"")).expect("it has another id");
        let id = renamed.request_ids().next().expect("it is a request still").token().to_owned();
        assert_eq!(id, "\"ours\"");
    }
    let (id, parameter) =
        (Edit::Set(&["id"], "7".into()), Edit::Set(&["params", "a"], "{}".into()));
    let edits = match message.single() {
        Some(Envelope::Request { .. }) => vec![id, parameter],
        _ => vec![parameter],
    };
    if let Some(edited) = message.edited(&edits) {
        let read = Message::parse(edited.bytes().clone()).expect("it is a message still");
        assert_eq!(read.envelopes(), edited.envelopes());
        let [params] = picked(message.bytes(), &[], ["params"]).unwrap_or_default();
        if let (Some(Envelope::Request { .. }), Some(params)) = (message.single(), params) {
            let start = params.as_ptr() as usize - message.bytes().as_ptr() as usize;
            let known = message.replaced("7", start..start + params.len(), "{}");
            let known = known.expect("what lies in a message can be replaced");
            let read = Message::parse(known.bytes().clone()).expect("it is a message still");
            assert_eq!(read.envelopes(), known.envelopes());
        }
    }
}

/// An error object is kept with its blanks, which ends of lines are made of.
fn same(again: &Envelope, before: &Envelope) {
    match (again, before) {
        (
            Envelope::Response { id, error: Some(error) },
            Envelope::Response { id: its, error: Some(whole) },
        ) => {
            let feed = |byte: &u8| matches!(byte, b'\n' | b'\r');
            let line = whole.iter().map(|byte| if feed(byte) { b' ' } else { *byte });
            assert_eq!((id, &error[..]), (its, &line.collect::<Vec<u8>>()[..]));
        }
        _ => assert_eq!(again, before),
    }
}
