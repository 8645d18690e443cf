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

    fn name(self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Event(_) => "event",
            Self::Progress(_) => "progress",
        }
    }

    fn size(self) -> usize {
        let (Self::Json(n) | Self::Event(n) | Self::Progress(n)) = self;
        n
    }

    /// The request with `id`, without a line's end.
    pub(crate) fn request(self, id: u64) -> String {
        let (name, n) = (self.name(), self.size());
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":{{"n":{n}}},"_meta":{{"progressToken":{id}}}}}}}"#
        )
    }
}

/// Of which era a client or a server is.
#[derive(Clone, Copy)]
pub(crate) enum Era {
    /// With sessions.
    Legacy,
    /// Each request by itself.
    Modern,
}

impl Era {
    /// As `--protocol` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }

    /// Where the server is of this era alone.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Legacy => "/mcp",
            Self::Modern => "/modern",
        }
    }

    /// The request that a client opens with.
    pub(crate) fn opening(self) -> &'static str {
        match self {
            Self::Legacy => INITIALIZE,
            Self::Modern => DISCOVER,
        }
    }

    /// What every request says of its client.
    fn meta(self) -> &'static str {
        match self {
            Self::Legacy => "",
            Self::Modern => {
                r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{},"#
            }
        }
    }

    /// What every result says of itself.
    fn result(self) -> &'static str {
        match self {
            Self::Legacy => "",
            Self::Modern => {
                r#","resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"bench","version":"1"}}"#
            }
        }
    }
}

/// `call` as a request of so many bytes by a client of `era`.
pub(crate) fn padded(id: usize, call: Call, era: Era, bytes: usize) -> String {
    let (name, n, meta) = (call.name(), call.size(), era.meta());
    let head = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":{{"n":{n},"pad":""#
    );
    let tail = format!(r#""}},"_meta":{{{meta}"progressToken":{id}}}}}}}"#);
    let pad = bytes.saturating_sub(head.len() + tail.len());
    [&head, &"x".repeat(pad), &tail].map(String::as_str).concat()
}

/// The request that asks a modern server what it is.
const DISCOVER: &str = r#"{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;
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

    pub(crate) fn discovers(&self) -> bool {
        self.method == "server/discover"
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
    pub(crate) fn result(
        &self,
        id: &str,
        n: usize,
        era: Era,
        (before, after): (&str, &str),
    ) -> Vec<Bytes> {
        let text = self.0.slice(..(n - n % LINE).min(self.0.len()));
        let head = format!(
            r#"{before}{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":""#
        );
        let tail = format!(r#""}}]{}}}}}{after}"#, era.result());
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
