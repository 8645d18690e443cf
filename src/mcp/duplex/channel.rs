//! The channel: opened, lost and opened again, and the handshake on each.
//!
//! A new channel is a new session. The client's `initialize` is repeated on it under an id of our own,
//! what was proven unsent goes out, and the client is told to look at its lists.

use std::time::Duration;

use super::{Duplex, Kind, Phase, call::What, http_sse, websocket};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        exchange::{Awaits, Command, Context, Due, End, Endpoint, ExchangeId, Timer},
        fault,
        handshake::{Agreed, Handshake},
        message::{Id, Message},
        notification,
        session::call::backoff,
    },
};

/// How long an event stream may take to name its endpoint: it is the first thing on it.
const ENDPOINT_WITHIN: Duration = Duration::from_secs(10);
/// How long calls wait for `notifications/initialized` to be accepted, which could overtake it.
const HOLD_FOR_CONFIRMATION: Duration = Duration::from_secs(2);
/// A channel that lasted this long was a good one.
const LASTING: Duration = Duration::from_secs(10);
/// Channels in a row that may be lost before they are of use to what waits for them.
const MAX_FAILURES: u32 = 3;

impl Duplex {
    pub(super) fn connect(&mut self) {
        let exchange = self.name();
        (self.channel, self.phase, self.answered) = (Some(exchange), Phase::Opening, false);
        self.out.push(match self.kind {
            Kind::HttpSse { .. } => Command::Listen {
                exchange,
                context: Context::default(),
                resume: None,
                awaits: Awaits::Stream,
                after: Duration::ZERO,
            },
            Kind::WebSocket => Command::Connect(exchange),
        });
        self.expect(Due::Open, self.limits.idle);
    }

    /// Has it looked at whether the channel has come as far as it should have.
    fn expect(&mut self, due: Due, within: Duration) {
        if let Some(channel) = self.channel {
            self.out.push(Command::After(within, Timer::Channel(channel, due)));
        }
    }

    pub(super) fn head(&mut self, exchange: ExchangeId) {
        if self.channel != Some(exchange) || self.phase != Phase::Opening {
            return;
        }
        match self.kind {
            Kind::WebSocket => self.opened(),
            Kind::HttpSse { .. } => {
                self.answered = true;
                self.expect(Due::Open, ENDPOINT_WITHIN.min(self.limits.idle));
            }
        }
    }

    /// 2024-11-05 transports, "HTTP with SSE": the server sends an `endpoint` event with the URI for
    /// messages.
    pub(super) fn endpoint_named(&mut self, exchange: ExchangeId, named: &Endpoint) {
        let Kind::HttpSse { url, .. } = &self.kind else { return };
        if self.channel != Some(exchange) {
            return;
        }
        match http_sse::endpoint(&self.upstream, url, named) {
            Ok(endpoint) => {
                self.endpoint = Some(endpoint);
                if self.phase == Phase::Opening {
                    self.opened();
                }
            }
            Err(failure) => self.give_up(&failure),
        }
    }

    fn opened(&mut self) {
        self.epoch += 1;
        tracing::info!(epoch = self.epoch, "channel opened");
        self.expect(Due::Lasting, LASTING);
        match &self.handshake {
            Some(handshake) if self.agreed => {
                let message = handshake.initialize.clone();
                self.phase = Phase::Greeting { own: true };
                self.send(message, What::Open { own: true });
                self.expect(Due::Session, self.limits.idle);
            }
            _ => self.ready(),
        }
    }

    /// The channel is not open in time.
    pub(super) fn opening_expired(&mut self) {
        let (upstream, idle) = (&self.upstream, self.limits.idle);
        let what = if self.answered {
            let limit = humantime::format_duration(ENDPOINT_WITHIN.min(idle));
            format!("{upstream} named no endpoint on its event stream within {limit}")
        } else {
            format!("{upstream} did not answer within {}", humantime::format_duration(idle))
        };
        self.give_up(&Failure::new(Stage::Protocol, what));
    }

