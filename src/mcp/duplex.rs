//! A server behind one channel that carries everything both ways, without any IO: HTTP+SSE of
//! 2024-11-05 (an event stream down, POSTs up), or a WebSocket.
//!
//! Answers come on the channel, whichever way their requests went. A channel that breaks takes its
//! session with it: what was in flight is answered "outcome unknown" and never sent again, and the
//! client's handshake is repeated on the next channel (`channel`). It reads no more of a message than
//! its envelope, and so both eras pass; one without a handshake has nothing to repeat.

mod arrival;
mod call;
mod channel;
mod ending;
mod http_sse;
#[cfg(test)]
mod tests;
mod websocket;

use std::collections::{HashMap, VecDeque};

use http::Uri;

use self::call::{Call, Posted, What};
use super::{
    exchange::{Awaits, Command, Context, Due, Event, ExchangeId, Limits, Timer},
    fault,
    handshake::Handshake,
    message::{Envelope, Id, Message},
    notification, outcome,
    session::ending::belongs_to_session,
};
use crate::failure::{Failure, Stage};

const INITIALIZE: &str = "initialize";
const INITIALIZED: &str = "notifications/initialized";
/// Requests of the server whose answers are tracked; beyond it the oldest rule is: pass it on.
const MAX_ASKED: usize = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No channel; the next message opens one, and so does time where there was a session.
    Down,
    /// A channel is being opened.
    Opening,
    /// An `initialize` is in flight: the client's, or our own replay of it.
    Greeting {
        own: bool,
    },
    /// `notifications/initialized` is being posted.
    Confirming(ExchangeId),
    Ready,
    Finished,
}

/// Which channel it is.
#[derive(Debug)]
enum Kind {
    HttpSse {
        /// The configured URL.
        url: Uri,
        /// How the server refused to be spoken to otherwise.
        refusal: Option<Failure>,
    },
    WebSocket,
}

/// The server behind one channel. See the module's head.
#[derive(Debug)]
pub struct Duplex {
    upstream: String,
    limits: Limits,
    kind: Kind,
    phase: Phase,
    channel: Option<ExchangeId>,
    /// The head of the event stream came, its endpoint not yet.
    answered: bool,
    /// Where messages are posted.
    endpoint: Option<Uri>,
    /// Counts the channels, so that what belongs to an old one is known.
    epoch: u64,
    handshake: Option<Handshake>,
    /// The server has agreed to the handshake: it is repeated on the next channel.
    agreed: bool,
    /// Counts the sessions.
    sessions: u64,
    /// Channels in a row that could not be opened or did not last.
    failures: u32,
    /// Each unanswered request of the client.
    open: HashMap<Id, Call>,
    /// POSTs under way.
    posts: HashMap<ExchangeId, Posted>,
    /// What waits for the channel or the session; true where it was sent once before.
    held: VecDeque<(Message, bool)>,
    /// Requests of the server that the client has not answered, with their channel.
    asked: HashMap<Id, u64>,
    first: u64,
    next: u64,
    beating: bool,
    closing: bool,
    out: Vec<Command>,
}

impl Duplex {
    /// HTTP+SSE with `upstream` (its origin, for messages) at `url`; its exchanges are counted from
    /// `first`. Nothing happens before the client speaks.
    #[must_use]
    pub fn http_sse(upstream: impl Into<String>, url: Uri, limits: Limits, first: u64) -> Self {
        Self::new(upstream.into(), Kind::HttpSse { url, refusal: None }, limits, first)
    }

    /// The same over a WebSocket.
    #[must_use]
    pub fn websocket(upstream: impl Into<String>, limits: Limits, first: u64) -> Self {
        Self::new(upstream.into(), Kind::WebSocket, limits, first)
    }

    /// The same with the failure that made us try HTTP+SSE: if that is refused too, both are told.
    #[must_use]
    pub fn with_refusal(mut self, of: Failure) -> Self {
        if let Kind::HttpSse { refusal, .. } = &mut self.kind {
            *refusal = Some(of);
        }
        self
    }

    fn new(upstream: String, kind: Kind, limits: Limits, first: u64) -> Self {
        Self {
            upstream,
            limits,
            kind,
            phase: Phase::Down,
            channel: None,
            answered: false,
            endpoint: None,
            epoch: 0,
            handshake: None,
            agreed: false,
            sessions: 0,
            failures: 0,
            open: HashMap::new(),
            posts: HashMap::new(),
            held: VecDeque::new(),
            asked: HashMap::new(),
            first,
            next: first,
            beating: false,
            closing: false,
            out: Vec::new(),
        }
    }

