//! The MCP session between one stdio client and one Streamable HTTP server, without any IO.
//!
//! Events come in, commands go out; time is a command too. Speaks the revisions 2025-03-26,
//! 2025-06-18 and 2025-11-25 (basic/transports). It sees to it that each request of the client
//! gets exactly one answer, that calls wait for the session to stand, and that a lost session
//! is replaced without the client doing anything (`recovery`).

mod arrival;
pub(super) mod call;
pub(super) mod ending;
mod recovery;
#[cfg(test)]
mod tests;
mod waiting;

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use self::call::{Exchange, Role};
use super::{
    exchange::{Awaits, Command, Context, End, Event, ExchangeId, Limits, Position, Timer},
    fault,
    handshake::Handshake,
    message::{Envelope, Id, Message},
    notification, outcome,
};
use crate::failure::{Failure, Stage};

/// How long the first calls wait for the GET stream's headers: servers send requests on it and
/// keep nothing, and some send its headers only after many seconds.
const HOLD_FOR_STREAM: Duration = Duration::from_millis(500);
/// How long they wait for `notifications/initialized` to be accepted.
const HOLD_FOR_CONFIRMATION: Duration = Duration::from_secs(2);
const INITIALIZED: &str = "notifications/initialized";
/// Requests of the server whose answers are tracked; beyond it the oldest rule is: pass it on.
const MAX_ASKED: usize = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No session: messages go as they are.
    Idle,
    /// An `initialize` is in flight.
    Opening,
    /// The client's `initialize` is answered, its `notifications/initialized` not yet seen.
    Opened,
    /// `notifications/initialized` is in flight.
    Confirming,
    /// The GET stream's head has not arrived.
    Listening(ExchangeId),
    Ready,
    /// The session is gone and could not be replaced; the next message tries again.
    Lost,
    Finished,
}

/// Whether the server offers the GET stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offered {
    Unknown,
    Yes,
    No,
}

/// The session. See the module's head.
#[derive(Debug)]
pub struct Session {
    upstream: String,
    limits: Limits,
    phase: Phase,
    /// Counts the sessions with the server, so that what belongs to an old one is known.
    epoch: u64,
    context: Context,
    handshake: Option<Handshake>,
    /// The last failures to replace the session, in a row.
    reopen_failures: u32,
    stream: Option<ExchangeId>,
    offered: Offered,
    /// The server once had a stream: it is worth replacing a lost session before the next call.
    had_stream: bool,
    exchanges: HashMap<ExchangeId, Exchange>,
    next: u64,
    /// Each unanswered request of the client, with the exchange that carries it.
    open: HashMap<Id, Option<ExchangeId>>,
    held: VecDeque<(Message, bool)>,
    /// Requests of the server that the client has not answered, with their session.
    asked: HashMap<Id, u64>,
    /// Sessions in a row that the server dropped before they answered anything.
    churn: u32,
    closing: bool,
    out: Vec<Command>,
}

impl Session {
    /// A session with `upstream` (its origin, for messages); nothing happens before the client
    /// speaks.
    #[must_use]
    pub fn new(upstream: impl Into<String>, limits: Limits) -> Self {
        Self::named_from(upstream, limits, 0)
    }

    /// Such a session among others: the names of its exchanges, and the counts in its timers, begin at
    /// `first`.
    #[must_use]
    pub fn named_from(upstream: impl Into<String>, limits: Limits, first: u64) -> Self {
        Self {
            upstream: upstream.into(),
            limits,
            phase: Phase::Idle,
            epoch: first,
            context: Context::default(),
            handshake: None,
            reopen_failures: 0,
            stream: None,
            offered: Offered::Unknown,
            had_stream: false,
            exchanges: HashMap::new(),
            next: first,
            open: HashMap::new(),
            held: VecDeque::new(),
            asked: HashMap::new(),
            churn: 0,
            closing: false,
            out: Vec::new(),
        }
    }

