//! What a machine of `mcp` hears and says: HTTP exchanges, messages and timers.
//!
//! Each era of MCP is one such machine. Events come in, commands go out; whoever carries them out
//! knows HTTP and clocks, and nothing of the protocol.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Uri};

use super::{
    message::{Id, Message},
    refusal::Refusal,
};
use crate::failure::{Failure, Stage};

/// The bounds of a session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests of the client that may wait for their answers at a time.
    pub in_flight: usize,
    /// How long a request may go without a byte from the upstream.
    pub idle: Duration,
}

impl Limits {
    /// Why a message with requests can't be taken, before anything is done with it; `open` are those
    /// that have no answer yet.
    pub(super) fn refuse<T>(&self, open: &HashMap<Id, T>, message: &Message) -> Option<Failure> {
        let requests = message.request_ids().count();
        // A set takes no memory before something is in it, which is in batches alone.
        let mut seen = HashSet::new();
        for id in message.request_ids() {
            if open.contains_key(id) || (requests > 1 && !seen.insert(id)) {
                let what = format!("a request with the id {} is already in flight", id.token());
                return Some(Failure::new(Stage::Downstream, what));
            }
        }
        (requests > 0 && open.len() + requests > self.in_flight).then(|| {
            let what = format!("more than {} requests are in flight", self.in_flight);
            Failure::new(Stage::Downstream, what).hint("wait for answers before sending more")
        })
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The client sent a message.
    FromClient(Message),
    /// A successful response's head arrived, with the session id it brought.
    Head(ExchangeId, Option<http::HeaderValue>),
    /// The server sent a message on an exchange.
    FromServer(ExchangeId, Message),
    /// A stream that is listened to said where messages are to be posted.
    Endpoint(ExchangeId, Endpoint),
    /// An exchange ended.
    Ended(ExchangeId, End, Position),
    /// A timer that was asked for ran out.
    Elapsed(Timer),
    /// The client sends nothing more.
    ClientClosed,
    /// What is still in flight has waited long enough for the end.
    Expired,
}

/// An endpoint as a stream named it.
#[derive(Debug)]
pub struct Endpoint {
    /// The reference, in the server's words.
    pub reference: Bytes,
    /// The sensitive values that the stream was asked for with.
    pub carried: Arc<[HeaderValue]>,
    /// Those of them that are secrets without doubt.
    pub secrets: Arc<[HeaderValue]>,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Command {
    /// POST `body`.
    Post {
        /// The new exchange.
        exchange: ExchangeId,
        /// One message or batch.
        body: Bytes,
        /// What must come.
        awaits: Awaits,
        /// Its protocol headers.
        context: Context,
    },
    /// GET an event stream, after a pause.
    Listen {
        /// The new or continued exchange.
        exchange: ExchangeId,
        /// Its protocol headers.
        context: Context,
        /// `Last-Event-ID`, to continue a stream.
        resume: Option<Bytes>,
        /// What must come: the answer that a request waits for, or nothing for as long as it likes.
        awaits: Awaits,
        /// The pause.
        after: Duration,
    },
    /// Open a WebSocket: `Head` says that it is open, `Ended` that it is no more.
    Connect(ExchangeId),
    /// Send a message on a WebSocket.
    Send(ExchangeId, Bytes),
    /// Close a WebSocket once all that was to be sent on it is; it brings no more events.
    Close(ExchangeId),
    /// Drop an exchange; it brings no more events.
    Cancel(ExchangeId),
    /// Write a line to the client.
    Deliver(Bytes),
    /// Bring `Elapsed` with the timer after a while.
    After(Duration, Timer),
    /// DELETE the session.
    End(Context),
    /// Nothing is in flight and nothing more will be.
    Finished,
}

/// What must come back for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// Nothing: it was a notification or a response.
    Nothing,
    /// An answer, within the time that answers have.
    Answer,
    /// A stream that may be silent for as long as it likes (`subscriptions/listen`).
    Stream,
}

/// A timer, bound to what it was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// `notifications/initialized` of the session so counted has had its time.
    Confirm(u64),
    /// The GET stream of the session so counted has had its time.
    Stream(u64),
    /// It is time to try to open a session again.
    Reopen(u64),
    /// A probe has had its time.
    Probe(ExchangeId),
    /// The call so counted has waited long enough for the client to go on with it.
    Held(u64),
    /// What was due on a channel, named by an exchange of its machine.
    Channel(ExchangeId, Due),
    /// The subscription so counted has had its time to be acknowledged, or its pause.
    Subscription(u64),
    /// It is time to ask a server again that wanted to be asked later.
    Again(u64),
}

/// What a timer of a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The channel must be open.
    Open,
    /// The session must be replaced.
    Session,
    /// `notifications/initialized` has had its time.
    Confirm,
    /// It is time to try to open the channel again.
    Reopen,
    /// The channel has lasted long enough to count as a good one.
    Lasting,
    /// A part of the idle limit is over.
    Beat,
}

/// Names one exchange; a resumed stream keeps the name of the exchange it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub(super) u64);

/// The headers that a request carries for the protocol: those that tie it to its session (2025-11-25
/// transports, "Session Management" and "Protocol Version Header"), or those that repeat what is in
/// its body (2026-07-28 streamable-http, "Request Metadata").
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// `Mcp-Session-Id`, sensitive.
    pub session: Option<HeaderValue>,
    /// `MCP-Protocol-Version`.
    pub version: Option<HeaderValue>,
    /// `Mcp-Method`, `Mcp-Name`, `Mcp-Param-*`; none before 2026-07-28.
    pub mirrored: Option<Box<[(HeaderName, HeaderValue)]>>,
    /// Where it goes instead of the configured URL, on the same origin; HTTP+SSE alone.
    pub endpoint: Option<Uri>,
}

/// How far an event stream was followed.
#[derive(Clone, Debug, Default)]
pub struct Position {
    /// The id of its last event, for `Last-Event-ID`.
    pub last_id: Option<Bytes>,
    /// The server's own delay before a reconnection.
    pub retry: Option<Duration>,
    /// Whether any event came, or the stream lasted a while.
    pub progressed: bool,
}

/// How an exchange ended.
#[derive(Debug)]
pub enum End {
    /// The body came to its end; `accepted` where there was none to come (202).
    Complete {
        /// Whether the status was 202 or 204.
        accepted: bool,
    },
    /// It never began, or broke.
    Broken(Failure),
    /// The status was no success.
    Refused(Box<Refusal>),
    /// No byte came for the idle limit.
    Idle(Duration),
}
