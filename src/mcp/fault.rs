//! The one place that turns a [`Failure`] into words for an MCP client: a JSON-RPC error.
//!
//! Codes lie in the range that JSON-RPC leaves to implementations, one a stage, so that a
//! program can tell them apart; `message` and `data.hint` are the two sentences for people.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    message::{Id, Malformed},
    refusal::METHOD_NOT_FOUND,
};
use crate::failure::{Failure, Stage};

/// JSON-RPC 2.0 section 5.1.
const PARSE_ERROR: i64 = -32_700;
const INVALID_REQUEST: i64 = -32_600;

#[derive(Serialize)]
struct Error<'a> {
    code: i64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Serialize)]
struct Data<'a> {
    stage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

/// The JSON-RPC error code of a stage.
fn code(stage: Stage) -> i64 {
    match stage {
        Stage::Downstream => INVALID_REQUEST,
        Stage::Configuration => -32_010,
        Stage::Credential => -32_011,
        Stage::Connect => -32_012,
        Stage::Tls => -32_013,
        Stage::Send => -32_014,
        Stage::Response => -32_015,
        Stage::Protocol => -32_016,
    }
}

/// The stage that the error object `error` is of, if it is one that [`answer`] makes; a server's own
/// error has none.
#[must_use]
pub fn stage(error: &[u8]) -> Option<Stage> {
    let said: Said<'_> = serde_json::from_slice(error).ok()?;
    STAGES.into_iter().find(|stage| said.is_ours() && code(*stage) == said.code)
}

/// Whether the error object `error` was made here, and not by a server.
#[must_use]
pub fn is_ours(error: &[u8]) -> bool {
    serde_json::from_slice::<Said<'_>>(error).is_ok_and(|said| said.is_ours())
}

#[derive(Deserialize)]
struct Said<'a> {
    code: i64,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

impl Said<'_> {
    fn is_ours(&self) -> bool {
        self.message.starts_with("countersign: ")
    }
}

const STAGES: [Stage; 8] = [
    Stage::Downstream,
    Stage::Configuration,
    Stage::Credential,
    Stage::Connect,
    Stage::Tls,
    Stage::Send,
    Stage::Response,
    Stage::Protocol,
];

/// The line that answers request `id` with `failure`.
#[must_use]
pub fn answer(id: &Id, failure: &Failure) -> Bytes {
    addressed(id.token(), failure)
}

/// The error of a request whose id nobody has read, as HTTP answers one.
#[must_use]
pub fn unaddressed(failure: &Failure) -> Bytes {
    addressed("null", failure)
}

fn addressed(token: &str, failure: &Failure) -> Bytes {
    // Hosts show the message and drop the data, so the next step stands in both.
    let message = match failure.next_step() {
        Some(hint) => format!("countersign: {}. hint: {hint}", failure.what()),
        None => format!("countersign: {}", failure.what()),
    };
    let data = Data { stage: failure.stage().name(), hint: failure.next_step() };
    line(token, &Error { code: code(failure.stage()), message: &message, data: Some(data) })
}

/// The lines that answer bytes that are no message: one a request in it that could be read,
/// else one with the id `null`.
#[must_use]
pub fn malformed(error: &Malformed) -> Vec<Bytes> {
    let message = format!("countersign: {error}");
    let reply = |code, token: &str| {
        let data = Data { stage: Stage::Downstream.name(), hint: None };
        line(token, &Error { code, message: &message, data: Some(data) })
    };
    match error {
        Malformed::NotJson(_) => vec![reply(PARSE_ERROR, "null")],
        Malformed::NotRpc { ids, .. } if ids.is_empty() => vec![reply(INVALID_REQUEST, "null")],
        Malformed::NotRpc { ids, .. } => {
            ids.iter().map(|id| reply(INVALID_REQUEST, id.token())).collect()
        }
    }
}

/// The line that answers bytes that could not be read as a line, such as one that is too long.
#[must_use]
pub fn unreadable(id: Option<&Id>, failure: &Failure) -> Bytes {
    match id {
        Some(id) => answer(id, failure),
        None => {
            let message = format!("countersign: {}", failure.what());
            let data = Data { stage: Stage::Downstream.name(), hint: failure.next_step() };
            line("null", &Error { code: PARSE_ERROR, message: &message, data: Some(data) })
        }
    }
}

/// The line that answers a probe for the stateless era where the upstream is older: an error that
/// clients of both eras take as the sign to begin with `initialize` (2026-07-28 stdio, "Backward
/// Compatibility").
#[must_use]
pub fn no_discovery(id: &Id, upstream: &str) -> Bytes {
    let message = format!(
        "countersign: {upstream} does not know server/discover. hint: it speaks a revision up to \
         2025-11-25, which begins with initialize; if this client can't, give countersign \
         --protocol modern"
    );
    line(id.token(), &Error { code: METHOD_NOT_FOUND, message: &message, data: None })
}

/// The line that answers request `id`, or nobody's, with an error that the protocol defines.
#[must_use]
pub fn of_protocol(id: Option<&Id>, code: i64, what: &str) -> Bytes {
    let message = format!("countersign: {what}");
    line(id.map_or("null", Id::token), &Error { code, message: &message, data: None })
}

/// The line that answers request `id` with the server's own error object, which came without an id.
#[must_use]
pub fn addressed_to(id: &Id, error: &[u8]) -> Bytes {
    let (token, error) = (id.token(), String::from_utf8_lossy(error));
    let line = format!(r#"{{"jsonrpc":"2.0","id":{token},"error":{error}}}"#);
    Bytes::from(line.replace(['\n', '\r'], " "))
}

fn line(token: &str, error: &Error<'_>) -> Bytes {
    let error = serde_json::to_string(error).unwrap_or_else(|_| "null".to_owned());
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{token},"error":{error}}}"#))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_failure_keeps_the_id_and_says_the_next_step_twice() {
        let failure = Failure::new(Stage::Tls, "the \"gateway\" refused us").hint("pass --cert");
        let id = Id::from_token("\"a\\n\"").unwrap();
        let text = answer(&id, &failure);
        assert!(text.starts_with(br#"{"jsonrpc":"2.0","id":"a\n","error":{"code":-32013,"#));
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            value["error"]["message"],
            "countersign: the \"gateway\" refused us. hint: pass --cert"
        );
        assert_eq!(value["error"]["data"]["stage"], "tls");
        assert_eq!(value["error"]["data"]["hint"], "pass --cert");
    }

    #[test]
    fn an_error_of_ours_is_known_by_its_stage() {
        let error = |line: &[u8]| {
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            serde_json::to_vec(&value["error"]).unwrap()
        };
        let id = Id::from_token("1").unwrap();
        for of in STAGES {
            assert_eq!(stage(&error(&answer(&id, &Failure::new(of, "x")))), Some(of));
        }
        assert_eq!(stage(br#"{"code":-32600,"message":"of the server"}"#), None);
        assert_eq!(stage(&error(&no_discovery(&id, "x"))), None);
        assert_eq!(stage(b"7"), None);
    }

    #[test]
    fn every_stage_has_a_code_of_its_own() {
        let mut codes: Vec<i64> = STAGES.into_iter().map(code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), STAGES.len());
    }
}
