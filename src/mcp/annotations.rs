//! Which arguments of which tools go into headers, as the server's own list of tools says
//! (2026-07-28 streamable-http, "Custom Headers from Tool Parameters").
//!
//! A list comes in, and leaves without the tools whose annotations break the rules; what is kept of it
//! keeps its bytes. Nothing but names and paths is remembered.

mod schema;

use std::{borrow::Cow, collections::HashMap, ops::Range};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{edit, message::Message, metadata};

/// Tools with annotations that are remembered: more than a model can be told of.
const MOST: usize = 4_096;

/// The member of a schema that names the header.
const ANNOTATION: &[u8] = b"x-mcp-header";

/// The annotations of one server's tools.
#[derive(Debug, Default)]
pub struct Annotations {
    tools: HashMap<Box<str>, Box<[Parameter]>>,
}

/// An annotated property of a tool's arguments.
#[derive(Debug, PartialEq, Eq)]
struct Parameter {
    /// `Mcp-Param-...`
    header: HeaderName,
    /// The property's names from the arguments down.
    path: Box<[Box<str>]>,
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow, default)]
    result: Option<Tools<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    next_cursor: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tool<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    input_schema: Option<&'a RawValue>,
}

/// A header in which a call may have to repeat an argument.
#[derive(Debug, PartialEq, Eq)]
pub struct Repeated {
    /// `Mcp-Param-...`
    pub header: HeaderName,
    /// The argument as text, where there is one that a header can repeat.
    pub value: Option<String>,
    /// Whether it is a number, which has more than one spelling.
    pub is_number: bool,
}

/// What became of a list of tools.
#[derive(Debug)]
pub struct Learned {
    /// The list without the tools that break the rules; none where there are no such tools.
    pub without: Option<Bytes>,
    /// The raw `nextCursor`, where the list goes on.
    pub cursor: Option<Box<str>>,
}

impl Annotations {
    /// Learns from the response to a `tools/list`.
    pub fn learn(&mut self, response: &Message) -> Learned {
        let bytes = response.bytes();
        let listed: Option<Listed<'_>> = serde_json::from_slice(bytes).ok();
        let Some(Listed { result: Some(result) }) = listed else {
            return Learned { without: None, cursor: None };
        };
        let cursor = result.next_cursor.map(RawValue::get).filter(|it| *it != "null");
        let cursor = cursor.map(Into::into);
        let Some(list) = result.tools else { return Learned { without: None, cursor } };
        let Ok(tools) = serde_json::from_str::<Vec<&RawValue>>(list.get()) else {
            return Learned { without: None, cursor };
        };
        let kept: Vec<&RawValue> = tools.iter().copied().filter(|tool| self.keeps(tool)).collect();
        let without =
            (kept.len() < tools.len()).then(|| replaced(bytes, within(bytes, list), &kept));
        Learned { without, cursor }
    }

    /// Learns of one tool; false if it breaks the rules.
    fn keeps(&mut self, tool: &RawValue) -> bool {
        let Ok(tool) = serde_json::from_str::<Tool<'_>>(tool.get()) else { return true };
        let schema = tool.input_schema.map_or("", RawValue::get);
        // Few tools have any, and their schemas alone are read.
        if memchr::memmem::find(schema.as_bytes(), ANNOTATION).is_none() {
            self.tools.remove(&*tool.name);
            return true;
        }
        match schema::annotated(schema) {
            Ok(parameters) if parameters.is_empty() => {
                self.tools.remove(&*tool.name);
            }
            Ok(parameters) => {
                if self.tools.len() < MOST || self.tools.contains_key(&*tool.name) {
                    self.tools.insert(tool.name.into(), parameters.into());
                }
            }
            Err(reason) => {
                self.tools.remove(&*tool.name);
                let name = tool.name.escape_debug();
                tracing::warn!("the tool \"{name}\" is left out of the list: {reason}");
                return false;
            }
        }
        true
    }

    /// The headers for a call of `tool` ("Client Behavior" 3 to 5).
    #[must_use]
    pub fn headers(&self, tool: &str, arguments: Option<&str>) -> Vec<(HeaderName, HeaderValue)> {
        let header = |it: Repeated| Some((it.header, metadata::encoded(&it.value?)));
        self.repeated(tool, arguments).filter_map(header).collect()
    }

    /// All headers that a call of `tool` may have, with what is to be in them.
    pub fn repeated(&self, tool: &str, arguments: Option<&str>) -> impl Iterator<Item = Repeated> {
        let is_number = |raw: &str| raw.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let repeated = move |Parameter { header, path }: &Parameter| {
            let argument =
                arguments.and_then(|all| path.iter().try_fold(all, |at, name| member(at, name)));
            Repeated {
                header: header.clone(),
                value: argument.and_then(primitive),
                is_number: argument.is_some_and(is_number),
            }
        };
        self.tools.get(tool).into_iter().flatten().map(repeated)
    }
}

/// The member `name` of an object.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let [member] = edit::picked(object.as_bytes(), &[], [name])?;
    member
}

/// A string, integer or boolean as text ("Type conversion"); none for anything else, null included.
fn primitive(raw: &str) -> Option<String> {
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str(raw).ok(),
        b't' | b'f' => Some(raw.to_owned()),
        b'-' | b'0'..=b'9' => Some(integer(raw).unwrap_or_else(|| raw.to_owned())),
        _ => None,
    }
}

