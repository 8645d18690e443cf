//! What the upstream is told to do wrong: a `Fault`, and the `Rule` that says to which requests.
//! Rules stand in a queue; the first that matches a request and has times left is used up by
//! one. Every fault says whether the request ran: that is what a test of resending turns on.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::upstream::Seen;

/// One misbehaviour.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Not run: answers this instead.
    Answer(Reply),
    /// Not run: forgets the request's session, and answers in this shape.
    Lost(Lost),
    /// Not run: the request was read, the connection ends without a byte of an answer.
    Hangup(Ending),
    /// Not run: the request was read, nothing is ever answered.
    Stall,
    /// Not run: these bytes, which need not be HTTP, instead of an answer; then the end.
    Garbage(Vec<u8>),
    /// Run; answers this instead of the result.
    RunThenAnswer(Reply),
    /// Run; the connection ends without a byte of an answer.
    RunThenHangup(Ending),
    /// Run; nothing is ever answered.
    RunThenStall,
    /// Run; the answer's head is held back so long.
    LateHead(Duration),
    /// Run; the first `bytes` bytes of the answer leave one by one, with a pause before each.
    SlowHead {
        /// How many.
        bytes: usize,
        /// Between two.
        pause: Duration,
    },
    /// Run; the connection ends after `at` bytes of the body. With HTTP/2 `at` should be
    /// within the client's window, or the end comes when the rest has no room.
    Cut {
        /// Bytes of the body that arrive.
        at: usize,
        /// How the connection ends.
        ending: Ending,
    },
    /// Run; the body ends after `at` bytes as if that were all: no `Content-Length`, well framed.
    Truncate {
        /// Bytes of the body that arrive.
        at: usize,
    },
    /// Run; an event stream ends, well framed, after so many events (the priming event counts):
    /// the client shall come back with `Last-Event-ID`.
    EndAfterEvents(usize),
    /// Run; the head and `at` bytes of the body arrive, then nothing more.
    StallAt {
        /// Bytes of the body that arrive.
        at: usize,
    },
    /// Run; the answer has this header instead of its own, if it had one.
    Header(&'static str, String),
    /// Run; the answer is JSON, or an event stream.
    Form(Form),
    /// Run; the messages of the answer are changed.
    Mangle(Mangle),
    /// Not run: a WebSocket is opened (RFC 6455), and this goes on in it.
    Socket(Socket),
    /// Whatever is made of the request when it comes.
    Made(Make),
}

/// What an upstream does with a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// Sends each message back, and closes when it is told to, as RFC 6455 has it.
    Echo,
    /// Sends each byte back, and ` and an end` when its other end says no more.
    Bytes,
    /// Sends so many bytes, and then no more.
    Speak(usize),
    /// Ends it with the first byte that comes.
    Leave,
    /// Reads nothing and says nothing.
    Hold,
}

impl Fault {
    /// Not run: an empty answer with this status.
    pub fn status(status: u16) -> Self {
        Self::Answer(Reply::new(status))
    }

    /// Not run: a redirect.
    pub fn redirect(status: u16, to: &str) -> Self {
        Self::Answer(Reply::new(status).header("location", to))
    }

    /// Not run: 200 with this body as JSON, whatever it is.
    pub fn json_text(body: impl Into<Bytes>) -> Self {
        Self::Answer(Reply::new(200).header("content-type", "application/json").body(body))
    }

    /// Not run: 200 with this body as an event stream, whatever it is.
    pub fn sse_text(body: impl Into<Bytes>) -> Self {
        Self::Answer(Reply::new(200).header("content-type", "text/event-stream").body(body))
    }

    /// Not run: 202 to what should have had an answer.
    pub fn accepted() -> Self {
        Self::status(202)
    }

    /// What `make` makes of the request: an echo of what it carried.
    pub fn made(make: impl Fn(&Seen) -> Self + Send + Sync + 'static) -> Self {
        Self::Made(Make(Arc::new(make)))
    }
}

/// How a fault is made of a request.
#[derive(Clone)]
pub struct Make(Arc<dyn Fn(&Seen) -> Fault + Send + Sync>);

