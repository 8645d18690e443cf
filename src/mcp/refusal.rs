//! What an upstream's refusal means: a lost session, an answer of the server's own, or a failure
//! to explain.
//!
//! Pure: status, headers and a bounded piece of the body come in. Words are quoted from the
//! upstream sparingly, and cleaned of every sensitive value the request carried, since some
//! gateways echo what they were sent.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::message::{Envelope, Message};
use crate::{
    failure::{Failure, Stage},
    redaction,
};

/// The headers of a request do not fit its body (2026-07-28 basic, "Error Codes").
pub const HEADER_MISMATCH: i64 = -32_020;
/// A request needs a capability that the client has not declared (the same table).
pub const MISSING_CAPABILITY: i64 = -32_021;
/// The server does not speak the revision of a request (the same table).
pub const UNSUPPORTED_VERSION: i64 = -32_022;
/// JSON-RPC 2.0 section 5.1.
pub const METHOD_NOT_FOUND: i64 = -32_601;
/// The same section.
pub const INVALID_PARAMS: i64 = -32_602;
/// A resource that does not exist, up to 2025-11-25 (2026-07-28 changelog, minor 6).
pub const RESOURCE_NOT_FOUND: i64 = -32_002;

/// How much of an upstream's words is quoted.
const QUOTE: usize = 200;

/// A response that is no success, with as much of its body as was worth reading.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The response's headers.
    pub headers: HeaderMap,
    /// The body, cut at a bound.
    pub body: Bytes,
    /// The sensitive values the request was sent with.
    pub carried: Arc<[HeaderValue]>,
    /// Our client certificate in words, if there was one.
    pub presented: Option<Arc<str>>,
}

/// The `error` member of a JSON-RPC response.
#[derive(Deserialize)]
struct RpcError {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

impl Refusal {
    /// Whether the refusal says that the session is gone, which also proves that the request was
    /// not processed.
    ///
    /// 404 is the specification's way (2025-11-25 transports, "Session Management" 3); servers
    /// really also use 400 and 401 with words about the session.
    #[must_use]
    pub fn session_lost(&self, session_sent: bool) -> bool {
        match self.status {
            StatusCode::NOT_FOUND => session_sent,
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => {
                self.words().is_some_and(|words| says_session_lost(&words))
            }
            _ => false,
        }
    }

    /// The body as a message, where it is a JSON-RPC response that has an id.
    #[must_use]
    pub fn message(&self) -> Option<Message> {
        let message = Message::parse(self.body.clone()).ok()?;
        let answers = |e: &Envelope| matches!(e, Envelope::Response { id: Some(_), .. });
        message.envelopes().iter().any(answers).then_some(message)
    }

    /// The body as a message, where it is one JSON-RPC response, with an id or without.
    #[must_use]
    pub fn response(&self) -> Option<Message> {
        let message = Message::parse(self.body.clone()).ok()?;
        matches!(message.single(), Some(Envelope::Response { .. })).then_some(message)
    }

    /// Whether a server gives the status to requests that it does not understand. The others are about
    /// who asks, how much and how often, or the server's own trouble.
    #[must_use]
    pub fn speaks_of_the_era(&self) -> bool {
        let status = self.status;
        let of_the_caller = matches!(status.as_u16(), 401 | 402 | 403 | 407 | 408 | 413 | 429);
        status.is_client_error() && !of_the_caller
    }

