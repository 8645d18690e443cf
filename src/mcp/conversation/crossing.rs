//! What a server's word shows of its era, and the messages that change hands for it.
//!
//! Only what the server refused without running it does; it is then sent in the other era, once.

use bytes::Bytes;

use super::{Conversation, Duplex, Machine, trial::Otherwise};
use crate::{
    failure::Failure,
    mcp::{
        edit,
        era::Era,
        exchange::{Command, End, Event, ExchangeId, Timer},
        fault,
        message::{Envelope, Id, Message},
        metadata,
        refusal::{self, METHOD_NOT_FOUND, Refusal},
        stateless,
    },
};

/// JSON-RPC 2.0 section 5.1: an `initialize` that makes no sense to the server.
const INVALID: [i64; 2] = [-32_600, -32_602];
/// Revisions are dates, so they sort as text.
const LAST_LEGACY: &str = "2025-11-25";

impl Conversation {
    /// Lets an event have its consequences for who serves whom; none where that was all.
    pub(super) fn crosses(&mut self, event: Event) -> Option<Event> {
        match &event {
            Event::Ended(exchange, End::Refused(refusal), _) => {
                let crossed = match Machine::of_exchange(*exchange) {
                    Machine::Session => self.initialize_refused(*exchange, refusal),
                    Machine::Stateless => {
                        self.may_translate(*exchange)
                            && self.stateless.reads_as_old(*exchange, refusal)
                            && self.translate_back(*exchange)
                    }
                    Machine::Backward => {
                        // It was taken for an old one, and is none: the next request goes natively.
                        if code_of(refusal).is_some_and(refusal::is_modern) {
                            self.stateless.shown(Era::Modern);
                        }
                        false
                    }
                    Machine::Forward | Machine::Channel => false,
                };
                (!crossed).then_some(event)
            }
            Event::FromServer(exchange, message) => {
                let Some(Envelope::Response { error, .. }) = message.single() else {
                    return Some(event);
                };
                let code = error.as_ref().map(|error| refusal::code(error));
                let crossed = match Machine::of_exchange(*exchange) {
                    Machine::Session => self.initialize_answered(*exchange, code, message),
                    Machine::Stateless => {
                        self.stateless.probes(*exchange)
                            && self.may_translate(*exchange)
                            && !match code {
                                Some(code) => code.is_some_and(refusal::is_modern),
                                None => stateless::discovers(message),
                            }
                            && self.abandon(*exchange)
                    }
                    _ => false,
                };
                (!crossed).then_some(event)
            }
            Event::Elapsed(Timer::Probe(exchange)) => {
                if let (Some(trial), Machine::Forward) =
                    (&mut self.trial, Machine::of_exchange(*exchange))
                {
                    // The time of a probe before this one may be over only now.
                    trial.silent |= !self.forward.settled(*exchange);
                }
                let crossed = self.may_translate(*exchange) && self.abandon(*exchange);
                (!crossed).then_some(event)
            }
            _ => Some(event),
        }
    }

    /// Whether what a modern client sent on an exchange is translated if the server is legacy: a probe
    /// only where the client was said to know no other era.
    fn may_translate(&self, exchange: ExchangeId) -> bool {
        self.protocol == Some(Era::Modern) || !self.stateless.probes(exchange)
    }

    /// Gives the request of an exchange to the translator, and the exchange up.
    fn abandon(&mut self, exchange: ExchangeId) -> bool {
        let crossed = self.translate_back(exchange);
        if crossed {
            self.out.push(Command::Cancel(exchange));
        }
        crossed
    }

    fn translate_back(&mut self, exchange: ExchangeId) -> bool {
        let Some(message) = self.stateless.surrender(exchange) else { return false };
        self.tell(Machine::Backward, Event::FromClient(message));
        self.gave_up(Machine::Stateless);
        true
    }

