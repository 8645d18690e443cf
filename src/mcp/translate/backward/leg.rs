//! The sessions with the server: one for each identity that requests are made in, opened in its name.
//!
//! Their number is bounded: beyond it the one that was not used for the longest time is ended, and a
//! session with anything in flight never is.

use std::collections::{HashMap, VecDeque};

use serde_json::json;

use super::{
    Backward,
    asking::MAX_HELD,
    machine::{Channel, Machine},
    request::Own,
    said::{Capable, Identity, Level},
    server::Server,
    subscriptions::{MAX_WATCHED, Watched},
    words::{self, INVALID_REQUEST, Refused},
};
use crate::mcp::{
    exchange::{Command, Event, ExchangeId, Limits},
    fault,
    message::{Envelope, Message},
    refusal::Refusal,
};

/// Sessions at a time.
const MAX_LEGS: usize = 8;
/// Each session has 2^40 names from a multiple of that on; such multiples are used again after 2^16.
const NAMES: u32 = 40;
const ROUND: u64 = 1 << 16;

/// The newest revision that has sessions.
const LEGACY: &str = "2025-11-25";
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// One session and what is known of it.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) machine: Machine,
    info: Option<Box<str>>,
    capabilities: Box<str>,
    pub(super) capable: Capable,
    /// What the server said of itself; none before the session stands.
    pub(super) server: Option<Server>,
    /// Requests that wait for it to stand.
    pub(super) waiting: VecDeque<u64>,
    pub(super) level: Option<Level>,
    /// Requests that wait for the server to log as they want it.
    pub(super) levelling: Option<Vec<u64>>,
    pub(super) watched: HashMap<Box<str>, Watched>,
    /// The session's count when it was last put in order.
    generation: u64,
    pub(super) used: u64,
    /// It was told that the client is gone.
    pub(super) told: bool,
    pub(super) finished: bool,
}

impl Leg {
    /// Whether nothing more can come to it that the client has sent already.
    pub(super) fn may_close(&self) -> bool {
        !self.told && self.waiting.is_empty() && self.levelling.is_none()
    }
}

impl Backward {
    /// The session in the name of `identity`, which may have to be opened still.
    pub(super) fn leg_for(&mut self, identity: &Identity<'_>) -> Result<u64, Refused> {
        self.uses += 1;
        let used = self.uses;
        let mut legs = self.legs.iter_mut();
        let known = legs.find(|(_, leg)| identity.is(leg.info.as_deref(), &leg.capabilities));
        if let Some((number, leg)) = known {
            leg.used = used;
            return Ok(*number);
        }
        if self.legs.len() >= MAX_LEGS {
            self.end_idle()?;
        }
        while self.legs.contains_key(&self.opened) {
            self.opened = (self.opened + 1) % ROUND;
        }
        let number = self.opened;
        self.opened = (number + 1) % ROUND;
        let (limits, first) = (self.limits_of_legs(), self.first_of(number));
        let leg = Leg {
            machine: Machine::new(&self.upstream, limits, first, self.channel.as_ref()),
            info: identity.info.map(Into::into),
            capabilities: identity.capabilities.into(),
            capable: identity.capable(),
            server: None,
            waiting: VecDeque::new(),
            level: None,
            levelling: None,
            watched: HashMap::new(),
            generation: first,
            used,
            told: false,
            finished: false,
        };
        self.legs.insert(number, leg);
        self.initialize(number);
        Ok(number)
    }

    /// What is held and what we ask ourselves comes on top of what the client may ask.
    fn limits_of_legs(&self) -> Limits {
        let in_flight = self.limits.in_flight + MAX_HELD + 2 * MAX_WATCHED + MAX_LEGS;
        Limits { in_flight, ..self.limits }
    }

    fn first_of(&self, number: u64) -> u64 {
        self.first + (number << NAMES)
    }

    /// The leg whose session has this name of an exchange, or this count of a timer.
    pub(super) fn leg_of(&self, count: u64) -> u64 {
        count.wrapping_sub(self.first) >> NAMES
    }

    /// Ends the session that was not used for the longest time.
    fn end_idle(&mut self) -> Result<(), Refused> {
        let busy = |number: u64| self.requests.values().any(|request| request.leg == number);
        let idle = self.legs.iter().filter(|(number, leg)| leg.server.is_some() && !busy(**number));
        let Some(number) = idle.min_by_key(|(_, leg)| leg.used).map(|(number, _)| *number) else {
            let what = format!(
                "requests in more than {MAX_LEGS} identities are in flight. hint: wait for answers, \
                 or say the same clientInfo and clientCapabilities on each request"
            );
            return Err(Refused::new(INVALID_REQUEST, what));
        };
        self.forget(number);
        Ok(())
    }