/// A number in decimal, where it is an integer in another spelling (`42.0`, `1e3`).
fn integer(raw: &str) -> Option<String> {
    /// Beyond it a double does not name one integer.
    const SAFE: f64 = 9_007_199_254_740_991.0;
    if raw.parse::<i64>().is_ok() {
        return None;
    }
    let number: f64 = raw.parse().ok()?;
    (number.fract() == 0.0 && number.abs() <= SAFE).then(|| format!("{number:.0}"))
}

/// Where `part` lies in `bytes`, which it was read from.
fn within(bytes: &Bytes, part: &RawValue) -> Range<usize> {
    let start = part.get().as_ptr() as usize - bytes.as_ptr() as usize;
    start..start + part.get().len()
}

/// `bytes` with an array of `kept` at `place`.
fn replaced(bytes: &Bytes, place: Range<usize>, kept: &[&RawValue]) -> Bytes {
    let mut all = BytesMut::with_capacity(bytes.len());
    all.put_slice(&bytes[..place.start]);
    all.put_u8(b'[');
    for (at, tool) in kept.iter().enumerate() {
        if at > 0 {
            all.put_u8(b',');
        }
        all.put_slice(tool.get().as_bytes());
    }
    all.put_u8(b']');
    all.put_slice(&bytes[place.end..]);
    all.freeze()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn list(tools: &str) -> Message {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{tools}],"ttlMs":5,"nextCursor":"a\/b"}}}}"#
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    const GOOD: &str = r#"{"name":"run", "inputSchema":{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "deep":{"type":"object","properties":{"limit":{"type":"integer","x-mcp-header":"Limit"}}},
        "dry":{"type":"boolean","x-mcp-header":"Dry"}}}}"#;
    const PLAIN: &str = r#"{"name":"plain","inputSchema":{"type":"object"}, "x":1.0}"#;
    const BAD: &str = r#"{"name":"bad","inputSchema":{"type":"object","properties":{
        "a":{"type":"number","x-mcp-header":"A"}}}}"#;

    fn called(annotations: &Annotations, tool: &str, arguments: &str) -> Vec<String> {
        let headers = annotations.headers(tool, Some(arguments));
        let said = |(name, value): (HeaderName, HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        headers.into_iter().map(said).collect()
    }

    #[test]
    fn values_are_mirrored_from_their_exact_path() {
        let mut annotations = Annotations::default();
        let learned = annotations.learn(&list(&format!("{GOOD},{PLAIN}")));
        assert!(learned.without.is_none());
        assert_eq!(learned.cursor.as_deref(), Some(r#""a\/b""#));
        for (arguments, expected) in [
            (
                r#"{"region":"us","deep":{"limit":7},"dry":false}"#,
                vec!["mcp-param-limit: 7", "mcp-param-dry: false", "mcp-param-region: us"],
            ),
            (
                r#"{"region":"\u0075s","deep":{"limit":7.0},"limit":3}"#,
                vec!["mcp-param-limit: 7", "mcp-param-region: us"],
            ),
            (r#"{"region":null,"deep":7,"dry":[true]}"#, vec![]),
            (r#"{"region":" a"}"#, vec!["mcp-param-region: =?base64?IGE=?="]),
            (r#"{"deep":{"limit":-1e3}}"#, vec!["mcp-param-limit: -1000"]),
            (
                r#"{"deep":{"limit":12345678901234567890}}"#,
                vec!["mcp-param-limit: 12345678901234567890"],
            ),
            ("[]", vec![]),
        ] {
            assert_eq!(called(&annotations, "run", arguments), expected, "{arguments}");
        }
        assert!(called(&annotations, "plain", r#"{"region":"us"}"#).is_empty());
        assert!(annotations.headers("run", None).is_empty());
        let said = annotations.repeated("run", Some(r#"{"region":"7","deep":{"limit":7}}"#));
        let said: Vec<_> = said.map(|it| (it.value, it.is_number)).collect();
        let seven = || Some("7".to_owned());
        assert_eq!(said, [(seven(), true), (None, false), (seven(), false)]);
        assert!(annotations.repeated("run", None).all(|it| it.value.is_none()));
    }

    #[test]
    fn a_bad_tool_is_left_out_and_the_rest_keeps_its_bytes() {
        let mut annotations = Annotations::default();
        for (tools, left) in [
            (format!("{BAD},{PLAIN}"), PLAIN.to_owned()),
            (format!("{PLAIN} , {BAD}, {GOOD}"), format!("{PLAIN},{GOOD}")),
            (BAD.to_owned(), String::new()),
        ] {
            let without = annotations.learn(&list(&tools)).without.unwrap();
            assert_eq!(without, list(&left).bytes(), "{tools}");
        }
    }

    #[test]
    fn what_a_tool_no_longer_says_is_forgotten() {
        let mut annotations = Annotations::default();
        annotations.learn(&list(GOOD));
        annotations.learn(&list(r#"{"name":"run","inputSchema":{}}"#));
        assert!(called(&annotations, "run", r#"{"region":"us"}"#).is_empty());
    }

    #[test]
    fn what_is_no_list_of_tools_is_let_be() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":7}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[7,{"name":1},{}]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        ] {
            let message = Message::parse(Bytes::from_static(text.as_bytes())).unwrap();
            let learned = Annotations::default().learn(&message);
            assert!(learned.without.is_none() && learned.cursor.is_none(), "{text}");
        }
    }
}
