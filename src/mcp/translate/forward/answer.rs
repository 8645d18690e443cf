//! What a modern server's answers are to a legacy client: results without the fields of their era,
//! errors with a code or with words that the client knows.
//!
//! Pure edits of lines; what they do not name passes byte for byte.

use std::{borrow::Cow, collections::BTreeSet};

use bytes::Bytes;
use serde_json::{json, value::RawValue};

use super::{profile::MODERN, tools};
use crate::mcp::{
    edit::{self, Edit},
    message::Id,
    metadata::{SERVER_INFO, SUBSCRIPTION_ID},
    refusal::{
        self, HEADER_MISMATCH, INVALID_PARAMS, MISSING_CAPABILITY, RESOURCE_NOT_FOUND,
        UNSUPPORTED_VERSION,
    },
};

/// What a result says of itself (basic, "ResultType").
#[derive(Debug, Default)]
pub(super) struct Reading<'a> {
    /// `resultType`; complete where there is none.
    pub(super) kind: Option<String>,
    /// Raw JSON, as is the next.
    meta: Option<&'a str>,
    /// `structuredContent`, `null` included.
    structured: Option<&'a str>,
}

/// Reads the result in `line`, which may be large and is looked through once.
pub(super) fn result(line: &[u8]) -> Reading<'_> {
    let names = ["resultType", "_meta", "structuredContent"];
    let [kind, meta, structured] = edit::picked(line, &["result"], names).unwrap_or_default();
    let kind = kind.and_then(|raw| serde_json::from_str(raw).ok());
    Reading { kind, meta, structured }
}

/// The edits that take a result out of its era.
pub(super) fn removals(meta: Option<&str>) -> Vec<Edit<'static>> {
    // One for structured content and one for the id may follow.
    let mut edits = Vec::with_capacity(6);
    edits.push(Edit::Remove(&["result", "resultType"]));
    edits.push(Edit::Remove(&["result", "ttlMs"]));
    edits.push(Edit::Remove(&["result", "cacheScope"]));
    edits.extend(match only(meta, SERVER_INFO) {
        Some(true) => Some(Edit::Remove(&["result", "_meta"])),
        Some(false) => Some(Edit::Remove(&["result", "_meta", SERVER_INFO])),
        None => None,
    });
    edits
}

/// A complete result for `method` as the answer to request `id`, whose id towards the server was `sent`.
pub(super) fn complete(
    line: &Bytes,
    read: &Reading<'_>,
    method: &str,
    sent: &Id,
    id: &Id,
) -> Bytes {
    let mut edits = removals(read.meta);
    edits.extend(match method {
        "tools/list" => tools::listed(line),
        "tools/call" => tools::returned(read.structured),
        _ => None,
    });
    edited(line, edits, sent, id)
}

/// `line` with `edits` as the answer to request `id`; with its id alone changed, where they do not fit.
pub(super) fn edited<'a>(line: &Bytes, mut edits: Vec<Edit<'a>>, sent: &Id, id: &'a Id) -> Bytes {
    let address = (sent.token() != id.token()).then(|| Edit::Set(&["id"], id.token().into()));
    edits.extend(address.clone());
    if edits.is_empty() {
        return line.clone();
    }
    let addressed = || address.and_then(|address| edit::edited(line, &[address]));
    edit::edited(line, &edits).or_else(addressed).unwrap_or_else(|| line.clone())
}

/// The error `error` in `line` as the answer to request `id` for `method`.
pub(super) fn error(line: &Bytes, error: &[u8], method: &str, sent: &Id, id: &Id) -> Bytes {
    let mut edits = Vec::new();
    match refusal::code(error) {
        // Nothing else in the parameters of a request that we have stamped can be wrong but its URI.
        Some(INVALID_PARAMS) if method == "resources/read" => {
            edits.push(Edit::Set(&["error", "code"], RESOURCE_NOT_FOUND.to_string().into()));
        }
        Some(code) => edits.extend(
            explained(code, error).map(|words| Edit::Set(&["error", "message"], words.into())),
        ),
        None => {}
    }
    edited(line, edits, sent, id)
}

