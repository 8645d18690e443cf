//! What a message is about, for logs: its method, and which tool, prompt or resource it names.
//!
//! Arguments are never looked at. What is read comes from a caller, so it is bounded; of a resource's
//! URI, the parts that may hold a secret are left out.

use std::borrow::Cow;

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

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    uri: Option<Cow<'a, str>>,
}

impl Subject {
    /// What the message in `bytes` is about; nothing if it is no JSON object with a method.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let bytes = bytes.trim_ascii_start();
        if bytes.first() == Some(&b'[') {
            return Self { method: Some("batch".into()), name: None };
        }
        let Ok(Fields { method: Some(method), params }) = serde_json::from_slice(bytes) else {
            return Self::default();
        };
        // Other methods' names and URIs are not known to be harmless.
        let params = || serde_json::from_str::<Params<'_>>(params?.get()).ok();
        let name = match &*method {
            "tools/call" | "prompts/get" => {
                params().and_then(|it| it.name.map(|name| bounded(&name)))
            }
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                params().and_then(|it| it.uri.map(|uri| bounded(&without_secrets(&uri))))
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

/// A URI without its user, query and fragment.
fn without_secrets(uri: &str) -> Cow<'_, str> {
    let uri = &uri[..uri.find(['?', '#']).unwrap_or(uri.len())];
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.into() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}").into(),
        None => uri.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Option<String>, Option<String>) {
        let Subject { method, name } = Subject::of(text.as_bytes());
        (method.map(String::from), name.map(String::from))
    }

    #[test]
    fn methods_and_names_are_read_and_arguments_are_not() {
        for (text, method, name) in [
            (
                r#" {"id":1,"method":"tools\/call","params":{"arguments":{"name":"x"},"name":"echo"}}"#,
                Some("tools/call"),
                Some("echo"),
            ),
            (r#"{"method":"prompts/get","params":{"name":"hi"}}"#, Some("prompts/get"), Some("hi")),
            (
                r#"{"method":"resources/read","params":{"uri":"https://me:pw@a.example/b?key=c#d"}}"#,
                Some("resources/read"),
                Some("https://a.example/b"),
            ),
            (
                r#"{"method":"resources/subscribe","params":{"uri":"note:7?key=c"}}"#,
                Some("resources/subscribe"),
                Some("note:7"),
            ),
            (r#"{"method":"tools/list","params":{"name":"x"}}"#, Some("tools/list"), None),
            (r#"{"method":"tools/call","params":[1]}"#, Some("tools/call"), None),
            (r#"{"method":"tools/call","params":{"name":{}}}"#, Some("tools/call"), None),
            (r#"{"id":1,"result":{}}"#, None, None),
            (r#"[{"id":1,"method":"x"}]"#, Some("batch"), None),
            (r#"{"method":7}"#, None, None),
            ("nonsense", None, None),
            ("", None, None),
        ] {
            let expected = (method.map(str::to_owned), name.map(str::to_owned));
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_told_is_bounded_and_on_one_line() {
        let long = "\u{e4}".repeat(1000);
        let (method, name) =
            of(&format!(r#"{{"method":"tools/call","params":{{"name":"a\nb{long}"}}}}"#));
        assert_eq!(method.as_deref(), Some("tools/call"));
        let name = name.unwrap_or_default();
        assert!(name.starts_with("a b\u{e4}") && name.chars().count() == LONGEST, "{name}");
    }
}
