//! Which era the client speaks and which the upstream, and so which machine has the messages.
//!
//! Where both are of one era nothing stands between them: a [`Session`], the [`Stateless`] exchanges, or
//! one channel that carries either as it is ([`Duplex`]). Where they are not, a translator does
//! ([`Forward`], [`Backward`]). Machines give what they could not serve to one another (`crossing`),
//! and that is all that they know of each other: names of exchanges and timers lie in ranges.

mod closing;
mod crossing;
#[cfg(test)]
mod tests;
mod trial;

use http::Uri;

use self::{closing::Progress, trial::Trial};
use super::{
    duplex::Duplex,
    era::Era,
    exchange::{Command, Event, ExchangeId, Limits, Timer},
    message::{Envelope, Message},
    metadata::Metadata,
    session::Session,
    stateless::Stateless,
    translate::{backward::Backward, forward::Forward},
};

/// Where the names of each machine's exchanges begin; those of the session begin at 0.
const BACKWARD: u64 = 1 << 60;
const FORWARD: u64 = 1 << 61;
const CHANNEL: u64 = 1 << 62;
const STATELESS: u64 = 1 << 63;

/// The machines of both eras, behind one client and before one upstream.
#[derive(Debug)]
pub struct Conversation {
    upstream: String,
    /// Where HTTP+SSE is asked for; none over a WebSocket.
    url: Option<Uri>,
    limits: Limits,
    /// What the client was said to speak.
    protocol: Option<Era>,
    session: Session,
    /// Also knows what the upstream has shown to be.
    stateless: Stateless,
    forward: Forward,
    backward: Backward,
    /// What stands in for the session where the server has one channel.
    channel: Option<Duplex>,
    /// Where the names of the next one begin.
    channels: u64,
    /// What the client has opened with last.
    opened: Option<Era>,
    /// A legacy client's messages are translated.
    forwarded: bool,
    /// What waits until it is known whether they have to be.
    trial: Option<Trial>,
    progress: Progress,
    out: Vec<Command>,
}

/// Whose an exchange or a timer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Machine {
    Session,
    Backward,
    Forward,
    Channel,
    Stateless,
}

impl Conversation {
    /// A conversation with `upstream` (its origin, for messages) at `url`; nothing happens before the
    /// client speaks. `protocol` is its era, where it does not show that by how it opens. `key` must come
    /// from the system's randomness: it seals what clients are given to bring back.
    #[must_use]
    pub fn new(
        upstream: &str,
        url: Uri,
        limits: Limits,
        protocol: Option<Era>,
        key: &[u8; 32],
    ) -> Self {
        let backward = Backward::new(upstream, limits, BACKWARD, key).or_http_sse(url.clone());
        Self {
            upstream: upstream.to_owned(),
            url: Some(url),
            limits,
            protocol,
            session: Session::new(upstream, limits),
            stateless: Stateless::new(upstream, limits, STATELESS),
            forward: Forward::new(upstream, limits, FORWARD),
            backward,
            channel: None,
            channels: CHANNEL,
            opened: protocol,
            forwarded: false,
            trial: None,
            progress: Progress::default(),
            out: Vec::new(),
        }
    }

    /// The same over a WebSocket, which carries both eras as they are. Servers behind one are legacy
    /// where that makes a difference.
    #[must_use]
    pub fn over_websocket(
        upstream: &str,
        limits: Limits,
        protocol: Option<Era>,
        key: &[u8; 32],
    ) -> Self {
        let backward = Backward::new(upstream, limits, BACKWARD, key).over_websocket();
        let channel = Some(Duplex::websocket(upstream, limits, CHANNEL));
        let it = Self::new(upstream, Uri::default(), limits, protocol, key);
        Self { url: None, channel, backward, ..it }
    }

    /// The same before an upstream that is known to be of this era; it may show another yet.
    #[must_use]
    pub fn before(mut self, era: Era) -> Self {
        self.stateless.shown(era);
        self
    }