/// The codes that only this era has keep their number, which no legacy one uses, and are said in
/// words, since no legacy client can act on them (basic, "Error Codes"). Raw JSON.
fn explained(code: i64, error: &[u8]) -> Option<String> {
    let because = match code {
        HEADER_MISMATCH => {
            "the headers of the request did not fit its body when they arrived: a gateway on the \
             way may change them"
                .to_owned()
        }
        MISSING_CAPABILITY => format!(
            "the server needs a capability that this client does not declare{}",
            listed(": ", &names(edit::member(error, &["data", "requiredCapabilities"])))
        ),
        UNSUPPORTED_VERSION => format!(
            "countersign speaks {} to it{}",
            MODERN.join(", "),
            listed(", the server speaks ", &supported(error))
        ),
        _ => return None,
    };
    let said = edit::member(error, &["message"])
        .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
        .unwrap_or_default();
    serde_json::to_string(&format!("{said} ({because})")).ok()
}

fn listed(before: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("{before}{}", names.join(", ")) }
}

/// The names of an object's members, and of theirs where they have any.
fn names(object: Option<&RawValue>) -> Vec<String> {
    let members = object.and_then(|object| edit::members(object.get())).unwrap_or_default();
    let path = |(name, value): (Cow<'_, str>, &RawValue)| {
        let inner = edit::members(value.get()).unwrap_or_default();
        let below: Vec<_> = inner.into_iter().map(|(below, _)| format!("{name}.{below}")).collect();
        if below.is_empty() { vec![name.into_owned()] } else { below }
    };
    members.into_iter().flat_map(path).collect()
}

/// The revisions that an `UnsupportedProtocolVersionError` names.
pub(super) fn supported(error: &[u8]) -> Vec<String> {
    let list = edit::member(error, &["data", "supported"]);
    list.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// A notification of a subscription's stream without the subscription's id.
pub(super) fn unsubscribed(line: &Bytes) -> Bytes {
    let meta = edit::member(line, &["params", "_meta"]);
    let edit = match only(meta.map(RawValue::get), SUBSCRIPTION_ID) {
        Some(true) => Edit::Remove(&["params", "_meta"]),
        Some(false) => Edit::Remove(&["params", "_meta", SUBSCRIPTION_ID]),
        None => return line.clone(),
    };
    edit::edited(line, &[edit]).unwrap_or_else(|| line.clone())
}

/// Whether `name` is the only member of the object `meta`; none where there is no such object or
/// member.
fn only(meta: Option<&str>, name: &str) -> Option<bool> {
    let meta = meta?;
    let [named] = edit::picked(meta.as_bytes(), &[], [name])?;
    named.map(|_| edit::count(meta) == Some(1))
}

/// The line that answers request `id` with nothing in particular.
pub(super) fn empty(id: &Id) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, id.token()))
}

/// The line that answers request `id` as a server that refuses it would.
pub(super) fn refused(id: &Id, code: i64, what: &str) -> Bytes {
    let error = json!({"code": code, "message": format!("countersign: {what}")});
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, id.token()))
}

