//! A modern client before a legacy server: what says all of itself in each request, in front of one
//! that wants to be opened, asks back and sends what nobody asked for.
//!
//! Stands on the client side of one session for each identity that requests are made in (`leg`),
//! under request ids of its own. Requests lose what only their revision has (`request`), answers get
//! it (`answer`); a question of the server ends the client's request and not the server's call, which
//! is held until a retry brings the answer (`asking`). It sends no call twice, save where the client
//! itself asks for that.

mod answer;
mod arrival;
mod asking;
mod leg;
mod logging;
mod machine;
mod request;
mod required;
mod said;
mod server;
mod state;
mod subscriptions;
#[cfg(test)]
mod tests;
mod words;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, VecDeque},
};

use http::Uri;

use self::{
    leg::Leg,
    machine::{Channel, Origin},
    request::{Own, Request},
    said::Said,
    state::Seal,
    subscriptions::Subscription,
    words::Refused,
};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        exchange::{Command, End, Event, ExchangeId, Limits, Timer},
        fault,
        message::{Envelope, Id, Message},
        notification, outcome,
    },
};

/// Methods that a session has and a modern server has not: what they were for is done here.
const OF_SESSIONS: [&str; 5] =
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];
/// Of the tasks extension, which is another one than the tasks of 2025-11-25.
const OF_EXTENSIONS: [&str; 1] = ["tasks/update"];

/// The translator. See the module's head.
#[derive(Debug)]
pub struct Backward {
    upstream: String,
    limits: Limits,
    /// Where names of exchanges and counts in timers begin.
    first: u64,
    /// What the server may have where it does not take POSTs.
    channel: Option<Channel>,
    seal: Seal,
    legs: BTreeMap<u64, Leg>,
    /// What the client has asked, by the number that it has before the server; apart, as the map's nodes
    /// have room for many.
    requests: BTreeMap<u64, Box<Request>>,
    /// Each unanswered request of the client.
    open: HashMap<Id, u64>,
    /// What we have asked ourselves, in which session, by the same count.
    own: BTreeMap<u64, (u64, Own)>,
    /// Calls that wait for the client's retry, by ticket.
    held: BTreeMap<u64, u64>,
    /// The call that what has just come wants to ask the client something through.
    inquiring: Option<u64>,
    subscriptions: BTreeMap<u64, Subscription>,
    /// The last number, the last ticket, the last leg and the last use of one.
    numbers: u64,
    tickets: u64,
    opened: u64,
    uses: u64,
    /// What brings answers to the server's questions, each for its call.
    bringing: BTreeMap<ExchangeId, u64>,
    /// What the sessions have still to be told.
    due: VecDeque<(u64, Event)>,
    closing: bool,
    finished: bool,
    out: Vec<Command>,
}

impl Backward {
    /// The translator before `upstream` (its origin, for messages); nothing happens before the client
    /// speaks. Names of exchanges and counts in timers lie in the 2^56 from `first` on; `key` seals
    /// what the client is given to bring back, and must come from the system's randomness.
    #[must_use]
    pub fn new(upstream: impl Into<String>, limits: Limits, first: u64, key: &[u8; 32]) -> Self {
        Self {
            upstream: upstream.into(),
            limits,
            first,
            channel: None,
            seal: Seal::new(key),
            legs: BTreeMap::new(),
            requests: BTreeMap::new(),
            open: HashMap::new(),
            own: BTreeMap::new(),
            held: BTreeMap::new(),
            inquiring: None,
            subscriptions: BTreeMap::new(),
            numbers: 0,
            tickets: 0,
            opened: 0,
            uses: 0,
            bringing: BTreeMap::new(),
            due: VecDeque::new(),
            closing: false,
            finished: false,
            out: Vec::new(),
        }
    }

    /// The same before a server that may speak HTTP+SSE at `url`, which is tried where Streamable HTTP
    /// is refused.
    #[must_use]
    pub fn or_http_sse(self, url: Uri) -> Self {
        Self { channel: Some(Channel::HttpSse(url)), ..self }
    }

    /// The same before a server behind a WebSocket.
    #[must_use]
    pub fn over_websocket(self) -> Self {
        Self { channel: Some(Channel::WebSocket), ..self }
    }

