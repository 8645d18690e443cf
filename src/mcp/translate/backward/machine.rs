//! What carries a session with a legacy server: Streamable HTTP, or one channel (HTTP+SSE, a
//! WebSocket). Which of them it is makes no difference to the rest.

use http::Uri;

use super::request;
use crate::mcp::{
    duplex::Duplex,
    exchange::{Command, Event, ExchangeId, Limits},
    message::{Envelope, Message},
    refusal::{self, Refusal},
    session::Session,
};

/// A channel's names begin in the middle of those that its leg has; before lie those of the session
/// that was refused.
const CHANNEL: u64 = 1 << 39;

/// What a server has where it does not take POSTs.
#[derive(Clone, Debug)]
pub(super) enum Channel {
    /// HTTP+SSE at this URL, once Streamable HTTP was refused.
    HttpSse(Uri),
    WebSocket,
}

/// Through what a message of the server came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The stream of an unanswered request of ours.
    Call(u64),
    /// The stream of one that is over: nobody wants to know.
    Over,
    /// What is there for all of the session.
    Session,
}

#[derive(Debug)]
pub(super) enum Machine {
    Session(Box<Session>),
    Channel(Box<Duplex>),
}

impl Machine {
    pub(super) fn new(
        upstream: &str,
        limits: Limits,
        first: u64,
        channel: Option<&Channel>,
    ) -> Self {
        match channel {
            Some(Channel::WebSocket) => {
                Self::Channel(Box::new(Duplex::websocket(upstream, limits, first)))
            }
            Some(Channel::HttpSse(_)) | None => {
                Self::Session(Box::new(Session::named_from(upstream, limits, first)))
            }
        }
    }

    pub(super) fn handle(&mut self, event: Event) -> Vec<Command> {
        match self {
            Self::Session(session) => session.handle(event),
            Self::Channel(channel) => channel.handle(event),
        }
    }

    pub(super) fn settled(&self, exchange: ExchangeId) -> bool {
        match self {
            Self::Session(session) => session.settled(exchange),
            Self::Channel(channel) => channel.settled(exchange),
        }
    }

    /// Changes when one session has taken another's place.
    pub(super) fn generation(&self) -> u64 {
        match self {
            Self::Session(session) => session.generation(),
            Self::Channel(channel) => channel.generation(),
        }
    }

    /// What an exchange is for; a channel is for all.
    pub(super) fn origin(&self, exchange: ExchangeId) -> Origin {
        let Self::Session(session) = self else { return Origin::Session };
        match session.carried(exchange).and_then(request::number) {
            Some(call) => Origin::Call(call),
            None if session.settled(exchange) => Origin::Over,
            None => Origin::Session,
        }
    }

    /// Goes over to HTTP+SSE where `initialize` is not taken by POST (2025-11-25 transports, "Backwards
    /// Compatibility"); what is to be said there, or nothing where it stays as it is.
    pub(super) fn fall_back(
        &mut self,
        upstream: &str,
        url: &Uri,
        limits: Limits,
        first: u64,
        (exchange, refusal): (ExchangeId, &Refusal),
    ) -> Option<Vec<Message>> {
        let Self::Session(session) = self else { return None };
        let refused = matches!(refusal.status.as_u16(), 400 | 404 | 405);
        let knows_better = || {
            refusal.message().is_some() || refusal.response().is_some_and(|said| is_modern(&said))
        };
        if !refused || knows_better() {
            return None;
        }
        let said = session.surrender(exchange)?;
        tracing::info!(status = refusal.status.as_u16(), "trying HTTP+SSE of 2024-11-05");
        let channel = Duplex::http_sse(upstream, url.clone(), limits, first + CHANNEL);
        *self = Self::Channel(Box::new(channel.with_refusal(refusal.explain(upstream))));
        Some(said)
    }
}

fn is_modern(said: &Message) -> bool {
    matches!(said.single(), Some(Envelope::Response { error: Some(error), .. })
        if refusal::code(error).is_some_and(refusal::is_modern))
}