    /// Takes in what happened and returns what is to be done.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        match event {
            Event::FromClient(message) => self.client_sent(message),
            Event::ClientClosed => self.progress.closed = true,
            Event::Expired => self.expire(),
            event => {
                if let Some(event) = self.crosses(event) {
                    let machine = Machine::of(&event);
                    self.tell(machine, event);
                }
            }
        }
        if self.progress.closed {
            self.close();
        }
        std::mem::take(&mut self.out)
    }

    /// Whether the requests of an exchange are all answered: its response needs no more patience.
    #[must_use]
    pub fn settled(&self, exchange: ExchangeId) -> bool {
        match Machine::of_exchange(exchange) {
            Machine::Session => self.session.settled(exchange),
            Machine::Backward => self.backward.settled(exchange),
            Machine::Forward => self.forward.settled(exchange),
            Machine::Channel => self.channel.as_ref().is_none_or(|it| it.settled(exchange)),
            Machine::Stateless => self.stateless.settled(exchange),
        }
    }

    fn client_sent(&mut self, message: Message) {
        if self.trial.is_some() {
            return self.hold(message);
        }
        if self.url.is_none() {
            let machine = match self.protocol {
                Some(Era::Modern) => Machine::Backward,
                Some(Era::Legacy) | None => Machine::Channel,
            };
            return self.tell(machine, Event::FromClient(message));
        }
        match self.era(&message) {
            Era::Legacy => self.legacy_sent(message),
            Era::Modern => self.modern_sent(message),
        }
    }

    fn legacy_sent(&mut self, message: Message) {
        let opens = matches!(message.single(),
            Some(Envelope::Request { method, .. }) if &**method == "initialize");
        if opens {
            // A channel that came to nothing; the server may be another by now.
            if let Some(last) = self.channel.as_ref().and_then(Duplex::is_over) {
                // What is still under way for that one must not be taken for the next one's.
                (self.channel, self.channels) = (None, last);
                self.progress.forget(Machine::Channel);
            }
            let unknown = self.stateless.era() != Some(Era::Legacy);
            if self.forwarded || (self.protocol == Some(Era::Legacy) && unknown) {
                return self.try_forward(vec![message], trial::Otherwise::Session);
            }
        }
        let machine = if self.forwarded { Machine::Forward } else { self.native() };
        self.tell(machine, Event::FromClient(message));
    }

    /// What serves a legacy client before a legacy server.
    fn native(&self) -> Machine {
        if self.channel.is_some() { Machine::Channel } else { Machine::Session }
    }

    fn modern_sent(&mut self, message: Message) {
        let old = self.stateless.era() == Some(Era::Legacy);
        let machine = match message.single() {
            // A client of both eras falls back by itself, and then nothing has to be translated.
            Some(Envelope::Request { method, .. }) if &**method == "server/discover" => {
                let translated = old && self.protocol == Some(Era::Modern);
                if translated { Machine::Backward } else { Machine::Stateless }
            }
            Some(Envelope::Notification { method }) if &**method == "notifications/cancelled" => {
                // Its request may have gone either way; who does not know it does nothing.
                self.tell(Machine::Stateless, Event::FromClient(message.clone()));
                Machine::Backward
            }
            _ if old => Machine::Backward,
            _ => Machine::Stateless,
        };
        self.tell(machine, Event::FromClient(message));
    }

    /// The era of a message of the client's (2026-07-28 versioning, "Backward Compatibility"). Once
    /// that is settled, nothing is read for it.
    fn era(&mut self, message: &Message) -> Era {
        if let Some(era) = self.protocol {
            return era;
        }
        let Some(Envelope::Request { method, .. }) = message.single() else {
            return self.opened.unwrap_or(Era::Legacy);
        };
        let opens = match (&**method, self.opened) {
            ("initialize", _) => Some(Era::Legacy),
            ("server/discover", Some(Era::Legacy)) if !self.stands() => Some(Era::Modern),
            ("server/discover", None) => Some(Era::Modern),
            (_, None) => Metadata::of(message, method).version.map(|_| Era::Modern),
            _ => None,
        };
        self.opened = opens.or(self.opened);
        self.opened.unwrap_or(Era::Legacy)
    }

    fn stands(&self) -> bool {
        self.forwarded || self.session.stands() || self.channel.as_ref().is_some_and(Duplex::stands)
    }

    fn tell(&mut self, machine: Machine, event: Event) {
        let commands = match machine {
            Machine::Session => self.session.handle(event),
            Machine::Backward => self.backward.handle(event),
            Machine::Forward => self.forward.handle(event),
            Machine::Channel => match &mut self.channel {
                Some(channel) => channel.handle(event),
                None => return,
            },
            Machine::Stateless => self.stateless.handle(event),
        };
        let on_trial = machine == Machine::Forward && self.trial.is_some();
        let passes = |it: &Command| match it {
            Command::Finished => false,
            Command::Deliver(_) => !on_trial,
            _ => true,
        };
        // Nearly always.
        if self.out.is_empty() && commands.iter().all(passes) {
            self.out = commands;
            return;
        }
        for command in commands {
            match command {
                Command::Finished => self.progress.finished(machine),
                Command::Deliver(line) if on_trial => self.judge(line),
                other => self.out.push(other),
            }
        }
    }
}

impl Machine {
    fn of_exchange(exchange: ExchangeId) -> Self {
        match exchange.0 {
            STATELESS.. => Self::Stateless,
            CHANNEL.. => Self::Channel,
            FORWARD.. => Self::Forward,
            BACKWARD.. => Self::Backward,
            _ => Self::Session,
        }
    }

    /// Whose an event is that is about an exchange or a timer.
    fn of(event: &Event) -> Self {
        match event {
            Event::Head(exchange, _)
            | Event::Endpoint(exchange, _)
            | Event::FromServer(exchange, _)
            | Event::Ended(exchange, ..)
            | Event::Elapsed(Timer::Probe(exchange) | Timer::Channel(exchange, _)) => {
                Self::of_exchange(*exchange)
            }
            Event::Elapsed(Timer::Confirm(count) | Timer::Stream(count) | Timer::Reopen(count)) => {
                Self::of_exchange(ExchangeId(*count))
            }
            Event::Elapsed(Timer::Held(_)) => Self::Backward,
            Event::Elapsed(Timer::Subscription(_) | Timer::Again(_)) => Self::Forward,
            Event::FromClient(_) | Event::ClientClosed | Event::Expired => Self::Session,
        }
    }
}
