//! What a request of revision 2026-07-28 says in its body and repeats in headers.
//!
//! Read from the body alone, and never written into it (streamable-http, "Request Metadata"). A
//! member of the wrong type is as good as none: the server has the body, and the last word.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::{edit::picked, message::Message};

/// The member of `_meta` that makes a request a modern one (versioning, "Terminology").
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Who asks (basic, "_meta").
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// What the client can do.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// From which level on log messages are wanted.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The levels, from the most talkative to the least (server/utilities/logging, "Log Levels").
pub const LOG_LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
/// Who answers, in the `_meta` of a result.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// Which subscription a notification belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// What a value that is no plain header text stands between ("Value Encoding").
const SENTINEL: (&str, &str) = ("=?base64?", "?=");

/// What is read of a request.
#[derive(Debug, Default)]
pub struct Metadata<'a> {
    /// The revision that it speaks.
    pub version: Option<Cow<'a, str>>,
    /// `params.name`, or `params.uri`.
    pub name: Option<Cow<'a, str>>,
    /// `params.arguments`, as raw JSON.
    pub arguments: Option<&'a str>,
    /// `params._meta`, the same.
    pub meta: Option<&'a str>,
}

impl<'a> Metadata<'a> {
    /// What the request `message` with this `method` says of itself.
    #[must_use]
    pub fn of(message: &'a Message, method: &str) -> Self {
        let members = ["name", "uri", "arguments", "_meta"];
        let params = picked(message.bytes(), &["params"], members);
        let [name, uri, arguments, meta] = params.unwrap_or_default();
        let version = meta.and_then(|meta| picked(meta.as_bytes(), &[], [PROTOCOL_VERSION]));
        let [version] = version.unwrap_or_default();
        let name = match method {
            "tools/call" | "prompts/get" => name,
            "resources/read" => uri,
            _ => None,
        };
        let [version, name] = [version, name].map(|raw| raw.and_then(text));
        Self { version, name, arguments, meta }
    }

    /// `MCP-Protocol-Version`; none where the body has no version, or none that a header can carry.
    #[must_use]
    pub fn version_header(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.version.as_deref()?).ok()
    }

    /// `Mcp-Method` and `Mcp-Name` ("Standard Request Headers").
    pub fn standard(&self, method: &str) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let method = HeaderValue::try_from(method).ok().map(|method| (METHOD, method));
        let name = self.name.as_deref().map(|name| (NAME, encoded(name)));
        method.into_iter().chain(name)
    }
}

/// `text` as the value of a header: as it is where that is safe, else in Base64 ("Value Encoding").
///
/// It comes from arguments and names, which logs do not show, so it is marked as sensitive.
#[must_use]
pub fn encoded(text: &str) -> HeaderValue {
    let plain = text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let padded = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    let marked = text.starts_with(SENTINEL.0) && text.ends_with(SENTINEL.1);
    let value = if plain && !padded && !marked {
        HeaderValue::try_from(text)
    } else {
        let (before, after) = SENTINEL;
        HeaderValue::try_from(format!("{before}{}{after}", BASE64_STANDARD.encode(text)))
    };
    // Both are visible ASCII with blanks by now.
    let mut value = value.unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// A JSON string, unescaped.
#[must_use]
pub fn text(raw: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(raw).ok().map(|Text(text)| text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn headers(method: &str, params: &str) -> Vec<String> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let message = Message::parse(Bytes::from(text)).unwrap();
        let metadata = Metadata::of(&message, method);
        let version = metadata.version_header().into_iter().map(|v| ("version".to_owned(), v));
        let standard = metadata.standard(method).map(|(name, value)| (name.to_string(), value));
        let said =
            |(name, value): (String, HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        version.chain(standard).map(said).collect()
    }

    #[test]
    fn standard_request_headers() {
        let meta = r#""_meta":{"io.modelcontextprotocol\/protocolVersion":"2026-07-28","x":{}}"#;
        for (method, params, expected) in [
            (
                "tools/list",
                format!("{{{meta}}}"),
                vec!["version: 2026-07-28", "mcp-method: tools/list"],
            ),
            (
                "tools/call",
                format!(r#"{{"name":"get\u005fweather","arguments":{{"name":"no"}},{meta}}}"#),
                vec!["version: 2026-07-28", "mcp-method: tools/call", "mcp-name: get_weather"],
            ),
            (
                "resources/read",
                format!(r#"{{"name":"no","uri":"file:///a b",{meta}}}"#),
                vec!["version: 2026-07-28", "mcp-method: resources/read", "mcp-name: file:///a b"],
            ),
            (
                "prompts/get",
                r#"{"name":"hi"}"#.to_owned(),
                vec!["mcp-method: prompts/get", "mcp-name: hi"],
            ),
            // The source of the name is that of three methods alone.
            (
                "completion/complete",
                r#"{"name":"hi"}"#.to_owned(),
                vec!["mcp-method: completion/complete"],
            ),
            ("tools/call", r#"{"name":7,"_meta":[]}"#.to_owned(), vec!["mcp-method: tools/call"]),
            ("tools/call", "[1]".to_owned(), vec!["mcp-method: tools/call"]),
        ] {
            assert_eq!(headers(method, &params), expected, "{method} {params}");
        }
    }

    /// The examples of "Value Encoding".
    #[test]
    fn values_are_encoded_as_the_specification_has_it() {
        for (value, expected) in [
            ("us-west1", "us-west1"),
            ("Hello, \u{4e16}\u{754c}", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("in side\tit", "in side\tit"),
            ("=?base64?open", "=?base64?open"),
            ("", ""),
        ] {
            assert_eq!(encoded(value).as_bytes(), expected.as_bytes(), "{value:?}");
            assert!(encoded(value).is_sensitive());
        }
    }

    proptest! {
        /// What a server decodes is what the body has, whatever that is.
        #[test]
        fn every_text_survives_its_encoding(value in any::<String>()) {
            let header = encoded(&value);
            let sent = std::str::from_utf8(header.as_bytes()).unwrap();
            let (before, after) = SENTINEL;
            let inner = sent.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            let decoded = match inner {
                Some(inner) => String::from_utf8(BASE64_STANDARD.decode(inner).unwrap()).unwrap(),
                None => sent.to_owned(),
            };
            prop_assert_eq!(decoded, value);
        }
    }
}