    /// Takes in what happened and returns what is to be done.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        match event {
            Event::FromClient(message) => self.client_sent(message),
            Event::Head(exchange, session) => self.head(exchange, session),
            Event::FromServer(exchange, message) => self.server_sent(exchange, &message),
            // A word of HTTP+SSE, the transport before sessions had ids.
            Event::Endpoint(..) => {}
            Event::Ended(exchange, end, position) => self.ended(exchange, end, position),
            Event::Elapsed(timer) => self.elapsed(timer),
            Event::ClientClosed => self.closing = true,
            Event::Expired => self.expire(),
        }
        self.finish_if_done();
        std::mem::take(&mut self.out)
    }

    /// Whether there is a session, or one is being opened.
    #[must_use]
    pub fn stands(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Finished)
    }

    /// Whether the requests of an exchange are all answered: its response needs no more patience.
    #[must_use]
    pub fn settled(&self, exchange: ExchangeId) -> bool {
        let exchange = self.exchanges.get(&exchange);
        exchange.is_none_or(|it| it.role == Role::Call && it.unanswered.is_empty())
    }

    /// Counts the sessions with the server: it changes when one takes another's place.
    pub(super) fn generation(&self) -> u64 {
        self.epoch
    }

    /// The unanswered request that an exchange carries, if that is what it carries.
    pub(super) fn carried(&self, exchange: ExchangeId) -> Option<&Id> {
        self.exchanges.get(&exchange)?.unanswered.first()
    }

    /// Whether an exchange carries the client's `initialize`.
    pub(super) fn opens(&self, exchange: ExchangeId) -> bool {
        self.phase == Phase::Opening
            && self.exchanges.get(&exchange).is_some_and(|it| it.role == Role::Open { own: false })
    }

    /// Gives up the client's `initialize` on `exchange`, and all that waits for it, to another machine;
    /// none where `exchange` carries none.
    pub fn surrender(&mut self, exchange: ExchangeId) -> Option<Vec<Message>> {
        let opens = |it: &Exchange| it.role == Role::Open { own: false };
        self.exchanges.get(&exchange).filter(|it| opens(it))?;
        let message = self.exchanges.remove(&exchange)?.message?;
        (self.phase, self.handshake) = (Phase::Idle, None);
        // They may come back, after the end of input too; it is told of that again.
        self.closing = false;
        let held = std::mem::take(&mut self.held).into_iter().map(|(message, _)| message);
        let given: Vec<Message> = std::iter::once(message).chain(held).collect();
        for id in given.iter().flat_map(Message::request_ids) {
            self.open.remove(id);
        }
        Some(given)
    }

    fn client_sent(&mut self, message: Message) {
        if let Some(refusal) = self.limits.refuse(&self.open, &message) {
            let answers =
                message.request_ids().map(|id| Command::Deliver(fault::answer(id, &refusal)));
            self.out.extend(answers);
            return;
        }
        match message.single() {
            Some(Envelope::Request { method, .. }) if &**method == "initialize" => {
                return self.open_for_client(message);
            }
            Some(Envelope::Notification { method }) => match &**method {
                "notifications/cancelled" if self.cancelled_by_client(&message) => return,
                _ => {}
            },
            // The session that asked is gone; in the new one the same id may be another question.
            Some(Envelope::Response { id: Some(id), .. })
                if self.asked.remove(id).is_some_and(|epoch| epoch != self.epoch) =>
            {
                return;
            }
            _ => {}
        }
        for id in message.request_ids() {
            self.open.insert(id.clone(), None);
        }
        self.route(message);
    }

    fn post(&mut self, message: Message, replayed: bool) {
        let calls = message.request_ids().next().is_some();
        let role = if calls { Role::Call } else { Role::Notice };
        self.post_as(role, message, replayed);
    }

    fn post_as(&mut self, role: Role, message: Message, replayed: bool) {
        let body = match role {
            Role::Open { own: true } => message.with_id(&self.own_id()),
            _ => message.bytes().clone(),
        };
        let context = self.context.clone();
        let mut exchange = Exchange::new(role, self.epoch, context.clone(), Some(message));
        exchange.replayed = replayed;
        let id = self.name();
        if let Role::Open { own: true } = role {
            exchange.unanswered.clear();
        }
        for request in &exchange.unanswered {
            self.open.insert(request.clone(), Some(id));
        }
        self.exchanges.insert(id, exchange);
        let awaits = match role {
            Role::Call | Role::Open { .. } => Awaits::Answer,
            Role::Confirm | Role::Notice | Role::Listen => Awaits::Nothing,
        };
        self.out.push(Command::Post { exchange: id, body, awaits, context });
    }

    fn name(&mut self) -> ExchangeId {
        self.next += 1;
        ExchangeId(self.next)
    }

    /// The client opens a session, its first or (on the same pipe) another.
    fn open_for_client(&mut self, message: Message) {
        self.abandon_own_opening();
        if self.phase == Phase::Opening {
            let failure = Failure::new(Stage::Downstream, "a session is already being opened");
            let answers =
                message.request_ids().map(|id| Command::Deliver(fault::answer(id, &failure)));
            self.out.extend(answers);
            return;
        }
        self.leave();
        self.handshake = Some(Handshake { initialize: message.clone(), initialized: None });
        self.phase = Phase::Opening;
        self.post_as(Role::Open { own: false }, message, false);
    }

    /// Our own replay of the handshake gives way to the client's new one.
    fn abandon_own_opening(&mut self) {
        let mut exchanges = self.exchanges.iter();
        let own = exchanges.find(|(_, it)| it.role == Role::Open { own: true });
        if let Some((id, _)) = own {
            let id = *id;
            self.exchanges.remove(&id);
            self.out.push(Command::Cancel(id));
            self.phase = Phase::Lost;
        }
    }

    fn confirm(&mut self, message: Message) {
        if let Some(handshake) = &mut self.handshake {
            handshake.initialized = Some(message.clone());
        }
        self.phase = Phase::Confirming;
        self.post_as(Role::Confirm, message, false);
        self.out.push(Command::After(HOLD_FOR_CONFIRMATION, Timer::Confirm(self.epoch)));
    }

    /// A request that was never sent is cancelled here and now; true if that is all there is
    /// to do.
    fn cancelled_by_client(&mut self, message: &Message) -> bool {
        let Some(id) = notification::cancelled_id(message) else { return false };
        let before = self.held.len();
        self.held
            .retain(|(held, _)| held.single().is_none() || !held.request_ids().any(|h| *h == id));
        if self.held.len() < before {
            self.open.remove(&id);
            return true;
        }
        // It needs no answer any more: what comes all the same is dropped (2025-11-25
        // basic/utilities/cancellation, "Behavior Requirements").
        if let Some(Some(exchange)) = self.open.remove(&id)
            && let Some(exchange) = self.exchanges.get_mut(&exchange)
        {
            exchange.unanswered.retain(|open| *open != id);
        }
        false
    }

    fn elapsed(&mut self, timer: Timer) {
        match (timer, self.phase) {
            (Timer::Confirm(epoch), Phase::Confirming) if epoch == self.epoch => self.listen(),
            (Timer::Stream(epoch), Phase::Listening(_)) if epoch == self.epoch => self.ready(),
            (Timer::Reopen(epoch), Phase::Lost) if epoch == self.epoch && !self.closing => {
                self.reopen();
            }
            _ => {}
        }
    }

    /// Opens the GET stream; calls are held until its head is there.
    fn listen(&mut self) {
        let id = self.name();
        let context = self.context.clone();
        let exchange = Exchange::new(Role::Listen, self.epoch, context.clone(), None);
        self.exchanges.insert(id, exchange);
        self.stream = Some(id);
        self.phase = Phase::Listening(id);
        self.out.push(Command::Listen {
            exchange: id,
            context,
            resume: None,
            awaits: Awaits::Stream,
            after: Duration::ZERO,
        });
        self.out.push(Command::After(HOLD_FOR_STREAM, Timer::Stream(self.epoch)));
    }

    fn ready(&mut self) {
        self.phase = Phase::Ready;
        self.reopen_failures = 0;
        self.flush();
    }

    /// Ends the session with the server, and with it the GET stream.
    fn leave(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.exchanges.remove(&stream);
            self.out.push(Command::Cancel(stream));
        }
        let context = std::mem::take(&mut self.context);
        if context.session.is_some() {
            self.out.push(Command::End(context));
        }
        self.epoch += 1;
        self.offered = Offered::Unknown;
    }

    fn finish_if_done(&mut self) {
        if !self.closing || self.phase == Phase::Finished || !self.held.is_empty() {
            return;
        }
        let busy = |it: &Exchange| match it.role {
            Role::Listen => false,
            Role::Call => !it.unanswered.is_empty(),
            Role::Open { .. } | Role::Confirm | Role::Notice => true,
        };
        if self.exchanges.values().any(busy) {
            return;
        }
        self.leave();
        self.phase = Phase::Finished;
        self.out.push(Command::Finished);
    }

    /// Answers what is still open, since there is no more time.
    fn expire(&mut self) {
        let failure = outcome::shut_down();
        for id in std::mem::take(&mut self.open).into_keys() {
            self.out.push(Command::Deliver(fault::answer(&id, &failure)));
        }
        self.held.clear();
        for id in std::mem::take(&mut self.exchanges).into_keys() {
            self.out.push(Command::Cancel(id));
        }
        self.stream = None;
        self.closing = true;
    }
}
