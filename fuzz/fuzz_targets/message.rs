//! Any bytes are a message or refused; a message keeps its bytes, and its line is one line.
#![no_main]

use bytes::Bytes;
use countersign::mcp::message::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::parse(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(message.bytes(), bytes.trim_ascii());
    let line = message.line();
    assert_eq!(line.len(), message.bytes().len());
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    assert!(Message::parse(line).is_ok());
    assert_eq!(message.parts().count(), message.envelopes().len());
});
