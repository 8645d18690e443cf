//! What a message is about, for logs: its method, and which tool, prompt or resource it names.
//!
//! Arguments are never looked at. What is read comes from a caller, so it is bounded; of a resource's
//! URI, the parts that may hold a secret are left out.

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;

/// Longer names are cut.
const LONGEST: usize = 128;

/// What one message is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Its method: `tools/call`, or `batch` where it is several messages.
    pub method: Option<Box<str>>,
    /// The tool or prompt that it names, or the resource without user, query and fragment.
    pub name: Option<Box<str>>,
}

/// Messages of a batch that are named.
const MOST: usize = 16;

/// The members of an object; of doubled ones the last, as most readers have it.
#[derive(Default, Deserialize)]
struct Members<'a>(#[serde(borrow)] HashMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        let raw: &'a RawValue = self.0.get(name)?;
        serde_json::from_str(raw.get()).ok().map(|Text(text)| text)
    }
}

impl Subject {
    /// What the message in `bytes` is about; nothing if it is no JSON object with a method.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Members::read(bytes).map_or_else(Self::default, |message| Self::of_message(&message))
    }

    /// What a request's whole body is about. It may be of another API: then it is nobody's business. One
    /// that can't be read may be read by the server all the same, and is told as such.
    #[must_use]
    pub fn of_body(bytes: &[u8]) -> Self {
        let bytes = bytes.trim_ascii_start();
        if bytes.first() == Some(&b'[') {
            return Self::of_batch(bytes);
        }
        match Members::read(bytes) {
            Some(message) if message.0.contains_key("jsonrpc") => Self::of_message(&message),
            Some(_) => Self::default(),
            None if bytes.is_empty() => Self::default(),
            None => Self { method: Some("unreadable".into()), name: None },
        }
    }

    /// A batch, named by what is in it.
    fn of_batch(bytes: &[u8]) -> Self {
        let parts: Vec<&RawValue> = serde_json::from_slice(bytes).unwrap_or_default();
        let named = |part: &&RawValue| {
            let Self { method, name } = Self::of_body(part.get().as_bytes());
            Some(method?.into_string() + &name.map(|name| format!(" {name}")).unwrap_or_default())
        };
        // A batch in a batch is none.
        let parts = parts.iter().filter(|part| part.get().starts_with('{'));
        let names: Vec<String> = parts.filter_map(named).take(MOST).collect();
        let name = (!names.is_empty()).then(|| bounded(&names.join(", ")));
        Self { method: Some("batch".into()), name }
    }

    fn of_message(message: &Members<'_>) -> Self {
        let Some(method) = message.text("method") else { return Self::default() };
        // Other methods' names and URIs are not known to be harmless.
        let params = || Members::read(message.0.get("params")?.get().as_bytes());
        let name = match &*method {
            "tools/call" | "prompts/get" => {
                params().and_then(|it| it.text("name").map(|name| bounded(&name)))
            }
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                params().and_then(|it| it.text("uri").map(|uri| bounded(&without_secrets(&uri))))
            }
            _ => None,
        };
        Self { method: Some(bounded(&method)), name }
    }
}

fn bounded(text: &str) -> Box<str> {
    let plain = |it: char| if it.is_control() { ' ' } else { it };
    text.chars().take(LONGEST).map(plain).collect()
}

/// A URI without its user, query and fragment. Where a password may have a mark of those in it, the URI
/// is cut short rather than told with a piece of one.
fn without_secrets(uri: &str) -> Cow<'_, str> {
    let (shown, hidden) = uri.split_at(uri.find(['?', '#']).unwrap_or(uri.len()));
    let Some((scheme, rest)) = shown.split_once("://") else { return shown.into() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // `user:pass/word@host`, `user:pass?word@host`: what looks like a port is a password's beginning.
    let port = authority.rsplit_once(':').filter(|_| !authority.contains('@'));
    if port.is_some() && (path.contains('@') || hidden.contains('@')) {
        return format!("{scheme}://").into();
    }
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}").into(),
        None => shown.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Option<String>, Option<String>) {
        let Subject { method, name } = Subject::of_body(text.as_bytes());
        (method.map(String::from), name.map(String::from))
    }

    #[test]
    fn methods_and_names_are_read_and_arguments_are_not() {
        for (text, method, name) in [
            (
                r#" {"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{"arguments":{"name":"x"},"name":"echo"}}"#,
                Some("tools/call"),
                Some("echo"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"prompts/get","params":{"name":"hi"}}"#,
                Some("prompts/get"),
                Some("hi"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"resources/read","params":{"uri":"https://me:pw@a.example/b?key=c#d"}}"#,
                Some("resources/read"),
                Some("https://a.example/b"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"resources/subscribe","params":{"uri":"note:7?key=c"}}"#,
                Some("resources/subscribe"),
                Some("note:7"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"tools/list","params":{"name":"x"}}"#,
                Some("tools/list"),
                None,
            ),
            (r#"{"jsonrpc":"2.0","method":"tools/call","params":[1]}"#, Some("tools/call"), None),
            (
                r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":{}}}"#,
                Some("tools/call"),
                None,
            ),
            // Doubled members: the last is what most servers run.
            (
                r#"{"jsonrpc":"2.0","method":"ping","method":"tools/call","params":{"name":"a","name":"rm"}}"#,
                Some("tools/call"),
                Some("rm"),
            ),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, None, None),
            (
                r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm"}},{"jsonrpc":"2.0","method":"x"},[{"jsonrpc":"2.0","method":"y"}]]"#,
                Some("batch"),
                Some("tools/call rm, x"),
            ),
            (r#"{"jsonrpc":"2.0","method":7}"#, None, None),
            // Of another API.
            (r#"{"method":"canary"}"#, None, None),
            ("\u{1f}\u{8b}", Some("unreadable"), None),
            ("", None, None),
        ] {
            let expected = (method.map(str::to_owned), name.map(str::to_owned));
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn of_a_uri_nothing_is_told_that_may_be_a_secret() {
        for (uri, told) in [
            ("https://a.example:80/b@c", "https://"),
            ("https://me:p/w@a.example/b", "https://"),
            ("https://me:12?w@a.example/b", "https://"),
            ("https://me:p#w@a.example/b", "https://"),
            ("https://a.example/@b/c?d", "https://a.example/@b/c"),
            ("https://a.example:80/b?c", "https://a.example:80/b"),
            ("file:///a@b", "file:///a@b"),
        ] {
            assert_eq!(without_secrets(uri), told, "{uri}");
        }
    }

    #[test]
    fn what_is_told_is_bounded_and_on_one_line() {
        let long = "\u{e4}".repeat(1000);
        let (method, name) = of(&format!(
            r#"{{"jsonrpc":"2.0","method":"tools/call","params":{{"name":"a\nb{long}"}}}}"#
        ));
        assert_eq!(method.as_deref(), Some("tools/call"));
        let name = name.unwrap_or_default();
        assert!(name.starts_with("a b\u{e4}") && name.chars().count() == LONGEST, "{name}");
    }
}