    /// The session is not replaced in time.
    pub(super) fn replacing_expired(&mut self) {
        if self.phase == (Phase::Greeting { own: true }) {
            let limit = humantime::format_duration(self.limits.idle);
            let what = format!("{} did not open another session within {limit}", self.upstream);
            self.give_up(&Failure::new(Stage::Response, what));
        }
    }

    /// Drops the channel, which is of no use.
    pub(super) fn give_up(&mut self, cause: &Failure) {
        self.drop_channel();
        self.down(cause);
    }

    /// The channel is no more.
    pub(super) fn channel_ended(&mut self, end: End) {
        let upstream = &self.upstream;
        let cause = match (end, &self.kind) {
            (End::Broken(failure), _) => failure,
            (End::Complete { .. }, _) => {
                Failure::new(Stage::Response, format!("{upstream} ended the event stream"))
            }
            (End::Idle(limit), _) => {
                let limit = humantime::format_duration(limit);
                Failure::new(Stage::Response, format!("{upstream} did not answer within {limit}"))
            }
            (End::Refused(refusal), Kind::HttpSse { .. }) => refusal.explain(upstream),
            (End::Refused(refusal), Kind::WebSocket) => websocket::refused(upstream, &refusal),
        };
        self.channel = None;
        self.down(&cause);
    }

    fn down(&mut self, cause: &Failure) {
        let before = std::mem::replace(&mut self.phase, Phase::Down);
        self.endpoint = None;
        match before {
            Phase::Opening => {
                let failure = match &self.kind {
                    Kind::HttpSse { refusal: Some(first), .. } if !self.agreed => {
                        http_sse::refused_twice(first, cause)
                    }
                    _ => cause.clone(),
                };
                match self.failures {
                    0 | 1 => tracing::warn!(%failure, "no channel could be opened"),
                    _ => tracing::debug!(%failure, "no channel could be opened"),
                }
                self.fail_held(&failure);
            }
            Phase::Greeting { own: true } => {
                tracing::warn!(failure = %cause, "the session could not be replaced");
                self.lost(cause);
                self.fail_held(cause);
            }
            Phase::Greeting { own: false } => {
                self.handshake = None;
                self.lost(cause);
                self.fail_held(cause);
            }
            Phase::Confirming(_) | Phase::Ready => {
                tracing::info!(failure = %cause, "the channel was lost, and the session with it");
                self.lost(cause);
                if self.failures >= MAX_FAILURES {
                    self.fail_held(cause);
                }
            }
            Phase::Down | Phase::Finished => return,
        }
        self.reopen();
    }

    /// What was on the channel is lost with it.
    fn lost(&mut self, cause: &Failure) {
        self.answer_lost(cause);
        // Questions can't be answered any more: the client may drop them. They stay known, so that an
        // answer that comes all the same is not taken for one to a question on the next channel.
        for id in self.asked.iter().filter(|(_, epoch)| **epoch == self.epoch).map(|(id, _)| id) {
            let line = notification::cancel(id, "the server lost the session");
            self.out.push(Command::Deliver(line));
        }
        self.epoch += 1;
    }

    /// Opens the next channel: at once for what waits, after a pause where there is a session to
    /// listen to, and else when the client speaks again.
    fn reopen(&mut self) {
        self.failures += 1;
        let waits = self.held.iter().any(|(message, _)| message.request_ids().next().is_some());
        if waits {
            return self.connect();
        }
        if !self.agreed || self.closing {
            return;
        }
        match self.failures {
            1 => self.connect(),
            more => {
                let timer = Timer::Channel(ExchangeId(self.next), Due::Reopen);
                self.out.push(Command::After(backoff(more - 2), timer));
            }
        }
    }

    /// The server does not know the session any more.
    pub(super) fn session_lost(&mut self, cause: &Failure) {
        if self.is_up() {
            self.give_up(cause);
        }
    }

