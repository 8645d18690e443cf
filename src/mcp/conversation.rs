//! Which era the client speaks, and so which machine has its messages: the session of revisions up
//! to 2025-11-25, or the stateless exchanges of those since.
//!
//! A client shows its era by how it opens (2026-07-28 versioning, "Backward Compatibility"). Where it
//! and the upstream agree, nothing stands between them. Behind one channel, a WebSocket or HTTP+SSE,
//! both eras are carried as they are (`duplex`).

use http::Uri;

use super::{
    duplex::Duplex,
    era::Era,
    exchange::{Command, End, Event, ExchangeId, Limits, Timer},
    message::{Envelope, Message},
    metadata::Metadata,
    refusal::{self, Refusal},
    session::Session,
    stateless::Stateless,
};

/// The exchanges of the stateless era are counted from here on, those of sessions below.
const STATELESS: u64 = 1 << 63;
/// Those of a channel lie between.
const CHANNEL: u64 = 1 << 62;

/// The machines of both eras, behind one client and before one upstream.
#[derive(Debug)]
pub struct Conversation {
    upstream: String,
    /// Where HTTP+SSE is asked for; none over a WebSocket.
    url: Option<Uri>,
    limits: Limits,
    session: Session,
    stateless: Stateless,
    /// What stands in for the session where the server has one channel.
    channel: Option<Duplex>,
    closed: bool,
    /// What the client has opened with last.
    opened: Option<Era>,
    /// The machines in which something is still in flight.
    unfinished: u8,
}

impl Conversation {
    /// A conversation with `upstream` (its origin, for messages) at `url`; nothing happens before the
    /// client speaks.
    #[must_use]
    pub fn new(upstream: &str, url: Uri, limits: Limits) -> Self {
        Self {
            upstream: upstream.to_owned(),
            url: Some(url),
            limits,
            session: Session::new(upstream, limits),
            stateless: Stateless::new(upstream, limits, STATELESS),
            channel: None,
            closed: false,
            opened: None,
            unfinished: 2,
        }
    }

    /// The same over a WebSocket.
    #[must_use]
    pub fn over_websocket(upstream: &str, limits: Limits) -> Self {
        let channel = Some(Duplex::websocket(upstream, limits, CHANNEL));
        Self { url: None, channel, ..Self::new(upstream, Uri::default(), limits) }
    }

    /// Takes in what happened and returns what is to be done.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        if let (None, Some(channel)) = (&self.url, &mut self.channel) {
            return channel.handle(event);
        }
        if let Event::Ended(exchange, End::Refused(refusal), _) = &event
            && let Some(commands) = self.fall_back(*exchange, refusal)
        {
            return self.finished_once(commands);
        }
        let era = match &event {
            Event::FromClient(message) => self.era(message),
            Event::Head(exchange, _)
            | Event::Endpoint(exchange, _)
            | Event::FromServer(exchange, _)
            | Event::Ended(exchange, ..)
            | Event::Elapsed(Timer::Probe(exchange) | Timer::Channel(exchange, _)) => {
                era_of(*exchange)
            }
            Event::Elapsed(_) => Era::Legacy,
            Event::ClientClosed => {
                self.closed = true;
                return self.all(|| Event::ClientClosed);
            }
            Event::Expired => return self.all(|| Event::Expired),
        };
        let on_channel = match &event {
            Event::FromClient(_) => true,
            Event::Head(exchange, _)
            | Event::Endpoint(exchange, _)
            | Event::FromServer(exchange, _)
            | Event::Ended(exchange, ..)
            | Event::Elapsed(Timer::Channel(exchange, _)) => is_of_channel(*exchange),
            _ => false,
        };
        let commands = match era {
            Era::Legacy => match &mut self.channel {
                Some(channel) if on_channel => channel.handle(event),
                _ => self.session.handle(event),
            },
            Era::Modern => self.stateless.handle(event),
        };
        self.finished_once(commands)
    }

    /// Whether the requests of an exchange are all answered: its response needs no more patience.
    #[must_use]
    pub fn settled(&self, exchange: ExchangeId) -> bool {
        match (era_of(exchange), &self.channel) {
            (_, Some(channel)) if is_of_channel(exchange) => channel.settled(exchange),
            (Era::Legacy, _) => self.session.settled(exchange),
            (Era::Modern, _) => self.stateless.settled(exchange),
        }
    }

    fn stands(&self) -> bool {
        self.session.stands() || self.channel.as_ref().is_some_and(Duplex::stands)
    }

    /// The era of a message of the client's. Once that is settled, nothing is read for it.
    fn era(&mut self, message: &Message) -> Era {
        let Some(Envelope::Request { method, .. }) = message.single() else {
            return self.opened.unwrap_or(Era::Legacy);
        };
        let opens = match (&**method, self.opened) {
            ("initialize", _) => {
                // A channel that came to nothing; the server may be another by now.
                if self.channel.take_if(|channel| !channel.stands()).is_some() {
                    self.unfinished -= 1;
                }
                Some(Era::Legacy)
            }
            ("server/discover", Some(Era::Legacy)) if !self.stands() => Some(Era::Modern),
            ("server/discover", None) => Some(Era::Modern),
            (_, None) => Metadata::of(message, method).version.map(|_| Era::Modern),
            _ => None,
        };
        self.opened = opens.or(self.opened);
        self.opened.unwrap_or(Era::Legacy)
    }

    /// An `initialize` that is not taken by POST is given to HTTP+SSE (2025-11-25 transports,
    /// "Backwards Compatibility"), unless the refusal is the word of a server that knows better.
    fn fall_back(&mut self, exchange: ExchangeId, refusal: &Refusal) -> Option<Vec<Command>> {
        let url =
            self.url.clone().filter(|_| matches!(refusal.status.as_u16(), 400 | 404 | 405))?;
        if refusal.message().is_some() || refusal.response().is_some_and(|said| is_modern(&said)) {
            return None;
        }
        let messages = self.session.surrender(exchange)?;
        tracing::info!(status = refusal.status.as_u16(), "trying HTTP+SSE of 2024-11-05");
        let mut channel = Duplex::http_sse(&self.upstream, url, self.limits, CHANNEL)
            .with_refusal(refusal.explain(&self.upstream));
        self.unfinished += 1;
        let said = messages.into_iter().map(Event::FromClient);
        let mut commands: Vec<Command> = said.flat_map(|event| channel.handle(event)).collect();
        if self.closed {
            commands.extend(channel.handle(Event::ClientClosed));
            commands.extend(self.session.handle(Event::ClientClosed));
        }
        self.channel = Some(channel);
        Some(commands)
    }

    fn all(&mut self, event: impl Fn() -> Event) -> Vec<Command> {
        let mut commands = self.session.handle(event());
        commands.extend(self.stateless.handle(event()));
        if let Some(channel) = &mut self.channel {
            commands.extend(channel.handle(event()));
        }
        self.finished_once(commands)
    }

    /// What is finished is so when all are.
    fn finished_once(&mut self, mut commands: Vec<Command>) -> Vec<Command> {
        commands.retain(|command| {
            if matches!(command, Command::Finished) {
                self.unfinished = self.unfinished.saturating_sub(1);
                return self.unfinished == 0;
            }
            true
        });
        commands
    }
}

