//! Clients of the modern era before a legacy upstream: the server side of Streamable HTTP 2026-07-28.
//!
//! Each request says all of itself, so all that one identity asks goes to one engine, under numbers of
//! ours. Headers that repeat the body are held against it here, since nobody behind does.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{
    Answered, BOTH, Inbound, METHOD, Translation, VERSION, accepts,
    desk::{Desk, Post},
    interpreter::{Interpreter, Name, withdrawn},
    names::Names,
    reply::{self, Said},
};
use crate::{
    bridge::Era,
    mcp::{
        annotations::Repeated,
        edit, fault,
        message::{Envelope, Id, Message},
        metadata::{Metadata, PROTOCOL_VERSION},
        refusal::{self, HEADER_MISMATCH, METHOD_NOT_FOUND},
    },
    sidecar::respond::Refusal,
};

const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// JSON-RPC 2.0 section 5.1.
const INVALID_REQUEST: i64 = -32_600;
const INVALID_PARAMS: i64 = -32_602;

impl Translation {
    /// Answers a POST (2026-07-28 streamable-http, "Sending Messages").
    pub(super) async fn ask_modern(
        &self,
        asked: &Inbound<'_>,
        message: &Message,
    ) -> Result<Answered, Refusal> {
        if !accepts(asked.headers, &BOTH) {
            let what = "expected application/json and text/event-stream in Accept";
            return Ok(reply::refuse(406, None, INVALID_REQUEST, what).into());
        }
        let (id, method) = match message.single() {
            Some(Envelope::Request { id, method }) => (id, &**method),
            Some(Envelope::Notification { .. }) => {
                // What it cancels is not said by its number: whose request would that be? To leave the
                // stream is to cancel.
                let name = Name::Caller(asked.caller.clone());
                if withdrawn(message).is_empty()
                    && let Some(interpreter) = self.interpreters.find(&name, asked.caller)
                {
                    interpreter.take(message.clone(), Some(&asked.hold()));
                }
                return Ok(reply::accepted().into());
            }
            _ => {
                let what = "expected one request or one notification";
                return Ok(reply::refuse(400, None, INVALID_REQUEST, what).into());
            }
        };
        if let Err(mismatch) = validate(asked.headers, message, method) {
            return Ok(reply::refuse(400, Some(id), HEADER_MISMATCH, &mismatch).into());
        }
        let interpreter = self.interpreter(asked)?;
        if let Err(mismatch) = mirrored(asked.headers, &interpreter.desk, message, method) {
            return Ok(reply::refuse(400, Some(id), HEADER_MISMATCH, &mismatch).into());
        }
        let number = interpreter.desk.number();
        let own = Id::from_token(&number.to_string());
        let renamed = Names::replace(message, (id, method), number);
        let (Some(own), Some((names, renamed))) = (own, renamed) else {
            let what = "the members of the request can't be told apart";
            return Ok(reply::refuse(400, Some(id), INVALID_REQUEST, what).into());
        };
        let listens = names.listens();
        let tokens = Vec::from_iter(names.has_token().then(|| own.clone()));
        let post = Post { ids: vec![own], tokens, names: Some(names) };
        let Some(reply) = interpreter.ask(post, renamed, Some(&asked.hold())) else {
            // A number is never used twice.
            return Err(Refusal::Busy("too many requests are under way"));
        };
        let said = Said::by(reply).await;
        if let Said::Whole(text) = &said {
            self.heed(text);
        }
        Ok(Answered { response: said.response(status), listens })
    }

    fn interpreter(&self, asked: &Inbound<'_>) -> Result<Arc<Interpreter>, Refusal> {
        let name = Name::Caller(asked.caller.clone());
        if let Some(interpreter) = self.interpreters.find(&name, asked.caller) {
            return Ok(interpreter);
        }
        let way = (&self.settings, &self.service);
        self.interpreters.begin(name, way, (Era::Modern, asked.caller), asked.drain)
    }
}