    /// The refusal in words: what was refused, by whom, and the next step.
    #[must_use]
    pub fn explain(&self, upstream: &str) -> Failure {
        let quote = self.quote().map(|said| format!(": \"{said}\"")).unwrap_or_default();
        let status = self.status;
        let name = status.canonical_reason().unwrap_or("unknown status");
        let code = status.as_u16();
        if let Some(failure) = self.certificate(upstream, &quote) {
            return failure;
        }
        let what = match status {
            StatusCode::UNAUTHORIZED => {
                let challenge = self.challenge().unwrap_or_default();
                format!("{upstream} refused the credentials (401 Unauthorized{challenge}){quote}")
            }
            StatusCode::FORBIDDEN => {
                let challenge = self.challenge().unwrap_or_default();
                format!("{upstream} forbids the request (403 Forbidden{challenge}){quote}")
            }
            _ => format!("{upstream} answered {code} {name}{quote}"),
        };
        let failure = Failure::new(Stage::Response, what);
        match self.next_step() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    fn next_step(&self) -> Option<String> {
        let text = match self.status.as_u16() {
            401 => {
                "check that the token's variable is set for this client and has not expired, that \
                 a token in --header 'Authorization: ...' has its 'Bearer ' prefix (--bearer adds \
                 it), and that it was issued for this server and tenant"
            }
            403 => {
                "the credentials were read but are not enough: check the token's scopes and \
                 permissions, the tenant in the URL and headers, and that the gateway admits this \
                 client certificate"
            }
            404 => "check the URL's path: MCP endpoints often end in /mcp",
            405 | 406 | 415 => {
                "this URL does not speak MCP Streamable HTTP: check its path, which often ends in \
                 /mcp"
            }
            407 => "the proxy wants credentials: use --proxy-user",
            413 => "the gateway limits the size of requests: ask its operator to raise the limit",
            429 | 503 => return Some(self.retry_after()),
            500..=599 => "the server or the gateway failed: try again, and look at its log",
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn retry_after(&self) -> String {
        let after = self.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let usable = |text: &&str| {
            text.len() < 40 && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        };
        match after.filter(usable) {
            Some(s) if s.bytes().all(|b| b.is_ascii_digit()) => format!("try again in {s} seconds"),
            Some(date) => format!("try again after {}", self.clean(date)),
            None => "try again later".to_owned(),
        }
    }

    /// nginx and its kin accept any handshake and refuse the certificate with a 400 page.
    fn certificate(&self, upstream: &str, quote: &str) -> Option<Failure> {
        if self.status != StatusCode::BAD_REQUEST && !matches!(self.status.as_u16(), 495 | 496) {
            return None;
        }
        let text = String::from_utf8_lossy(&self.body);
        if text.contains("No required SSL certificate") {
            let what = format!("{upstream} demands a client certificate and got none{quote}");
            return Some(Failure::new(Stage::Tls, what).hint(
                "pass your certificate with --cert FILE and its private key with --key FILE",
            ));
        }
        text.contains("SSL certificate error").then(|| {
            let ours = self.presented.as_ref().map(|ours| format!(" ({ours})")).unwrap_or_default();
            let what = format!("{upstream} refused our client certificate{ours}{quote}");
            Failure::new(Stage::Tls, what).hint(
                "check the file of --cert: it must be within its dates, and issued by a CA that \
                 the upstream trusts, with any intermediate certificates in the same file",
            )
        })
    }

    /// The parts of `WWW-Authenticate` that say why (RFC 6750 section 3).
    fn challenge(&self) -> Option<String> {
        let header = self.headers.get(header::WWW_AUTHENTICATE)?;
        let text = self.clean(&String::from_utf8_lossy(header.as_bytes()));
        Some(format!("; WWW-Authenticate: {text}"))
    }

    fn quote(&self) -> Option<String> {
        let said = self.clean(self.words()?.trim());
        (!said.is_empty()).then_some(said)
    }

    /// The sentence in the body, where it has one: an error's message, a page's title, a line.
    fn words(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.body).ok()?;
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(text) {
            return words_of(&value).map(str::to_owned);
        }
        let page = text.trim_start().starts_with('<');
        let words =
            if page { between(text, "<title>", "</title>")? } else { text.lines().next()? };
        // One long line is no sentence.
        (words.len() <= 4 * QUOTE).then(|| words.to_owned())
    }

    /// `text` without sensitive values and control characters, cut to size.
    pub(super) fn clean(&self, text: &str) -> String {
        let text = redaction::clean(text, &*self.carried);
        let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        printable.take(QUOTE).collect()
    }
}

/// The code of the JSON-RPC error object `error`.
#[must_use]
pub fn code(error: &[u8]) -> Option<i64> {
    serde_json::from_slice::<RpcError>(error).ok().map(|error| error.code)
}

/// Whether only a server of 2026-07-28 or later uses a code (basic, "Error Codes"): the range that
/// the specification keeps to itself.
#[must_use]
pub fn is_modern(code: i64) -> bool {
    (-32_099..=-32_020).contains(&code)
}

/// Whether a JSON-RPC error in a 200 response says that the session is gone.
///
/// `named`: the error names its request. The layer that knows sessions mostly can't, while a
/// handler's own error always does, and then it may be about a session of the handler's own.
#[must_use]
pub fn error_says_session_lost(error: &[u8], named: bool) -> bool {
    let Ok(error) = serde_json::from_slice::<RpcError>(error) else { return false };
    if named {
        let words = error.message.trim_end_matches('.');
        return matches!(error.code, -32_600 | -32_001) && words == "Session not found";
    }
    match error.code {
        -32_600 | -32_001 | -32_000 => says_session_lost(&error.message),
        _ => false,
    }
}

/// Whether words of a server say that it does not know the session.
fn says_session_lost(text: &str) -> bool {
    const SHAPES: [&str; 15] = [
        "session not found",
        "session id not found",
        "no valid session",
        "invalid session",
        "unknown session",
        "session expired",
        "session has expired",
        "session terminated",
        "session has been terminated",
        "session does not exist",
        "no such session",
        "no active session",
        "no transport found for session",
        "missing session",
        "server not initialized",
    ];
    let text = text.to_ascii_lowercase().replace(['-', '_'], " ");
    SHAPES.iter().any(|shape| text.contains(shape))
}

fn words_of(value: &serde_json::Value) -> Option<&str> {
    let error = value.get("error");
    error
        .and_then(|error| error.get("message"))
        .or_else(|| value.get("error_description"))
        .or_else(|| value.get("message"))
        .or_else(|| value.get("detail"))
        .or(error)
        .and_then(serde_json::Value::as_str)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let from = text.find(start)? + start.len();
    let to = text[from..].find(end)? + from;
    Some(&text[from..to])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            carried: Arc::new([]),
            presented: None,
        }
    }