    /// Takes in what happened and returns what is to be done.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        let unanswered = self.not_brought(&event);
        match event {
            Event::FromClient(message) => self.client_sent(&message),
            Event::Ended(exchange, End::Refused(refusal), _)
                if self.falls_back(exchange, &refusal) => {}
            Event::Head(exchange, _)
            | Event::Endpoint(exchange, _)
            | Event::FromServer(exchange, _)
            | Event::Ended(exchange, ..)
            | Event::Elapsed(Timer::Channel(exchange, _)) => {
                self.tell(self.leg_of(exchange.0), event);
            }
            Event::Elapsed(Timer::Confirm(count) | Timer::Stream(count) | Timer::Reopen(count)) => {
                self.tell(self.leg_of(count), event);
            }
            Event::Elapsed(Timer::Held(count)) => self.overdue(count),
            // Timers of machines that are none of these.
            Event::Elapsed(_) => {}
            Event::ClientClosed => self.close(),
            Event::Expired => self.expire(),
        }
        self.settle();
        if let Some(key) = unanswered {
            self.give_up_unanswered(key);
            self.settle();
        }
        std::mem::take(&mut self.out)
    }

    /// Whether the requests of an exchange are all answered: its response needs no more patience.
    #[must_use]
    pub fn settled(&self, exchange: ExchangeId) -> bool {
        let leg = self.legs.get(&self.leg_of(exchange.0));
        leg.is_none_or(|leg| leg.machine.settled(exchange))
    }

    fn client_sent(&mut self, message: &Message) {
        match message.single() {
            Some(Envelope::Request { id, method }) => {
                let refusal = self.limits.refuse(&self.open, message);
                let refusal = refusal.or_else(|| self.closing.then(outcome::shut_down));
                if let Some(refusal) = refusal {
                    self.out.push(Command::Deliver(fault::answer(id, &refusal)));
                } else if let Err(refused) = self.asked(message, id, method) {
                    self.out.push(Command::Deliver(refused.line(id)));
                }
            }
            Some(Envelope::Notification { method }) => match &**method {
                "notifications/cancelled" => self.cancelled(message),
                "notifications/initialized" => {}
                _ => self.notify(message),
            },
            // There is nobody to have asked (2026-07-28 stdio, "Sending Messages").
            Some(Envelope::Response { .. }) => {
                tracing::warn!("a response of the client is dropped: nothing asks in its revision");
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

    /// Takes in a request, or says why not.
    fn asked(&mut self, message: &Message, id: &Id, method: &str) -> Result<(), Refused> {
        let said = Said::by(message)?;
        if OF_SESSIONS.contains(&method) || OF_EXTENSIONS.contains(&method) {
            return Err(Refused::method(method));
        }
        match (said.state, said.responses) {
            (Some(state), _) => self.retried(message, id, method, said, state),
            (None, None) => self.admit(message, id, said),
            // To begin the call anew might run it twice.
            (None, Some(_)) => Err(Refused::params(
                "inputResponses came without the requestState that they belong to",
            )),
        }
    }

    /// Serves a request in the session of its identity, once that stands.
    fn admit(&mut self, message: &Message, id: &Id, said: Said<'_>) -> Result<(), Refused> {
        let number = self.leg_for(&said.identity)?;
        let key = self.number();
        let Some(leg) = self.legs.get_mut(&number) else { return Ok(()) };
        self.open.insert(id.clone(), key);
        let request = Request::new(number, id, message, said, leg.capable);
        self.requests.insert(key, Box::new(request));
        if leg.server.is_some() {
            self.serve(key);
        } else {
            leg.waiting.push_back(key);
        }
        Ok(())
    }

    /// Does what a request asks for; its session stands.
    fn serve(&mut self, key: u64) {
        let Some(request) = self.requests.get(&key) else { return };
        match request.method() {
            "server/discover" => {
                let server = self.legs.get(&request.leg).and_then(|leg| leg.server.as_ref());
                let discovered = server.map(server::Server::discovered).unwrap_or_default();
                self.answer(key, |id| words::result(id, &discovered));
            }
            "subscriptions/listen" => self.listen(key),
            _ => {
                if !self.levels_first(key) {
                    self.send(key);
                }
            }
        }
    }

    /// Hands a request to its session.
    fn send(&mut self, key: u64) {
        let Some(request) = self.requests.get_mut(&key) else { return };
        let Some(message) = request.legacy(key) else {
            let refused = Refused::params("its members can't be told apart");
            return self.answer(key, |id| refused.line(id));
        };
        request.sent = true;
        let leg = request.leg;
        self.due.push_back((leg, Event::FromClient(message)));
    }

    /// Answers a request of the client, which is over with that.
    fn answer(&mut self, key: u64, line: impl FnOnce(&Id) -> bytes::Bytes) {
        let Some(id) = self.requests.remove(&key).and_then(|request| request.client) else {
            return;
        };
        self.open.remove(&id);
        self.out.push(Command::Deliver(line(&id)));
    }

    /// The client gives a request up, or one whose questions it has not answered.
    fn cancelled(&mut self, message: &Message) {
        let Some(id) = notification::cancelled_id(message) else { return };
        let Some(key) = self.open.remove(&id) else {
            let mut requests = self.requests.iter();
            let held = requests.find(|(_, it)| it.client.is_none() && it.asked_as == id);
            match held.map(|(key, _)| *key) {
                Some(key) => self.release(key, "the client has cancelled the call"),
                None => tracing::debug!(id = id.token(), "what is cancelled is not in flight"),
            }
            return;
        };
        let Some(request) = self.requests.remove(&key) else { return };
        self.unsubscribe(key);
        if let Some(leg) = self.legs.get_mut(&request.leg) {
            leg.waiting.retain(|waiting| *waiting != key);
        }
        if let (true, Some(cancel)) = (request.sent, request::cancel(message, key)) {
            self.due.push_back((request.leg, Event::FromClient(cancel)));
        }
    }

    /// A notification says nothing of its sender, so it goes to the session that was used last.
    fn notify(&mut self, message: &Message) {
        let standing = self.legs.iter().filter(|(_, leg)| leg.server.is_some());
        match standing.max_by_key(|(_, leg)| leg.used).map(|(number, _)| *number) {
            Some(number) => {
                self.due.push_back((number, Event::FromClient(request::told(message))));
            }
            None => tracing::debug!("a notification is dropped: there is no session yet"),
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The client is gone: its subscriptions end, what only it could go on with is given up, and its
    /// calls are awaited.
    fn close(&mut self) {
        self.closing = true;
        for key in std::mem::take(&mut self.subscriptions).into_keys() {
            self.answer(key, words::closed);
        }
        for key in std::mem::take(&mut self.held).into_values() {
            self.release(key, "the client is gone");
        }
    }

    /// Answers what is still open, since there is no more time.
    fn expire(&mut self) {
        self.closing = true;
        self.due.clear();
        let numbers: Vec<u64> = self.legs.keys().copied().collect();
        for number in numbers {
            self.tell(number, Event::Expired);
        }
        let failure = outcome::shut_down();
        for id in std::mem::take(&mut self.open).into_keys() {
            self.out.push(Command::Deliver(fault::answer(&id, &failure)));
        }
        self.requests.clear();
        self.held.clear();
        self.bringing.clear();
        self.subscriptions.clear();
        for leg in self.legs.values_mut() {
            leg.waiting.clear();
            leg.levelling = None;
        }
    }

    /// Tells the sessions what they have still to be told, and closes each once it has all of its
    /// requests.
    fn settle(&mut self) {
        loop {
            while let Some((number, event)) = self.due.pop_front() {
                self.tell(number, event);
            }
            let mut legs = self.legs.iter_mut();
            let complete = legs.find(|(_, leg)| self.closing && leg.may_close());
            let Some((number, leg)) = complete else { break };
            leg.told = true;
            self.due.push_back((*number, Event::ClientClosed));
        }
        let over = self.closing && self.open.is_empty() && self.legs.values().all(|it| it.finished);
        if over && !std::mem::replace(&mut self.finished, true) {
            self.out.push(Command::Finished);
        }
    }

    fn tell(&mut self, number: u64, event: Event) {
        let Some(leg) = self.legs.get_mut(&number) else { return };
        let (source, origin) = match &event {
            Event::FromServer(exchange, message) => {
                (Some(message.clone()), leg.machine.origin(*exchange))
            }
            _ => (None, Origin::Session),
        };
        let commands = leg.machine.handle(event);
        let passes = |it: &Command| !matches!(it, Command::Deliver(_) | Command::Finished);
        // Mostly.
        if self.out.is_empty() && commands.iter().all(passes) {
            self.out = commands;
            return self.told(number);
        }
        for command in commands {
            match command {
                Command::Deliver(line) => {
                    // Most lines are the message as it came, which is read already.
                    let message = match &source {
                        Some(message) if message.is(&line) => Ok(Cow::Borrowed(message)),
                        _ => Message::parse(line).map(Cow::Owned),
                    };
                    match message {
                        Ok(message) => self.spoken(number, origin, &message),
                        Err(error) => tracing::debug!(%error, "a line of the session is dropped"),
                    }
                }
                Command::Finished => {
                    if let Some(leg) = self.legs.get_mut(&number) {
                        leg.finished = true;
                    }
                }
                other => self.out.push(other),
            }
        }
        self.told(number);
    }

    /// Does what a session leaves to be done that was told something.
    fn told(&mut self, number: u64) {
        if let Some(call) = self.inquiring.take() {
            self.ask(call);
        }
        self.look_after(number);
    }
}
