//! What a client has said of itself, once, and what each of its requests says of it from then on
//! (2026-07-28 basic, "_meta").
//!
//! Its info and capabilities are kept as it wrote them, less what the modern era took out of them.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::mcp::{
    edit::{self, Edit},
    message::Message,
    metadata::{CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, LOG_LEVELS, PROTOCOL_VERSION},
};

/// The revisions of this era that are spoken here, the newest first.
pub(super) const MODERN: [&str; 1] = ["2026-07-28"];

/// The revisions that begin with `initialize`, the oldest first.
const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// Who asks, and how.
#[derive(Debug)]
pub(super) struct Profile {
    /// The revision that `initialize` asked for.
    asked: Option<Box<str>>,
    /// Raw JSON, as is the next.
    info: Option<Box<str>>,
    capabilities: Box<str>,
    level: Option<&'static str>,
    /// The revision that the server is spoken to in.
    pub(super) version: &'static str,
}

impl Default for Profile {
    /// A client that has said nothing: it may still ask, and can do nothing.
    fn default() -> Self {
        let version = MODERN[0];
        Self { asked: None, info: None, capabilities: "{}".into(), level: None, version }
    }
}

impl Profile {
    /// What `initialize` says.
    pub(super) fn of(initialize: &Message) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Params<'a> {
            #[serde(borrow, default)]
            protocol_version: Option<&'a RawValue>,
            #[serde(borrow, default)]
            capabilities: Option<&'a RawValue>,
            #[serde(borrow, default)]
            client_info: Option<&'a RawValue>,
        }
        let params = edit::member(initialize.bytes(), &["params"]);
        let params: Params<'_> =
            params.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let object = |raw: &&RawValue| raw.get().starts_with('{');
        let version = params.protocol_version.and_then(|raw| serde_json::from_str(raw.get()).ok());
        Self {
            asked: version,
            info: params.client_info.filter(object).map(|raw| raw.get().into()),
            capabilities: params.capabilities.filter(object).map_or("{}".into(), declared),
            ..Self::default()
        }
    }

    /// The revision that `initialize` is answered with: what was asked for, where that is one of its
    /// era, else the next older one (2025-11-25 lifecycle, "Version Negotiation").
    pub(super) fn legacy_version(&self) -> &'static str {
        let asked = self.asked.as_deref().unwrap_or(LEGACY[3]);
        LEGACY.into_iter().rev().find(|known| *known <= asked).unwrap_or(LEGACY[0])
    }

    /// Remembers a level; false for what is none.
    pub(super) fn set_level(&mut self, level: &str) -> bool {
        let known = LOG_LEVELS.into_iter().find(|known| *known == level);
        self.level = known.or(self.level);
        known.is_some()
    }

    /// The request or notification `message` with this profile in its `_meta`; none where it has no
    /// place for one.
    pub(super) fn stamped(&self, message: &Message) -> Option<Message> {
        let names = [PROTOCOL_VERSION, CLIENT_INFO, CLIENT_CAPABILITIES, LOG_LEVEL];
        let paths = names.map(|name| ["params", "_meta", name]);
        let values = self.values();
        let said = paths
            .iter()
            .zip(values)
            .filter_map(|(path, value)| value.map(|value| Edit::Set(path.as_slice(), value)));
        let edits: Vec<Edit<'_>> = said.collect();
        match message.edited(&edits) {
            Some(stamped) => Some(stamped),
            None => Message::parse(without_nulls(message.bytes())?).ok()?.edited(&edits),
        }
    }

    /// The `_meta` of a request of our own in the client's name.
    pub(super) fn meta(&self) -> String {
        let names = [PROTOCOL_VERSION, CLIENT_INFO, CLIENT_CAPABILITIES, LOG_LEVEL];
        let said = names.into_iter().zip(self.values());
        let members: Vec<String> = said
            .filter_map(|(name, value)| value.map(|value| format!(r#""{name}":{value}"#)))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    /// In the order of the names above.
    fn values(&self) -> [Option<Cow<'_, str>>; 4] {
        [
            Some(Cow::Owned(["\"", self.version, "\""].concat())),
            self.info.as_deref().map(Cow::Borrowed),
            Some(Cow::Borrowed(&self.capabilities)),
            self.level.map(|level| Cow::Owned(format!(r#""{level}""#))),
        ]
    }

    /// Why the client can't be asked for `method`; none where it can.
    pub(super) fn lacks(&self, method: &str, params: Option<&RawValue>) -> Option<&'static str> {
        let has = |path: &[&str]| {
            edit::member(self.capabilities.as_bytes(), path).is_some_and(|raw| raw.get() != "null")
        };
        let asks = |name| {
            let params = params.map_or("{}", RawValue::get);
            edit::member(params.as_bytes(), &[name]).is_some_and(|raw| raw.get() != "null")
        };
        let (given, lacking) = match method {
            "elicitation/create" if by_url(params) => {
                (has(&["elicitation", "url"]), "elicitation.url")
            }
            "elicitation/create" if has(&["elicitation", "url"]) => {
                (has(&["elicitation", "form"]), "elicitation.form")
            }
            // An empty object is as good as one with `form` (client/elicitation, "Capabilities").
            "elicitation/create" => (has(&["elicitation"]), "elicitation"),
            "sampling/createMessage" if asks("tools") || asks("toolChoice") => {
                (has(&["sampling", "tools"]), "sampling.tools")
            }
            "sampling/createMessage" => (has(&["sampling"]), "sampling"),
            "roots/list" => (has(&["roots"]), "roots"),
            _ => return Some("a kind of input that MCP does not define"),
        };
        (!given).then_some(lacking)
    }
}

/// Whether an elicitation has its user visit a URL.
pub(super) fn by_url(params: Option<&RawValue>) -> bool {
    params
        .and_then(|params| edit::member(params.get().as_bytes(), &["mode"]))
        .is_some_and(|mode| mode.get() == r#""url""#)
}

/// The newest revision in a server's list that is spoken here.
pub(super) fn newest<T: AsRef<str>>(supported: &[T]) -> Option<&'static str> {
    MODERN.into_iter().find(|known| supported.iter().any(|it| it.as_ref() == *known))
}

/// Capabilities without what there is no way for any more: word of changed roots, and the tasks of
/// 2025-11-25 (changelog, major 5 and 6).
fn declared(raw: &RawValue) -> Box<str> {
    let text = Bytes::copy_from_slice(raw.get().as_bytes());
    let gone = [Edit::Remove(&["roots", "listChanged"]), Edit::Remove(&["tasks"])];
    let kept = edit::edited(&text, &gone).unwrap_or(text);
    String::from_utf8_lossy(&kept).into()
}

/// Some clients write `null` for what is not there.
fn without_nulls(text: &Bytes) -> Option<Bytes> {
    let null = |path: &[&str]| edit::member(text, path).is_some_and(|raw| raw.get() == "null");
    let path: &[&str] = if null(&["params"]) { &["params"] } else { &["params", "_meta"] };
    null(path).then(|| edit::edited(text, &[Edit::Set(path, "{}".into())])).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn profile(params: &str) -> Profile {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{params}}}"#);
        Profile::of(&message(&text))
    }

    /// 2025-11-25 lifecycle, "Version Negotiation".
    #[test]
    fn initialize_gets_the_revision_it_asked_for_or_the_nearest() {
        for (asked, answered) in [
            ("2024-11-05", "2024-11-05"),
            ("2025-03-26", "2025-03-26"),
            ("2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25"),
            ("2026-07-28", "2025-11-25"),
            ("2025-05-01", "2025-03-26"),
            ("2024-10-07", "2024-11-05"),
            ("DRAFT-2026-v1", "2025-11-25"),
        ] {
            let params = format!(r#"{{"protocolVersion":"{asked}"}}"#);
            assert_eq!(profile(&params).legacy_version(), answered, "{asked}");
        }
        assert_eq!(profile("[7]").legacy_version(), "2025-11-25");
    }

    #[test]
    fn the_newest_revision_that_both_speak() {
        assert_eq!(newest(&["2027-01-01", "2026-07-28", "2025-11-25"]), Some("2026-07-28"));
        assert_eq!(newest(&["2027-01-01", "2025-11-25"]), None);
    }

    /// basic, "_meta": "Every request MUST include the required `_meta` fields".
    #[test]
    fn requests_are_stamped_and_keep_all_else() {
        let mut profile = profile(
            r#"{"protocolVersion":"2025-06-18","clientInfo":{"name":"c" ,"x":1.0},"capabilities":{"roots":{"listChanged":true},"tasks":{},"sampling":{"tools":{}},"x":[ ]}}"#,
        );
        let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
        let info = r#""io.modelcontextprotocol/clientInfo":{"name":"c" ,"x":1.0}"#;
        let capabilities = r#""io.modelcontextprotocol/clientCapabilities":{"roots":{},"sampling":{"tools":{}},"x":[ ]}"#;
        let all = format!("{version},{info},{capabilities}");
        for (said, stamped) in [
            ("", format!(r#","params":{{"_meta":{{{all}}}}}"#)),
            (r#","params":{}"#, format!(r#","params":{{"_meta":{{{all}}}}}"#)),
            (r#","params":null"#, format!(r#","params":{{"_meta":{{{all}}}}}"#)),
            (r#","params":{"_meta":null}"#, format!(r#","params":{{"_meta":{{{all}}}}}"#)),
            (
                r#","params":{"a":1e3, "_meta":{"progressToken":"t","traceparent":"p"}}"#,
                format!(
                    r#","params":{{"a":1e3, "_meta":{{"progressToken":"t","traceparent":"p",{all}}}}}"#
                ),
            ),
            (
                r#","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2025-06-18"}}"#,
                format!(r#","params":{{"_meta":{{{all}}}}}"#),
            ),
        ] {
            let head = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list""#;
            let request = message(&format!("{head}{said}}}"));
            let expected = format!("{head}{stamped}}}");
            let stamped = profile.stamped(&request).unwrap();
            assert_eq!(stamped.bytes(), expected.as_bytes(), "{said}");
        }
        let odd = message(r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}"#);
        assert!(profile.stamped(&odd).is_none());
        // logging, "Per-request log level".
        assert!(profile.set_level("warning") && !profile.set_level("loud"));
        assert!(profile.meta().ends_with(r#","io.modelcontextprotocol/logLevel":"warning"}"#));
    }

    /// mrtr, "Server Requirements" 7.
    #[test]
    fn a_client_is_asked_for_what_it_has_declared() {
        let url: Box<RawValue> = serde_json::from_str(r#"{"mode":"url"}"#).unwrap();
        let tools: Box<RawValue> = serde_json::from_str(r#"{"tools":[]}"#).unwrap();
        let form: Box<RawValue> = serde_json::from_str(r#"{"mode":"form"}"#).unwrap();
        for (capabilities, method, params, lacks) in [
            (r#"{"elicitation":{}}"#, "elicitation/create", None, None),
            (r#"{"elicitation":{}}"#, "elicitation/create", Some(&form), None),
            (r#"{"elicitation":{}}"#, "elicitation/create", Some(&url), Some("elicitation.url")),
            (r#"{"elicitation":{"url":{}}}"#, "elicitation/create", Some(&url), None),
            (
                r#"{"elicitation":{"url":{}}}"#,
                "elicitation/create",
                Some(&form),
                Some("elicitation.form"),
            ),
            (r#"{"elicitation":{"url":{},"form":{}}}"#, "elicitation/create", None, None),
            ("{}", "elicitation/create", None, Some("elicitation")),
            (r#"{"sampling":{}}"#, "sampling/createMessage", Some(&tools), Some("sampling.tools")),
            (r#"{"sampling":{"tools":{}}}"#, "sampling/createMessage", Some(&tools), None),
            ("{}", "sampling/createMessage", None, Some("sampling")),
            (r#"{"sampling":{}}"#, "sampling/createMessage", None, None),
            (r#"{"roots":null}"#, "roots/list", None, Some("roots")),
            (r#"{"roots":{}}"#, "roots/list", None, None),
        ] {
            let profile = profile(&format!(r#"{{"capabilities":{capabilities}}}"#));
            let params = params.map(AsRef::as_ref);
            assert_eq!(profile.lacks(method, params), lacks, "{capabilities} {method}");
        }
        assert!(Profile::default().lacks("tools/list", None).is_some());
    }
}