    /// Takes in what happened and returns what is to be done.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        match event {
            Event::FromClient(message) => self.client_sent(message),
            Event::Head(exchange, _) => self.head(exchange),
            Event::Endpoint(exchange, named) => self.endpoint_named(exchange, &named),
            Event::FromServer(exchange, message) => self.server_sent(exchange, &message),
            Event::Ended(exchange, end, _) => self.ended(exchange, end),
            Event::Elapsed(Timer::Channel(exchange, due)) => self.elapsed(exchange, due),
            Event::Elapsed(_) => {}
            Event::ClientClosed => self.closing = true,
            Event::Expired => self.expire(),
        }
        self.finish_if_done();
        std::mem::take(&mut self.out)
    }

    /// Whether there is a channel or a session, or one is being opened.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.agreed || self.channel.is_some()
    }

    /// Whether nothing came of it and nobody waits for it: another may take its place, whose names begin
    /// after the last of this one's.
    pub(super) fn is_over(&self) -> Option<u64> {
        (!self.stands() && self.open.is_empty()).then_some(self.next)
    }

    /// Whether the requests of an exchange are all answered: its response needs no more patience.
    #[must_use]
    pub fn settled(&self, exchange: ExchangeId) -> bool {
        self.channel != Some(exchange)
    }

    /// Counts the sessions with the server: it changes when one takes another's place.
    pub(super) fn generation(&self) -> u64 {
        self.sessions
    }

    fn client_sent(&mut self, message: Message) {
        if let Some(refusal) = self.limits.refuse(&self.open, &message) {
            return self.refuse(&message, &refusal);
        }
        match message.single() {
            Some(Envelope::Request { method, .. }) if &**method == INITIALIZE => {
                return self.open_for_client(message);
            }
            Some(Envelope::Notification { method })
                if &**method == "notifications/cancelled" && self.cancelled_by_client(&message) =>
            {
                return;
            }
            Some(Envelope::Response { id: Some(id), .. }) => {
                // The channel it came on is gone; on the new one the same id may be another question.
                if self.asked.remove(id).is_some_and(|epoch| epoch != self.epoch) {
                    return;
                }
                self.touch_all();
            }
            _ => {}
        }
        self.admit(&message);
        self.route(message, false);
    }

    fn refuse(&mut self, message: &Message, failure: &Failure) {
        let answers = message.request_ids().map(|id| Command::Deliver(fault::answer(id, failure)));
        self.out.extend(answers);
    }

    /// Notes the requests of a message as open.
    fn admit(&mut self, message: &Message) {
        for id in message.request_ids() {
            self.open.insert(id.clone(), Call::new(message));
        }
        self.beat();
    }

    /// The client opens a session, its first or (on the same pipe) another.
    fn open_for_client(&mut self, message: Message) {
        let waits = |(held, _): &(Message, bool)| is_initialize(held);
        if self.phase == (Phase::Greeting { own: false }) || self.held.iter().any(waits) {
            let failure = Failure::new(Stage::Downstream, "a session is already being opened");
            return self.refuse(&message, &failure);
        }
        if self.handshake.take().is_some() {
            self.agreed = false;
            let what = "the client opened another session before the answer came";
            self.leave(&Failure::new(Stage::Downstream, what));
        }
        self.admit(&message);
        self.route(message, false);
    }

    /// A request that was never sent is cancelled here and now; true if that is all there is to do.
    fn cancelled_by_client(&mut self, message: &Message) -> bool {
        let Some(id) = notification::cancelled_id(message) else { return false };
        // What comes all the same is dropped (2024-11-05 basic/utilities/cancellation, "Behavior
        // Requirements").
        self.open.remove(&id);
        if self.phase == (Phase::Greeting { own: false }) && self.initialize_id() == Some(&id) {
            // A server that heeds it never answers, and nothing else would ever go out.
            self.handshake = None;
            let what = "the client gave up opening the session";
            self.leave(&Failure::new(Stage::Downstream, what));
            return true;
        }
        self.drop_unwanted()
    }

    /// Drops what waits and holds nothing but requests that want no answer any more; whether there was
    /// any.
    fn drop_unwanted(&mut self) -> bool {
        let before = self.held.len();
        let unwanted = |it: &Envelope| matches!(it, Envelope::Request { id, .. } if !self.open.contains_key(id));
        self.held.retain(|(held, _)| !held.envelopes().iter().all(unwanted));
        self.held.len() < before
    }

    /// Sends a message, or keeps it until it can be sent. `replayed`: it was sent before, and proven
    /// unprocessed.
    fn route(&mut self, message: Message, replayed: bool) {
        let calls = message.request_ids().next().is_some();
        if !calls && belongs_to_session(&message) {
            // The server may wait for it before it answers anything else.
            if self.is_up() {
                return self.send(message, What::Message { replayed });
            }
            tracing::debug!("what belongs to the session before is dropped");
            return;
        }
        match self.phase {
            Phase::Ready if is_initialize(&message) => self.greet(message),
            Phase::Ready if self.unconfirmed() && message.is_notification(INITIALIZED) => {
                self.confirm(message);
            }
            Phase::Ready => self.send(message, What::Message { replayed }),
            Phase::Opening | Phase::Greeting { .. } | Phase::Confirming(_) => {
                self.hold(message, replayed);
            }
            Phase::Down => {
                self.hold(message, replayed);
                self.connect();
            }
            Phase::Finished => {}
        }
    }

    fn hold(&mut self, message: Message, replayed: bool) {
        let calls = message.request_ids().next().is_some();
        if !calls && self.held.len() >= 4 * self.limits.in_flight {
            tracing::warn!("too many messages wait for the session, one notification is dropped");
            return;
        }
        self.held.push_back((message, replayed));
    }

    fn flush(&mut self) {
        for (message, replayed) in std::mem::take(&mut self.held) {
            self.route(message, replayed);
        }
    }

    fn send(&mut self, message: Message, what: What) {
        let Some(channel) = self.channel else { return };
        let body = match what {
            What::Open { own: true } => message.with_id(&self.own_id()),
            _ => message.bytes().clone(),
        };
        let post = matches!(self.kind, Kind::HttpSse { .. }).then(|| self.name());
        if what != (What::Open { own: true }) {
            for id in message.request_ids() {
                if let Some(call) = self.open.get_mut(id) {
                    (call.sent, call.post) = (true, post);
                }
            }
        }
        let Some(exchange) = post else { return self.out.push(Command::Send(channel, body)) };
        self.posts.insert(exchange, Posted { exchange, what, message, epoch: self.epoch });
        let context = Context { endpoint: self.endpoint.clone(), ..Context::default() };
        self.out.push(Command::Post { exchange, body, awaits: Awaits::Nothing, context });
    }

    fn name(&mut self) -> ExchangeId {
        self.next += 1;
        ExchangeId(self.next)
    }

    /// Whether messages can be sent.
    fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Greeting { .. } | Phase::Confirming(_) | Phase::Ready)
    }

    fn elapsed(&mut self, exchange: ExchangeId, due: Due) {
        match due {
            Due::Beat if exchange.0 == self.first => self.beaten(),
            Due::Reopen if exchange.0 == self.next && self.phase == Phase::Down => {
                if !self.closing {
                    self.connect();
                }
            }
            Due::Confirm if self.phase == Phase::Confirming(exchange) => self.ready(),
            Due::Lasting if self.channel == Some(exchange) => self.failures = 0,
            Due::Open if self.channel == Some(exchange) && self.phase == Phase::Opening => {
                self.opening_expired();
            }
            Due::Session if self.channel == Some(exchange) => self.replacing_expired(),
            Due::Beat | Due::Reopen | Due::Confirm | Due::Lasting | Due::Open | Due::Session => {}
        }
    }

    fn finish_if_done(&mut self) {
        let done = self.open.is_empty() && self.posts.is_empty();
        if self.closing && self.phase != Phase::Finished && done {
            self.shut();
            self.phase = Phase::Finished;
            self.out.push(Command::Finished);
        }
    }

    /// Answers what is still open, since there is no more time.
    fn expire(&mut self) {
        let failure = outcome::shut_down();
        for id in std::mem::take(&mut self.open).into_keys() {
            self.out.push(Command::Deliver(fault::answer(&id, &failure)));
        }
        self.held.clear();
        for id in std::mem::take(&mut self.posts).into_keys() {
            self.out.push(Command::Cancel(id));
        }
        self.closing = true;
    }
}

fn is_initialize(message: &Message) -> bool {
    matches!(message.single(), Some(Envelope::Request { method, .. }) if &**method == INITIALIZE)
}