/// A `notifications/resources/updated` for each of `uris`.
pub(super) fn updated(uris: &BTreeSet<Box<str>>) -> impl Iterator<Item = Bytes> {
    let method = "notifications/resources/updated";
    uris.iter().map(move |uri| {
        let uri = json!({"uri": uri});
        Bytes::from(format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{uri}}}"#))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(token: &str) -> Id {
        Id::from_token(token).unwrap()
    }

    #[test]
    fn results_lose_what_their_era_added_and_nothing_else() {
        let info = r#""io.modelcontextprotocol/serverInfo":{"name":"s"}"#;
        for (result, expected) in [
            (r#"{"resultType":"complete"}"#.to_owned(), "{}"),
            (
                r#"{"tools":[ 1.0 ],"resultType":"complete","ttlMs":5,"cacheScope":"public"}"#
                    .into(),
                r#"{"tools":[ 1.0 ]}"#,
            ),
            (
                format!(r#"{{"content":[],"_meta":{{{info}}},"resultType":"complete"}}"#),
                r#"{"content":[]}"#,
            ),
            (
                format!(r#"{{"_meta":{{"a":1,{info}}},"x":{{"ttlMs":1}}}}"#),
                r#"{"_meta":{"a":1},"x":{"ttlMs":1}}"#,
            ),
            (r#"{"_meta":{}}"#.into(), r#"{"_meta":{}}"#),
            (r#"{"_meta":null}"#.into(), r#"{"_meta":null}"#),
            ("null".into(), "null"),
        ] {
            let line = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":7,"result":{result}}}"#));
            let read = super::result(&line);
            let same = complete(&line, &read, "x", &id("7"), &id("7"));
            assert_eq!(same, format!(r#"{{"jsonrpc":"2.0","id":7,"result":{expected}}}"#));
            let other = complete(&line, &read, "x", &id("7"), &id("\"a\\/b\""));
            assert_eq!(other, format!(r#"{{"jsonrpc":"2.0","id":"a\/b","result":{expected}}}"#));
        }
    }

    /// basic, "Error Codes"; changelog, minor 6 and 12.
    #[test]
    fn errors_are_mapped_back() {
        for (method, said, expected) in [
            (
                "resources/read",
                r#"{"code":-32602,"message":"Resource not found","data":{"uri":"a:b"}}"#,
                r#"{"code":-32002,"message":"Resource not found","data":{"uri":"a:b"}}"#,
            ),
            (
                "tools/call",
                r#"{"code":-32602,"message":"no"}"#,
                r#"{"code":-32602,"message":"no"}"#,
            ),
            (
                "resources/read",
                r#"{"code":-32603,"message":"no"}"#,
                r#"{"code":-32603,"message":"no"}"#,
            ),
            (
                "tools/call",
                r#"{"code":-32601,"message":"no", "data":[ ]}"#,
                r#"{"code":-32601,"message":"no", "data":[ ]}"#,
            ),
            (
                "tools/call",
                r#"{"code":-32021,"message":"no","data":{"requiredCapabilities":{"elicitation":{"url":{}},"roots":{}}}}"#,
                r#"{"code":-32021,"message":"no (the server needs a capability that this client does not declare: elicitation.url, roots)","data":{"requiredCapabilities":{"elicitation":{"url":{}},"roots":{}}}}"#,
            ),
            (
                "tools/call",
                r#"{"code":-32022,"message":"no","data":{"supported":["2027-01-01"]}}"#,
                r#"{"code":-32022,"message":"no (countersign speaks 2026-07-28 to it, the server speaks 2027-01-01)","data":{"supported":["2027-01-01"]}}"#,
            ),
            (
                "tools/call",
                r#"{"code":-32020,"message":"no"}"#,
                r#"{"code":-32020,"message":"no (the headers of the request did not fit its body when they arrived: a gateway on the way may change them)"}"#,
            ),
        ] {
            let line = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":1,"error":{said}}}"#));
            let mapped = error(&line, said.as_bytes(), method, &id("1"), &id("\"c\""));
            assert_eq!(mapped, format!(r#"{{"jsonrpc":"2.0","id":"c","error":{expected}}}"#));
        }
    }

    /// subscriptions, "Receiving Notifications".
    #[test]
    fn notifications_lose_the_id_of_their_subscription() {
        for (params, expected) in [
            (
                r#","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":4},"uri":"a:b"}"#,
                r#","params":{"uri":"a:b"}"#,
            ),
            (
                r#","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":4,"x":1}}"#,
                r#","params":{"_meta":{"x":1}}"#,
            ),
            ("", ""),
        ] {
            let line =
                |params| format!(r#"{{"jsonrpc":"2.0","method":"notifications/x"{params}}}"#);
            assert_eq!(unsubscribed(&Bytes::from(line(params))), line(expected));
        }
    }
}