    /// Ends a session in which nothing is in flight.
    fn forget(&mut self, number: u64) {
        let Some(mut leg) = self.legs.remove(&number) else { return };
        self.own.retain(|_, (of, _)| *of != number);
        let first = self.first;
        self.bringing.retain(|exchange, _| exchange.0.wrapping_sub(first) >> NAMES != number);
        for event in [Event::ClientClosed, Event::Expired] {
            let said = |it: &Command| !matches!(it, Command::Deliver(_) | Command::Finished);
            self.out.extend(leg.machine.handle(event).into_iter().filter(said));
        }
    }

    /// Takes a refused `initialize` to HTTP+SSE, if that is what an exchange carried; true if so.
    pub(super) fn falls_back(&mut self, exchange: ExchangeId, refusal: &Refusal) -> bool {
        let number = self.leg_of(exchange.0);
        let (limits, first) = (self.limits_of_legs(), self.first_of(number));
        let (Some(Channel::HttpSse(url)), Some(leg)) = (&self.channel, self.legs.get_mut(&number))
        else {
            return false;
        };
        let refused = (exchange, refusal);
        let said = leg.machine.fall_back(&self.upstream, url, limits, first, refused);
        let Some(said) = said else { return false };
        leg.told = false;
        self.due.extend(said.into_iter().map(|said| (number, Event::FromClient(said))));
        true
    }

    /// Opens the session of a leg.
    fn initialize(&mut self, number: u64) {
        let own = self.number();
        let Some(leg) = self.legs.get(&number) else { return };
        let ours = json!({ "name": "countersign", "version": env!("CARGO_PKG_VERSION") });
        let info = leg.info.as_deref().map_or_else(|| ours.to_string(), Into::into);
        let capabilities = &leg.capabilities;
        let initialize = format!(
            r#"{{"jsonrpc":"2.0","id":{own},"method":"initialize","params":{{"protocolVersion":"{LEGACY}","capabilities":{capabilities},"clientInfo":{info}}}}}"#
        );
        self.own.insert(own, (number, Own::Initialize));
        self.author(number, initialize.into());
    }

    /// Has a session take in what we have written ourselves.
    pub(super) fn author(&mut self, number: u64, line: bytes::Bytes) {
        if let Ok(message) = Message::parse(line) {
            self.due.push_back((number, Event::FromClient(message)));
        }
    }

    /// Asks the server ourselves.
    pub(super) fn ask_own(&mut self, leg: u64, own: Own, method: &str, params: &serde_json::Value) {
        let number = self.number();
        self.own.insert(number, (leg, own));
        self.author(leg, words::request(number, method, params));
    }

    /// The answer to what we have asked ourselves.
    pub(super) fn own_answered(&mut self, leg: u64, own: Own, message: &Message) {
        let error = match message.single() {
            Some(Envelope::Response { error, .. }) => error.as_deref(),
            _ => None,
        };
        match own {
            Own::Initialize => self.initialized(leg, message, error),
            Own::Level => self.levelled(leg, error),
            Own::Watch(uri) => self.watched(leg, &uri, error),
            Own::Unwatch(uri) => self.unwatched(leg, &uri),
        }
    }

    /// The session stands, and what waited for it goes on; or it does not, and the next request tries
    /// again.
    fn initialized(&mut self, number: u64, message: &Message, error: Option<&[u8]>) {
        let Some(leg) = self.legs.get_mut(&number) else { return };
        leg.server = Server::read(message);
        leg.generation = leg.machine.generation();
        let waiting = std::mem::take(&mut leg.waiting);
        if leg.server.is_some() {
            self.author(number, INITIALIZED.into());
            for key in waiting {
                self.serve(key);
            }
            return;
        }
        let unread = r#"{"code":-32603,"message":"countersign: the server answered initialize with what is no result of it"}"#;
        self.forget(number);
        for key in waiting {
            let error = error.unwrap_or(unread.as_bytes());
            self.answer(key, |id| fault::addressed_to(id, error));
        }
    }

    /// Puts a session in order that has taken the place of a lost one: what the server knew of the
    /// client but from its handshake is gone.
    pub(super) fn look_after(&mut self, number: u64) {
        let Some(leg) = self.legs.get_mut(&number) else { return };
        let generation = leg.machine.generation();
        if leg.server.is_none() || leg.finished || leg.generation == generation {
            return;
        }
        leg.generation = generation;
        if leg.told {
            return;
        }
        self.level_again(number);
        self.watch_again(number);
    }
}