    /// Ends the channel because the client begins anew.
    pub(super) fn leave(&mut self, cause: &Failure) {
        self.shut();
        let was = std::mem::replace(&mut self.phase, Phase::Down);
        if was != Phase::Opening && was != Phase::Down {
            self.lost(cause);
        }
        self.fail_held(cause);
        self.endpoint = None;
    }

    /// Ends the channel in its own way.
    pub(super) fn shut(&mut self) {
        match (self.channel.take(), &self.kind) {
            (Some(channel), Kind::WebSocket) if self.is_up() => {
                self.out.push(Command::Close(channel));
            }
            (Some(channel), _) => self.out.push(Command::Cancel(channel)),
            (None, _) => {}
        }
    }

    fn drop_channel(&mut self) {
        if let Some(channel) = self.channel.take() {
            self.out.push(Command::Cancel(channel));
        }
    }

    // The handshake.

    /// The id of our own `initialize`.
    pub(super) fn own_id(&self) -> String {
        format!("\"countersign-{}\"", self.epoch)
    }

    /// The id of the client's.
    pub(super) fn initialize_id(&self) -> Option<&Id> {
        self.handshake.as_ref()?.initialize.request_ids().next()
    }

    /// The client's `initialize` goes out.
    pub(super) fn greet(&mut self, initialize: Message) {
        self.handshake = Some(Handshake { initialize: initialize.clone(), initialized: None });
        self.agreed = false;
        self.phase = Phase::Greeting { own: false };
        self.send(initialize, What::Open { own: false });
    }

    /// The client's `initialize` was answered.
    pub(super) fn greeted(&mut self, agreed: Option<Agreed>) {
        self.agreed = agreed.is_some();
        self.sessions += 1;
        if !self.agreed {
            self.handshake = None;
        }
        self.ready();
    }

    /// Our own `initialize` was answered.
    pub(super) fn greeted_again(&mut self, agreed: Option<Agreed>) {
        let Some(agreed) = agreed else {
            let what = format!("{} refused to open another session", self.upstream);
            let failure = Failure::new(Stage::Protocol, what)
                .hint("restart the MCP client's connection to this server");
            return self.give_up(&failure);
        };
        self.sessions += 1;
        tracing::info!(epoch = self.epoch, "session replaced");
        for list in agreed.lists {
            self.out.push(Command::Deliver(notification::list_changed(list)));
        }
        match self.handshake.as_ref().and_then(|handshake| handshake.initialized.clone()) {
            Some(initialized) => self.confirm(initialized),
            // The client's own `initialized` is still to come.
            None => self.ready(),
        }
    }

    /// Whether the client's `notifications/initialized` is still to come.
    pub(super) fn unconfirmed(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| handshake.initialized.is_none())
    }

    pub(super) fn confirm(&mut self, initialized: Message) {
        if let Some(handshake) = &mut self.handshake {
            handshake.initialized = Some(initialized.clone());
        }
        self.send(initialized, What::Confirm);
        if matches!(self.kind, Kind::WebSocket) {
            return self.ready();
        }
        let exchange = ExchangeId(self.next);
        self.phase = Phase::Confirming(exchange);
        let timer = Timer::Channel(exchange, Due::Confirm);
        self.out.push(Command::After(HOLD_FOR_CONFIRMATION, timer));
    }

    pub(super) fn ready(&mut self) {
        self.phase = Phase::Ready;
        self.flush();
    }

    /// Answers what waits with a failure: none of it was sent.
    fn fail_held(&mut self, failure: &Failure) {
        for (message, _) in std::mem::take(&mut self.held) {
            for id in message.request_ids() {
                if self.open.remove(id).is_some() {
                    self.out.push(Command::Deliver(fault::answer(id, failure)));
                }
            }
            if message.request_ids().next().is_none() {
                tracing::warn!("a notification of the client could not be sent");
            }
        }
    }
}
