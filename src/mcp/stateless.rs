//! The stateless era, 2026-07-28 and later, between one stdio client and one Streamable HTTP server,
//! without any IO.
//!
//! Every request is a POST of its own, with headers that repeat its body; a cancelled one is a stream
//! that is closed. Nothing is resumed and nothing is sent twice, save what the server proves not to
//! have looked at (`mismatch`). What the two say to each other passes as it is.

mod arrival;
mod ending;
mod mismatch;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, time::Duration};

pub(super) use self::arrival::discovers;
use self::mismatch::Relisting;
use super::{
    annotations::Annotations,
    era::Era,
    exchange::{Awaits, Command, Context, Event, ExchangeId, Limits, Timer},
    fault,
    message::{Envelope, Id, Message},
    metadata::Metadata,
    notification, outcome,
};
use crate::failure::{Failure, Stage};

/// How long a server may take to say which era it is of: an old one may say nothing at all (stdio,
/// "Backward Compatibility").
const PROBE: Duration = Duration::from_secs(10);

/// The stateless exchanges. See the module's head.
#[derive(Debug)]
pub struct Stateless {
    upstream: String,
    limits: Limits,
    /// What the upstream has shown to be, kept for the process.
    era: Option<Era>,
    annotations: Annotations,
    calls: HashMap<ExchangeId, Call>,
    /// Each unanswered request of the client, with the exchange that carries it; with none, it waits
    /// for the list of tools.
    open: HashMap<Id, Option<ExchangeId>>,
    relisting: Relisting,
    next: u64,
    closing: bool,
    finished: bool,
    out: Vec<Command>,
}

/// A request on its way.
#[derive(Debug)]
struct Call {
    /// None once it is answered.
    id: Option<Id>,
    kind: Kind,
    message: Message,
    context: Context,
    /// It was refused for its headers once.
    corrected: bool,
}

/// What is done with the answer of a request, beyond passing it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `server/discover`: it says what the upstream is.
    Discover,
    /// `tools/list`: annotations are learned from it.
    Tools,
    /// `tools/call`: arguments of it may be repeated in headers.
    Tool,
    /// `subscriptions/listen`: its answer is a stream without end.
    Subscription,
    /// A `tools/list` of our own.
    Relist,
    Other,
}

impl Stateless {
    /// The exchanges with `upstream` (its origin, for messages). Their names begin at `first`.
    #[must_use]
    pub fn new(upstream: impl Into<String>, limits: Limits, first: u64) -> Self {
        Self {
            upstream: upstream.into(),
            limits,
            era: None,
            annotations: Annotations::default(),
            calls: HashMap::new(),
            open: HashMap::new(),
            relisting: Relisting::default(),
            next: first,
            closing: false,
            finished: false,
            out: Vec::new(),
        }
    }

