//! Whatever a body says, its headers can be sent, and a server decodes from them what the body has.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use countersign::mcp::{
    message::{Envelope, Message},
    metadata::{Metadata, encoded},
};

pub(super) fn run(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        assert_eq!(decoded(encoded(text).as_bytes()), text);
    }
    let Ok(message) = Message::parse(Bytes::copy_from_slice(input)) else { return };
    let Some(Envelope::Request { method, .. }) = message.single() else { return };
    let metadata = Metadata::of(&message, method);
    for (name, value) in metadata.standard(method) {
        match name.as_str() {
            "mcp-method" => assert_eq!(value.as_bytes(), method.as_bytes()),
            _ => assert_eq!(Some(decoded(value.as_bytes()).as_str()), metadata.name.as_deref()),
        }
    }
    if let Some(version) = metadata.version_header() {
        assert_eq!(Some(version.as_bytes()), metadata.version.as_deref().map(str::as_bytes));
    }
}

fn decoded(value: &[u8]) -> String {
    let value = std::str::from_utf8(value).expect("a value is ASCII");
    let inner = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let Some(inner) = inner else { return value.to_owned() };
    String::from_utf8(BASE64_STANDARD.decode(inner).expect("Base64")).expect("UTF-8")
}