impl fmt::Debug for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Make")
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should: TLS `close_notify`, then FIN.
    CloseNotify,
    /// FIN alone: the truncation that TLS can tell.
    NoNotify,
    /// RST.
    Reset,
}

/// The form of an answer to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON document; what else the tool sent is dropped.
    Json,
    /// An event stream.
    Sse,
}

/// What happens to the messages of an answer.
#[derive(Clone, Debug)]
pub enum Mangle {
    /// Line feeds between tokens: pretty JSON; in an event stream, one `data:` line for each.
    LineFeeds,
    /// Lines of an event stream end in CR LF.
    CarriageReturns,
    /// The response comes twice.
    Twice,
    /// The response has this id.
    OtherId(Value),
}

/// The shapes in which servers say that they do not know a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// 404, as the specification has it.
    NotFound,
    /// 400 and -32000 "Bad Request: No valid session ID provided".
    BadRequest,
    /// 200 and -32600 "Session not found", under the request's id.
    Ok,
    /// 401 "Unauthorized: Session not found".
    Unauthorized,
}

impl Lost {
    /// The answer to a request with this id.
    pub fn reply(self, id: &Value) -> Reply {
        let json = |status, id: &Value, code: i64, message: &str| {
            let error = json!({"code": code, "message": message});
            Reply::json(status, &json!({"jsonrpc": "2.0", "id": id, "error": error}))
        };
        match self {
            Self::NotFound => json(404, &Value::Null, -32001, "Session not found"),
            Self::BadRequest => {
                json(400, &Value::Null, -32000, "Bad Request: No valid session ID provided")
            }
            Self::Ok => json(200, id, -32600, "Session not found"),
            Self::Unauthorized => Reply::new(401).body("Unauthorized: Session not found"),
        }
    }
}

/// A whole answer.
#[derive(Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Empty, with this status.
    pub fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status).header("content-type", "application/json").body(body.to_string())
    }

    /// One header more.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    /// This body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

/// What goes wrong below HTTP, once for each time it is told (`Upstream::wire`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The next connection is accepted and reset.
    ResetAccepted,
    /// The next connection is accepted and never spoken to: no TLS, no HTTP.
    Silent,
    /// The next connection that has request bytes to read, new or kept alive, is reset before
    /// one of them is read.
    ResetUnread,
}

/// To which requests a fault happens, and how often.
#[derive(Clone)]
pub struct Rule {
    matches: Arc<dyn Fn(&Seen) -> bool + Send + Sync>,
    skip: usize,
    times: usize,
}

impl Rule {
    /// The next request, whatever it is.
    pub fn next() -> Self {
        Self::matching(|_| true)
    }

    /// The next POST that holds a message of this method.
    pub fn on(method: &'static str) -> Self {
        Self::matching(move |seen| seen.is(method))
    }

    /// The next call of this tool.
    pub fn call(tool: &'static str) -> Self {
        Self::matching(move |seen| seen.tool() == Some(tool))
    }

    /// The next GET.
    pub fn get() -> Self {
        Self::matching(|seen| seen.method == http::Method::GET)
    }

    /// The next DELETE.
    pub fn delete() -> Self {
        Self::matching(|seen| seen.method == http::Method::DELETE)
    }

    /// The next request of which this is true.
    pub fn matching(matches: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Self {
        Self { matches: Arc::new(matches), skip: 0, times: 1 }
    }

    /// So many of them.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// All of them from now on, until the script is cleared.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Leaves the first so many alone.
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }
}

/// The queue of what is still to go wrong.
#[derive(Default)]
pub struct Script {
    rules: Mutex<Vec<(Rule, Fault)>>,
}

impl Script {
    /// One more rule, after the others.
    pub fn push(&self, rule: Rule, fault: Fault) {
        self.rules.lock().unwrap().push((rule, fault));
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.rules.lock().unwrap().clear();
    }

    /// What happens to this request; used up by one.
    pub fn take(&self, seen: &Seen) -> Option<Fault> {
        for (rule, fault) in self.rules.lock().unwrap().iter_mut() {
            if rule.times == 0 || !(rule.matches)(seen) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.times != usize::MAX {
                rule.times -= 1;
            }
            return Some(match fault {
                Fault::Made(make) => (make.0)(seen),
                fault => fault.clone(),
            });
        }
        None
    }
}
