//! A legacy client before a modern server (2026-07-28 versioning, "Compatibility Matrix"): the client
//! initializes and is asked, the server is told everything with each request.
//!
//! Stands on the client side of the stateless machine and owns it. Each request of the client gets one
//! answer, whatever number of requests to the server it takes; what is cancelled gets none. Results are
//! spliced, never re-serialised.

mod answer;
mod calls;
mod input;
mod opening;
mod profile;
mod round;
mod subscription;
#[cfg(test)]
mod tests;
mod tools;

use std::collections::HashMap;

use bytes::Bytes;

use self::{calls::Call, profile::Profile, subscription::Subscription};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        era::Era,
        exchange::{Command, Event, ExchangeId, Limits, Timer},
        fault,
        message::{Envelope, Id, Message},
        notification, outcome,
        refusal::INVALID_PARAMS,
        stateless::Stateless,
    },
};

/// What we ask the server for on our own account beside the client's requests: two subscriptions, while
/// one replaces the other, and one that is just being closed.
const OWN: usize = 3;

/// The translator. See the module's head.
#[derive(Debug)]
pub struct Forward {
    upstream: String,
    limits: Limits,
    inner: Stateless,
    profile: Profile,
    subscription: Subscription,
    /// The client's requests that have no answer yet, by the ids that the client gave them.
    calls: HashMap<Id, Call>,
    /// What waits for an answer of the server, by the ids that the server was given.
    sent: HashMap<Id, Purpose>,
    /// What waits for an answer of the client.
    asked: HashMap<Id, Asked>,
    /// Ids and timers of our own are counted.
    count: u64,
    closing: bool,
    finished: bool,
    out: Vec<Command>,
}

/// Why something was sent to the server.
#[derive(Debug)]
enum Purpose {
    /// For the request that the client calls so.
    Call(Id),
    /// For the subscription so counted.
    Subscription(u64),
}

/// A question to the client.
#[derive(Debug)]
struct Asked {
    /// The request of the client that needs it.
    call: Id,
    method: Box<str>,
}

impl Forward {
    /// A translator before `upstream` (its origin, for messages). Its exchanges' names begin at `first`.
    #[must_use]
    pub fn new(upstream: impl Into<String>, limits: Limits, first: u64) -> Self {
        let upstream = upstream.into();
        let wider = Limits { in_flight: limits.in_flight.saturating_add(OWN), ..limits };
        Self {
            inner: Stateless::new(upstream.clone(), wider, first),
            upstream,
            limits,
            profile: Profile::default(),
            subscription: Subscription::default(),
            calls: HashMap::new(),
            sent: HashMap::new(),
            asked: HashMap::new(),
            count: 0,
            closing: false,
            finished: false,
            out: Vec::new(),
        }
    }

