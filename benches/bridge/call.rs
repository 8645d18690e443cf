//! The calls that are made, as the lines and bodies that carry them, and what is answered.
//!
//! Answers are prepared: a result's text is a slice of one buffer, so that what is measured is
//! their way and not their making.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A result's text is lines of this length, their ends escaped as JSON has them.
const LINE: usize = 64;
/// Results up to this are put together, so that they leave in one write.
const SMALL: usize = 16 * 1024;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// A result of so many bytes as `application/json`.
    Json(usize),
    /// The same as one event of a `text/event-stream`.
    Event(usize),
    /// So many progress notifications in events of their own, then a small result.
    Progress(usize),
}

impl Call {
    /// The smallest, for what a call costs by itself.
    pub(crate) const SMALL: Self = Self::Json(2 * LINE);

    /// The request with `id`, without a line's end.
    pub(crate) fn request(self, id: u64) -> String {
        let (name, n) = match self {
            Self::Json(n) => ("json", n),
            Self::Event(n) => ("event", n),
            Self::Progress(n) => ("progress", n),
        };
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":{{"n":{n}}},"_meta":{{"progressToken":{id}}}}}}}"#
        )
    }
}

/// The request that starts a session.
pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
/// What follows its answer.
pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A message as it arrived, as far as it is looked at.
#[derive(Deserialize)]
pub(crate) struct Asked<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: &'a str,
    #[serde(borrow, default)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: &'a str,
    #[serde(default)]
    arguments: Arguments,
}

#[derive(Default, Deserialize)]
struct Arguments {
    #[serde(default)]
    n: usize,
}

impl Asked<'_> {
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.map(RawValue::get)
    }

    pub(crate) fn initializes(&self) -> bool {
        self.method == "initialize"
    }

    pub(crate) fn call(&self) -> Call {
        let n = self.params.as_ref().map_or(0, |params| params.arguments.n);
        match self.params.as_ref().map(|params| params.name) {
            Some("event") => Call::Event(n),
            Some("progress") => Call::Progress(n),
            _ => Call::Json(n),
        }
    }
}

/// The prepared text.
#[derive(Clone)]
pub(crate) struct Prepared(Bytes);

impl Prepared {
    /// Text for results of up to 16 MiB.
    pub(crate) fn new() -> Self {
        let line = [&[b'x'; LINE - 2][..], br"\n"].concat();
        Self(line.repeat(16 * 1024 * 1024 / LINE).into())
    }

    /// The result with `n` bytes of text to the request with `id`, between `before` and `after`:
    /// in one piece if it is small.
    pub(crate) fn result(&self, id: &str, n: usize, (before, after): (&str, &str)) -> Vec<Bytes> {
        let text = self.0.slice(..(n - n % LINE).min(self.0.len()));
        let head = format!(
            r#"{before}{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":""#
        );
        let tail = format!(r#""}}]}}}}{after}"#);
        if text.len() > SMALL {
            return vec![head.into(), text, tail.into()];
        }
        vec![[head.as_bytes(), &text, tail.as_bytes()].concat().into()]
    }

    /// The `i`th of `n` notifications for the request with `id`, likewise.
    pub(crate) fn progress(
        id: &str,
        (i, n): (usize, usize),
        (before, after): (&str, &str),
    ) -> Bytes {
        let message = format!(
            r#"{before}{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":{i},"total":{n}}}}}{after}"#
        );
        message.into()
    }
}