    /// An `initialize` that is refused, by a server of the other era or of HTTP+SSE perhaps (2025-11-25
    /// transports, "Backwards Compatibility"; 2026-07-28 streamable-http, the same).
    fn initialize_refused(&mut self, exchange: ExchangeId, refusal: &Refusal) -> bool {
        if !self.session.opens(exchange) {
            return false;
        }
        let (code, named) = (code_of(refusal), refusal.message().is_some());
        let modern = code.is_some_and(refusal::is_modern);
        let odd = match code.filter(|_| named) {
            Some(code) => code == METHOD_NOT_FOUND || INVALID.contains(&code),
            None => refusal.speaks_of_the_era(),
        };
        let status = refusal.status.as_u16();
        let http_sse = !named && !modern && matches!(status, 400 | 404 | 405);
        // A modern server takes POSTs, and has words for one that it does not understand.
        let none_there = !named && !modern && matches!(status, 404 | 405);
        let known = none_there || (self.stateless.era() == Some(Era::Legacy) && !modern);
        if !(odd || modern) || (known && !http_sse) {
            return false;
        }
        let Some(messages) = self.session.surrender(exchange) else { return false };
        let failure = refusal.explain(&self.upstream);
        let otherwise = match http_sse {
            true => Otherwise::HttpSse(failure),
            false => Otherwise::Refusal(refused(&messages, refusal, &failure)),
        };
        self.cross_forward(messages, otherwise, known);
        true
    }

    /// The same where the refusal is in a success: an error (of that `code`), or a revision that has no
    /// `initialize`.
    fn initialize_answered(
        &mut self,
        exchange: ExchangeId,
        code: Option<Option<i64>>,
        message: &Message,
    ) -> bool {
        if !self.session.opens(exchange) {
            return false;
        }
        let odd = match code {
            Some(code) => {
                code.is_some_and(|code| refusal::is_modern(code) || code == METHOD_NOT_FOUND)
            }
            None => agrees_on_a_modern_one(message),
        };
        let meant = || self.session.carried(exchange).is_some_and(|id| answers(message, id));
        if !odd || !meant() {
            return false;
        }
        let Some(messages) = self.session.surrender(exchange) else { return false };
        self.out.push(Command::Cancel(exchange));
        let line = message.line();
        self.cross_forward(messages, Otherwise::Refusal(line), false);
        true
    }

    /// Takes an `initialize` and what waits for it elsewhere; the server is `known` not to be modern.
    fn cross_forward(&mut self, messages: Vec<Message>, otherwise: Otherwise, known: bool) {
        match otherwise {
            Otherwise::HttpSse(failure) if known => {
                let mut messages = messages.into_iter();
                if let Some(initialize) = messages.next() {
                    self.over_http_sse(initialize, failure);
                }
                self.resume(messages.collect());
            }
            otherwise => self.try_forward(messages, otherwise),
        }
        self.gave_up(Machine::Session);
    }

    /// Gives an `initialize` to HTTP+SSE; what follows goes there too.
    pub(super) fn over_http_sse(&mut self, initialize: Message, refusal: Failure) {
        let Some(url) = self.url.clone() else { return };
        tracing::info!("trying HTTP+SSE of 2024-11-05");
        let channel = Duplex::http_sse(&self.upstream, url, self.limits, self.channels);
        self.progress.forget(Machine::Channel);
        self.channel = Some(channel.with_refusal(refusal));
        self.tell(Machine::Channel, Event::FromClient(initialize));
    }
}

/// The line that answers an `initialize` which is refused for good.
fn refused(messages: &[Message], refusal: &Refusal, failure: &Failure) -> Bytes {
    let id: Option<&Id> = messages.first().and_then(|message| message.request_ids().next());
    let Some(id) = id else { return Bytes::new() };
    match refusal.message() {
        Some(message) if answers(&message, id) => message.line(),
        _ => fault::answer(id, failure),
    }
}

/// Whether an `InitializeResult` names a revision of the era that has none.
fn agrees_on_a_modern_one(message: &Message) -> bool {
    let named = edit::member(message.bytes(), &["result", "protocolVersion"]);
    let version = named.and_then(|raw| metadata::text(raw.get()));
    version.is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()) && *it > *LAST_LEGACY)
}

fn answers(message: &Message, id: &Id) -> bool {
    matches!(message.single(), Some(Envelope::Response { id: Some(named), .. }) if named == id)
}

/// The code of the JSON-RPC error in a refusal, with an id or without.
fn code_of(refusal: &Refusal) -> Option<i64> {
    match refusal.response()?.single() {
        Some(Envelope::Response { error: Some(error), .. }) => refusal::code(error),
        _ => None,
    }
}