    #[test]
    fn the_shapes_that_real_servers_use_for_a_lost_session() {
        let lost = [
            (404, ""),
            (
                404,
                r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}"#,
            ),
            (
                400,
                r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#,
            ),
            (
                400,
                r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}"#,
            ),
            (400, "Invalid session ID"),
            (400, "Bad Request: Missing session ID"),
            (400, "No transport found for sessionId"),
            (401, "Unauthorized: Session not found"),
            (400, r#"{"error":"session_expired"}"#),
        ];
        for (status, body) in lost {
            assert!(refusal(status, body).session_lost(true), "{status} {body}");
        }
        let not_lost = [
            (400, "Unsupported protocol version"),
            (400, r#"{"error":{"message":"no"},"detail":"session not found"}"#),
            (400, "browser session 7 not found"),
            (401, "token expired"),
            (403, "session not found"),
            (500, "session not found"),
            (200, "session not found"),
        ];
        for (status, body) in not_lost {
            assert!(!refusal(status, body).session_lost(true), "{status} {body}");
        }
        assert!(!refusal(404, "").session_lost(false), "without a session 404 is a wrong path");
    }

    #[test]
    fn a_200_with_a_session_error_is_told_from_other_errors() {
        for named in [true, false] {
            let says = |error: &[u8]| error_says_session_lost(error, named);
            assert!(says(br#"{"code":-32600,"message":"Session not found"}"#));
            assert!(says(br#"{"code":-32001,"message":"Session not found."}"#));
        }
        // A handler that ran throws such errors too, and names its request.
        for own in [
            &br#"{"code":-32600,"message":"MCP error -32600: Debug session not found"}"#[..],
            br#"{"code":-32001,"message":"browser session not found"}"#,
            br#"{"code":-32000,"message":"Session not found"}"#,
        ] {
            assert!(!error_says_session_lost(own, true));
        }
        let other = br#"{"code":-32602,"message":"Session not found"}"#;
        assert!(!error_says_session_lost(other, false));
        let other = br#"{"code":-32600,"message":"Invalid Request"}"#;
        assert!(!error_says_session_lost(other, false));
    }

    #[test]
    fn what_is_quoted_is_cleaned_of_what_was_carried() {
        let basic = format!("Basic {}", BASE64_STANDARD.encode("user:hunter22"));
        let mut refusal = refusal(
            401,
            r#"{"message":"bad token s3cr3t-token for Bearer s3cr3t-token and hunter22\u0007"}"#,
        );
        refusal.carried =
            Arc::new([HeaderValue::from_static("Bearer s3cr3t-token"), basic.parse().unwrap()]);
        refusal.headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer error=\"invalid_token\", token=\"s3cr3t-token\""),
        );
        let failure = refusal.explain("https://gw");
        assert!(!failure.what().contains("s3cr3t") && !failure.what().contains("hunter22"));
        assert!(failure.what().contains("invalid_token"), "{}", failure.what());
        assert!(failure.next_step().unwrap().contains("Bearer"));
    }

    #[test]
    fn a_certificate_refused_by_a_page_names_the_side_and_the_flag() {
        let page = "<html><head><title>400 No required SSL certificate was sent</title></head>";
        let failure = refusal(400, page).explain("https://gw");
        assert_eq!(failure.stage(), Stage::Tls);
        assert!(failure.what().contains("https://gw demands a client certificate"));
        assert!(failure.next_step().unwrap().contains("--cert"));
        let page = "<head><title>400 The SSL certificate error</title></head>";
        let failure = refusal(400, page).explain("https://gw");
        assert!(failure.what().contains("https://gw refused our client certificate"));
    }

    #[test]
    fn retry_after_is_told() {
        let mut refusal = refusal(429, "");
        refusal.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        assert_eq!(refusal.explain("x").next_step(), Some("try again in 7 seconds"));
    }

    #[test]
    fn html_and_unknown_bodies_are_not_quoted_whole() {
        assert!(refusal(500, "<html>secret body</html>").quote().is_none());
        assert!(refusal(500, &"x".repeat(10_000)).quote().is_none());
        assert_eq!(refusal(500, r#"{"error":"boom"}"#).quote().as_deref(), Some("boom"));
    }
}