/// The status of an answer ("Protocol Version Header", "Server Validation"; basic, "_meta").
fn status(answer: &[u8]) -> StatusCode {
    let Some(error) = edit::member(answer, &["error"]) else { return StatusCode::OK };
    match refusal::code(error.get().as_bytes()) {
        Some(METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(code) if refusal::is_modern(code) => StatusCode::BAD_REQUEST,
        // Ours are about what a request says of itself; a server's are about what it asks for.
        Some(INVALID_PARAMS) if fault::is_ours(error.get().as_bytes()) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// What headers repeat of `params`, or of what is in it.
const REPEATED: [&str; 4] = ["name", "uri", "arguments", "_meta"];

/// Holds the headers that repeat the body against it ("Server Validation").
fn validate(headers: &HeaderMap, message: &Message, method: &str) -> Result<(), String> {
    let metadata = Metadata::of(message, method);
    if says_twice(message.bytes(), &metadata) {
        return Err("the body says twice what headers repeat".to_owned());
    }
    let named = matches!(method, "tools/call" | "prompts/get" | "resources/read");
    let same = |name: &HeaderName, expected: Option<&str>| match (one(headers, name)?, expected) {
        (None, _) => Err(format!("the header {name} is missing")),
        (Some(stated), Some(expected)) if stated == expected => Ok(()),
        (Some(_), _) => Err(format!("the header {name} does not match the body")),
    };
    // What the body lacks is for who reads it to miss, in words of its own.
    let version =
        one(headers, &VERSION)?.ok_or_else(|| format!("the header {VERSION} is missing"))?;
    same(&VERSION, Some(metadata.version.as_deref().unwrap_or(&version)))?;
    same(&METHOD, Some(method))?;
    match (named, one(headers, &NAME)?) {
        (false, _) => Ok(()),
        (true, None) => Err(format!("the header {NAME} is missing")),
        (true, Some(stated)) => match (decoded(&stated), metadata.name.as_deref()) {
            (Some(stated), Some(expected)) if stated == expected => Ok(()),
            (Some(_), None) => Ok(()),
            _ => Err(format!("the header {NAME} does not match the body")),
        },
    }
}

/// Whether a member is doubled that headers repeat, or that leads to one: who reads the body behind may
/// take another one than is held against the headers here.
fn says_twice(body: &[u8], last: &Metadata<'_>) -> bool {
    let params = edit::picked(body, &[], ["params"]).and_then(|[params]| params);
    edit::doubled(body, ["params"])
        || params.is_some_and(|it| edit::doubled(it.as_bytes(), REPEATED))
        || last.meta.is_some_and(|it| edit::doubled(it.as_bytes(), [PROTOCOL_VERSION]))
}

/// The same for the headers that a tool's annotations ask for, where the list of tools has passed here
/// ("Server Behavior for Custom Headers").
fn mirrored(
    headers: &HeaderMap,
    desk: &Desk,
    message: &Message,
    method: &str,
) -> Result<(), String> {
    if method != "tools/call" {
        return Ok(());
    }
    let metadata = Metadata::of(message, method);
    let tool = metadata.name.as_deref().unwrap_or_default();
    let annotations = desk.annotations();
    for Repeated { header, value, is_number } in annotations.repeated(tool, metadata.arguments) {
        let same = |stated: &str, expected: &str| match is_number {
            true => is_same(stated, expected),
            false => stated == expected,
        };
        match (one(headers, &header)?, value) {
            (None, None) => {}
            (None, Some(_)) => return Err(format!("the header {header} is missing")),
            (Some(stated), Some(expected))
                if decoded(&stated).is_some_and(|stated| same(&stated, &expected)) => {}
            // One of an argument that is not there is as wrong: who goes by it is misled.
            (Some(_), _) => return Err(format!("the header {header} does not match the body")),
        }
    }
    Ok(())
}

/// Numbers are compared as numbers ("Server Validation").
fn is_same(stated: &str, expected: &str) -> bool {
    /// Beyond it a double does not name one integer.
    const SAFE: f64 = 9_007_199_254_740_991.0;
    let number = |text: &str| text.parse::<f64>().ok().filter(|it| it.abs() <= SAFE);
    stated == expected || number(stated).is_some_and(|it| number(expected) == Some(it))
}

/// The one value of a header; none where it is not there.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<Cow<'a, str>>, String> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::to_str);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(Cow::Borrowed(value.trim()))),
        (Some(Err(_)), None) => Err(format!("the header {name} has invalid characters")),
        (Some(_), Some(_)) => Err(format!("the header {name} is there twice")),
    }
}

/// "Value Encoding".
fn decoded(stated: &str) -> Option<Cow<'_, str>> {
    let inner = stated.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let Some(inner) = inner else { return Some(Cow::Borrowed(stated)) };
    String::from_utf8(BASE64_STANDARD.decode(inner).ok()?).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;

    fn check(method: &str, name: &str, headers: &[(&'static str, &str)]) -> Result<(), String> {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"name":"{name}","_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}}}"#
        );
        let message = Message::parse(Bytes::from(text)).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        validate(&map, &message, method)
    }

    #[test]
    fn headers_are_held_against_the_body() {
        let version = ("mcp-protocol-version", "2026-07-28");
        let call = ("mcp-method", "tools/call");
        let encoded = "=?base64?csO2ZA==?=";
        let good = check("tools/call", "echo", &[version, call, ("mcp-name", "echo")]);
        assert_eq!(good, Ok(()));
        assert_eq!(check("tools/call", "röd", &[version, call, ("mcp-name", encoded)]), Ok(()));
        assert_eq!(check("tools/list", "", &[version, ("mcp-method", "tools/list")]), Ok(()));
        for headers in [
            &[call, ("mcp-name", "echo")][..],
            &[("mcp-protocol-version", "2026-07-29"), call, ("mcp-name", "echo")],
            &[version, ("mcp-name", "echo")],
            &[version, ("mcp-method", "tools/list"), ("mcp-name", "echo")],
            &[version, ("mcp-method", "Tools/Call"), ("mcp-name", "echo")],
            &[version, call],
            &[version, call, ("mcp-name", "other")],
            &[version, call, ("mcp-name", "=?base64?!?=")],
            &[version, call, ("mcp-name", "echo"), ("mcp-name", "echo")],
            &[version, call, ("mcp-name", "r\u{f6}d")],
        ] {
            assert!(check("tools/call", "echo", headers).is_err(), "{headers:?}");
        }
    }

    #[test]
    fn a_body_that_says_twice_what_headers_repeat_is_refused() {
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        let headers = HeaderMap::from_iter([
            (VERSION, HeaderValue::from_static("2026-07-28")),
            (METHOD, HeaderValue::from_static("tools/call")),
            (NAME, HeaderValue::from_static("good")),
        ]);
        for (params, good) in [
            (format!(r#""params":{{"name":"good",{meta}}}"#), true),
            // Without a name, or a version: it is told by who reads it that it needs them.
            (format!(r#""params":{{{meta}}}"#), true),
            (r#""params":{"name":"good","_meta":{}}"#.to_owned(), true),
            (format!(r#""params":{{"name":"good","n\u0061me":"evil",{meta}}}"#), false),
            (format!(r#""params":{{"name":"good","arguments":{{}},"arguments":7,{meta}}}"#), false),
            (format!(r#""params":{{"name":"good",{meta},{meta}}}"#), false),
            (format!(r#""params":{{"name":"good"}},"params":{{"name":"evil",{meta}}}"#), false),
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call",{params}}}"#);
            let message = Message::parse(Bytes::from(text)).unwrap();
            assert_eq!(validate(&headers, &message, "tools/call").is_ok(), good, "{params}");
        }
    }

    #[test]
    fn errors_of_the_protocol_have_a_status_of_their_own() {
        for (answer, expected) in [
            (r#"{"result":{}}"#, 200),
            (r#"{"error":{"code":-32601,"message":"no"}}"#, 404),
            (r#"{"error":{"code":-32022,"message":"no"}}"#, 400),
            (r#"{"error":{"code":-32602,"message":"no"}}"#, 200),
            (r#"{"error":{"code":-32602,"message":"countersign: no"}}"#, 400),
            (r#"{"error":{"code":-32014,"message":"no"}}"#, 200),
        ] {
            assert_eq!(status(answer.as_bytes()), expected, "{answer}");
        }
    }

    #[test]
    fn numbers_are_the_same_in_any_spelling() {
        for (stated, expected, same) in [
            ("42.0", "42", true),
            ("42", "42", true),
            ("4e1", "40", true),
            ("43", "42", false),
            ("eu", "us", false),
            ("NaN", "nan", false),
            ("inf", "infinity", false),
            ("12345678901234567890", "12345678901234567891", false),
            ("12345678901234567890", "12345678901234567890", true),
        ] {
            assert_eq!(is_same(stated, expected), same, "{stated} {expected}");
        }
    }
}