    /// Takes in what happened and returns what is to be done.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        match event {
            Event::FromClient(message) => self.client_sent(message),
            Event::FromServer(exchange, message) => {
                let (stream, came) = (self.subscription.carried_by(exchange), message.clone());
                let commands = self.inner.handle(Event::FromServer(exchange, message));
                self.carry_out(commands, Some(&came), stream);
            }
            Event::Elapsed(Timer::Subscription(number)) => self.subscription_elapsed(number),
            Event::Elapsed(Timer::Again(number)) => self.pause_elapsed(number),
            Event::ClientClosed => self.close(),
            Event::Expired => self.expire(),
            event => {
                let commands = self.inner.handle(event);
                self.carry_out(commands, None, None);
            }
        }
        if self.closing && !self.finished && self.calls.is_empty() {
            self.finished = true;
            self.out.push(Command::Finished);
        }
        std::mem::take(&mut self.out)
    }

    /// Whether the request of an exchange is answered: its response needs no more patience.
    #[must_use]
    pub fn settled(&self, exchange: ExchangeId) -> bool {
        self.inner.settled(exchange)
    }

    /// What the upstream has shown to be.
    pub(in crate::mcp) fn era(&self) -> Option<Era> {
        self.inner.era()
    }

    /// The upstream may be another than it was: it is asked again.
    pub(in crate::mcp) fn reconsider(&mut self) {
        self.inner.reconsider();
    }

    fn client_sent(&mut self, message: Message) {
        match message.single() {
            Some(Envelope::Request { id, method }) => {
                let (id, method) = (id.clone(), method.clone());
                match self.limits.refuse(&self.calls, &message) {
                    Some(refusal) => self.deliver(fault::answer(&id, &refusal)),
                    None => self.requested(id, &method, &message),
                }
            }
            Some(Envelope::Notification { method }) => {
                let method = method.clone();
                self.notified(&method, message);
            }
            Some(Envelope::Response { id: Some(id), error }) => {
                let (id, error) = (id.clone(), error.clone());
                self.client_answered(&id, error.as_deref(), &message);
            }
            Some(Envelope::Response { id: None, .. }) => {
                tracing::debug!("a response of the client names no request, and is dropped");
            }
            // Only 2025-03-26 has batches; each message in one is as good as one by itself.
            None => {
                for part in message.parts().filter_map(|part| Message::parse(part).ok()) {
                    self.client_sent(part);
                }
            }
        }
    }

    fn requested(&mut self, id: Id, method: &str, message: &Message) {
        match method {
            "initialize" => self.initialize(id, message),
            "ping" => self.deliver(answer::empty(&id)),
            "logging/setLevel" => self.set_level(&id, message),
            "resources/subscribe" => self.subscribe(id, message),
            "resources/unsubscribe" => self.unsubscribe(&id, message),
            _ => {
                self.subscription_may_begin();
                match self.profile.stamped(message) {
                    Some(stamped) => self.call(id, method, stamped),
                    None => {
                        let what = "params and params._meta are objects in MCP";
                        self.deliver(answer::refused(&id, INVALID_PARAMS, what));
                    }
                }
            }
        }
    }

    fn notified(&mut self, method: &str, message: Message) {
        match method {
            "notifications/initialized" => self.subscription_may_begin(),
            "notifications/cancelled" => {
                if let Some(id) = notification::cancelled_id(&message) {
                    self.cancelled(&id);
                }
            }
            // The server has no way to hear of either: its questions are over when it has asked them.
            "notifications/roots/list_changed" | "notifications/progress" => {
                tracing::debug!(method, "a notification that the server's era does not have");
            }
            _ => {
                let stamped = self.profile.stamped(&message).unwrap_or(message);
                self.say(stamped);
            }
        }
    }

    /// logging, "Requesting Log Messages": the level goes with each request from now on.
    fn set_level(&mut self, id: &Id, message: &Message) {
        let level = calls::parameter(message, "level");
        if level.is_some_and(|level| self.profile.set_level(&level)) {
            return self.deliver(answer::empty(id));
        }
        let what = "the level is none of debug, info, notice, warning, error, critical, alert and \
                    emergency";
        self.deliver(answer::refused(id, INVALID_PARAMS, what));
    }

    /// Says something to the server; the exchange that carries it.
    fn say(&mut self, message: Message) -> Option<ExchangeId> {
        let commands = self.inner.handle(Event::FromClient(message));
        let exchange = commands.iter().find_map(|command| match command {
            Command::Post { exchange, .. } => Some(*exchange),
            _ => None,
        });
        self.carry_out(commands, None, None);
        exchange
    }

    /// Passes on what the inner machine wants done: about what `came`, on the stream of a subscription
    /// perhaps.
    fn carry_out(&mut self, commands: Vec<Command>, came: Option<&Message>, stream: Option<u64>) {
        for command in commands {
            match command {
                Command::Deliver(line) => match came.filter(|came| came.is(&line)) {
                    // Large results are not parsed twice.
                    Some(came) => self.heard(came, stream),
                    None => match Message::parse(line.clone()) {
                        Ok(message) => self.heard(&message, stream),
                        Err(_) => self.deliver(line),
                    },
                },
                // It is for us to say when.
                Command::Finished => {}
                other => self.out.push(other),
            }
        }
    }

    /// What the server says, in one line.
    fn heard(&mut self, message: &Message, stream: Option<u64>) {
        match (message.single(), stream) {
            (Some(Envelope::Response { id: Some(id), error }), _) => match self.sent.remove(id) {
                Some(Purpose::Call(call)) => self.answered(call, id, error.as_deref(), message),
                Some(Purpose::Subscription(number)) => {
                    self.subscription_ended(number, error.as_deref());
                }
                None => tracing::debug!("an answer that nothing waits for is dropped"),
            },
            (Some(Envelope::Notification { method }), Some(number)) => {
                self.subscription_said(number, method, message);
            }
            // mrtr: "The previous pattern of server-initiated requests is no longer supported".
            (Some(Envelope::Request { method, .. }), _) => {
                tracing::warn!(%method, "a request of the server is dropped: its era has none");
            }
            _ => self.deliver(message.bytes().clone()),
        }
    }

    fn deliver(&mut self, line: Bytes) {
        self.out.push(Command::Deliver(line));
    }

    /// A number that nothing of ours has had.
    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// An id towards the server that nothing in flight has: clients may call their requests as we do.
    fn fresh_id(&mut self) -> Id {
        loop {
            let token = format!(r#""countersign-{}""#, self.number());
            if let Some(id) = Id::from_token(&token).filter(|id| !self.sent.contains_key(id)) {
                return id;
            }
        }
    }

    /// The client is gone: nobody can be asked or told any more, and what the server has is awaited.
    fn close(&mut self) {
        self.closing = true;
        self.subscription = Subscription::default();
        self.sent.retain(|_, purpose| matches!(purpose, Purpose::Call(_)));
        let waiting = self.calls.iter().filter(|(_, call)| call.needs_the_client());
        let waiting: Vec<Id> = waiting.map(|(id, _)| id.clone()).collect();
        let what = "the client closed its input, which the request still needed";
        for id in waiting {
            self.fail(&id, &Failure::new(Stage::Downstream, what));
        }
        let commands = self.inner.handle(Event::ClientClosed);
        self.carry_out(commands, None, None);
    }

    /// Answers what is still open, since there is no more time.
    fn expire(&mut self) {
        self.closing = true;
        let commands = self.inner.handle(Event::Expired);
        self.carry_out(commands, None, None);
        for id in std::mem::take(&mut self.calls).into_keys() {
            self.deliver(fault::answer(&id, &outcome::shut_down()));
        }
        self.sent.clear();
        self.asked.clear();
    }
}