    /// Takes in what happened and returns what is to be done.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        match event {
            Event::FromClient(message) => self.client_sent(message),
            // There are no sessions here ("Earlier Streamable HTTP Revisions").
            Event::Head(..) | Event::Endpoint(..) => {}
            Event::FromServer(exchange, message) => self.server_sent(exchange, &message),
            Event::Ended(exchange, end, _) => self.ended(exchange, end),
            Event::Elapsed(Timer::Probe(exchange)) => self.probe_elapsed(exchange),
            Event::Elapsed(_) => {}
            Event::ClientClosed => self.close(),
            Event::Expired => self.expire(),
        }
        self.finish_if_done();
        std::mem::take(&mut self.out)
    }

    /// Whether the request of an exchange is answered: its response needs no more patience.
    #[must_use]
    pub fn settled(&self, exchange: ExchangeId) -> bool {
        // A list that we have asked for ourselves goes with its answer.
        let answered = |call: &Call| call.id.is_none() && call.kind != Kind::Relist;
        self.calls.get(&exchange).is_none_or(answered)
    }

    /// What the upstream has shown to be.
    pub(super) fn era(&self) -> Option<Era> {
        self.era
    }

    /// Takes over what the upstream has shown to be.
    pub(super) fn shown(&mut self, era: Era) {
        if self.era.replace(era) != Some(era) {
            tracing::info!(?era, "the upstream has shown its era");
        }
    }

    /// Forgets what the upstream has shown to be: it is asked again.
    pub(super) fn reconsider(&mut self) {
        self.era = None;
    }

    /// Whether an exchange carries a `server/discover` without an answer.
    pub(super) fn probes(&self, exchange: ExchangeId) -> bool {
        let call = self.calls.get(&exchange);
        call.is_some_and(|call| call.kind == Kind::Discover && call.id.is_some())
    }

    /// Gives up the unanswered request of an exchange to another machine, since the server does not
    /// know this era; none where it carries none.
    pub(super) fn surrender(&mut self, exchange: ExchangeId) -> Option<Message> {
        self.calls.get(&exchange)?.id.as_ref()?;
        let call = self.calls.remove(&exchange)?;
        self.open.remove(call.id.as_ref()?);
        self.shown(Era::Legacy);
        Some(call.message)
    }

    fn client_sent(&mut self, message: Message) {
        match message.single() {
            Some(Envelope::Request { id, method }) => {
                if let Some(refusal) = self.limits.refuse(&self.open, &message) {
                    return self.out.push(Command::Deliver(fault::answer(id, &refusal)));
                }
                let kind = Kind::of(method);
                if kind == Kind::Discover && self.era == Some(Era::Legacy) {
                    let refusal = self.too_old(id);
                    return self.out.push(Command::Deliver(refusal));
                }
                self.open.insert(id.clone(), None);
                let call = Call {
                    id: Some(id.clone()),
                    kind,
                    context: Context::default(),
                    corrected: false,
                    message,
                };
                self.post(call);
            }
            Some(Envelope::Notification { method }) if &**method == "notifications/cancelled" => {
                self.cancelled(&message);
            }
            // None is defined; one of an extension goes as it is.
            Some(Envelope::Notification { .. }) => self.notify(message),
            // There is nobody to have asked ("Sending Messages" 4).
            Some(Envelope::Response { .. }) => {
                tracing::warn!(
                    "a response of the client is dropped: nothing asks in this revision"
                );
            }
            None => {
                let failure = Failure::new(Stage::Downstream, "batches ended with 2025-03-26")
                    .hint("send each message in a line of its own");
                let answers =
                    message.request_ids().map(|id| Command::Deliver(fault::answer(id, &failure)));
                self.out.extend(answers);
            }
        }
    }

    /// Sends a request, with the headers that it has by what is known now.
    fn post(&mut self, mut call: Call) {
        call.context = self.context(&call.message);
        let exchange = self.name();
        if let Some(id) = &call.id {
            self.open.insert(id.clone(), Some(exchange));
        }
        let awaits = match call.kind {
            Kind::Subscription => Awaits::Stream,
            _ => Awaits::Answer,
        };
        let (body, context) = (call.message.bytes().clone(), call.context.clone());
        let probes = call.kind == Kind::Discover && self.era.is_none();
        self.calls.insert(exchange, call);
        self.out.push(Command::Post { exchange, body, awaits, context });
        if probes {
            self.out.push(Command::After(PROBE, Timer::Probe(exchange)));
        }
    }

    fn notify(&mut self, message: Message) {
        let (exchange, context) = (self.name(), self.context(&message));
        let body = message.bytes().clone();
        self.out.push(Command::Post { exchange, body, awaits: Awaits::Nothing, context });
    }

    /// The headers that repeat what is in a message's body ("Request Metadata").
    fn context(&self, message: &Message) -> Context {
        let (Some(Envelope::Request { method, .. }) | Some(Envelope::Notification { method })) =
            message.single()
        else {
            return Context::default();
        };
        let metadata = Metadata::of(message, method);
        let mut mirrored: Vec<_> = metadata.standard(method).collect();
        if let (Kind::Tool, Some(tool)) = (Kind::of(method), &metadata.name) {
            mirrored.extend(self.annotations.headers(tool, metadata.arguments));
        }
        let version = metadata.version_header();
        Context { session: None, version, mirrored: Some(mirrored.into()), endpoint: None }
    }

    fn name(&mut self) -> ExchangeId {
        self.next += 1;
        ExchangeId(self.next)
    }

    /// Closes the stream of a request, which is how a server is told; it needs no answer any more
    /// (cancellation, "Transport-Specific Cancellation").
    fn cancelled(&mut self, message: &Message) {
        let Some(id) = notification::cancelled_id(message) else { return };
        match self.open.remove(&id) {
            Some(Some(exchange)) => {
                self.calls.remove(&exchange);
                self.out.push(Command::Cancel(exchange));
            }
            Some(None) => self.relisting.forget(&id),
            None => tracing::debug!(id = id.token(), "what is cancelled is not in flight"),
        }
    }

    /// The client is gone: its subscriptions end, its calls are awaited.
    fn close(&mut self) {
        self.closing = true;
        let subscriptions = self.calls.iter().filter(|(_, call)| call.kind == Kind::Subscription);
        let subscriptions: Vec<ExchangeId> = subscriptions.map(|(exchange, _)| *exchange).collect();
        for exchange in subscriptions {
            if let Some(id) = self.calls.remove(&exchange).and_then(|call| call.id) {
                self.open.remove(&id);
            }
            self.out.push(Command::Cancel(exchange));
        }
    }

    /// Answers what is still open, since there is no more time.
    fn expire(&mut self) {
        let failure = outcome::shut_down();
        for id in std::mem::take(&mut self.open).into_keys() {
            self.out.push(Command::Deliver(fault::answer(&id, &failure)));
        }
        for exchange in std::mem::take(&mut self.calls).into_keys() {
            self.out.push(Command::Cancel(exchange));
        }
        self.relisting = Relisting::default();
        self.closing = true;
    }

    fn finish_if_done(&mut self) {
        if self.closing && !self.finished && self.open.is_empty() {
            self.finished = true;
            self.out.push(Command::Finished);
        }
    }
}

impl Kind {
    fn of(method: &str) -> Self {
        match method {
            "server/discover" => Self::Discover,
            "tools/list" => Self::Tools,
            "tools/call" => Self::Tool,
            "subscriptions/listen" => Self::Subscription,
            _ => Self::Other,
        }
    }
}