fn is_of_channel(exchange: ExchangeId) -> bool {
    (CHANNEL..STATELESS).contains(&exchange.0)
}

fn is_modern(said: &Message) -> bool {
    matches!(said.single(), Some(Envelope::Response { error: Some(error), .. })
        if refusal::code(error).is_some_and(refusal::is_modern))
}

fn era_of(exchange: ExchangeId) -> Era {
    if exchange.0 < STATELESS { Era::Legacy } else { Era::Modern }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    /// The era whose machine posts what the client says; none where nothing is posted.
    fn posted(conversation: &mut Conversation, text: &str) -> Option<Era> {
        let message = Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        let commands = conversation.handle(Event::FromClient(message));
        commands.iter().find_map(|command| match command {
            Command::Post { exchange, .. } => Some(era_of(*exchange)),
            _ => None,
        })
    }

    fn conversation() -> Conversation {
        Conversation::new(
            "https://gw",
            Uri::from_static("https://gw/mcp"),
            Limits { in_flight: 9, idle: Duration::from_secs(9) },
        )
    }

    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    const DISCOVER: &str = r#"{"jsonrpc":"2.0","id":2,"method":"server/discover"}"#;
    const MODERN: &str = r#"{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    const NEITHER: &str = r#"{"jsonrpc":"2.0","id":4,"method":"tools/list"}"#;

    #[test]
    fn a_client_shows_its_era_by_how_it_opens() {
        for (said, era) in [
            (INITIALIZE, Era::Legacy),
            (DISCOVER, Era::Modern),
            (MODERN, Era::Modern),
            (NEITHER, Era::Legacy),
        ] {
            assert_eq!(posted(&mut conversation(), said), Some(era), "{said}");
        }
    }

    #[test]
    fn a_client_that_falls_back_is_followed_and_one_that_falls_forward_too() {
        let mut conversation = conversation();
        assert_eq!(posted(&mut conversation, NEITHER), Some(Era::Legacy));
        assert_eq!(posted(&mut conversation, DISCOVER), Some(Era::Modern));
        assert_eq!(posted(&mut conversation, INITIALIZE), Some(Era::Legacy));
        // The session is being opened: what is sent now waits for it.
        assert_eq!(posted(&mut conversation, &MODERN.replace('3', "5")), None);
    }

    #[test]
    fn it_is_finished_once_both_machines_are() {
        let mut conversation = conversation();
        assert_eq!(posted(&mut conversation, MODERN), Some(Era::Modern));
        assert!(conversation.handle(Event::ClientClosed).is_empty());
        let commands = conversation.handle(Event::Expired);
        let finished = commands.iter().filter(|it| matches!(it, Command::Finished)).count();
        assert_eq!(finished, 1, "{commands:?}");
    }
}
