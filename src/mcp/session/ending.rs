//! How exchanges end, and what that means for the requests they carried.
//!
//! Here stands promise 4: what is proven unprocessed may be sent again, what may have run is
//! answered "outcome unknown", and a stream is only ever continued by GET.

use std::time::Duration;

use http::StatusCode;

use super::{
    Awaits, Command, End, ExchangeId, Offered, Phase, Position, Session, Timer,
    call::{Exchange, Role, backoff},
    fault,
};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        message::{Envelope, Message},
        notification, outcome,
        refusal::Refusal,
    },
};

/// Reconnections of one stream that may fail in a row: about half a minute with the pauses.
const MAX_FAILURES: u32 = 5;
/// The pause before a reconnection when the server names none.
const RECONNECT: Duration = Duration::from_secs(1);
/// What a reconnection counts for at least, so that a server that asks for none can't have us
/// come back for ever.
const MIN_QUIET: Duration = Duration::from_millis(100);

impl Session {
    pub(super) fn ended(&mut self, id: ExchangeId, end: End, position: Position) {
        let Some(mut exchange) = self.exchanges.remove(&id) else { return };
        exchange.advance(position);
        match exchange.role {
            Role::Open { own } => self.opening_ended(own, exchange, end),
            Role::Confirm => {
                if let End::Broken(failure) = &end {
                    tracing::warn!(%failure, "the session could not be confirmed");
                }
                if self.phase == Phase::Confirming && exchange.epoch == self.epoch {
                    self.listen();
                }
            }
            Role::Call => self.call_ended(id, exchange, end),
            Role::Notice => self.notice_ended(exchange, end),
            Role::Listen => self.stream_ended(id, exchange, end),
        }
    }

    fn opening_ended(&mut self, own: bool, exchange: Exchange, end: End) {
        let failure = match end {
            End::Refused(refusal) => match refusal.message() {
                Some(message) if !own && answers(&message, &exchange) => {
                    self.deliver_all(&exchange, &message);
                    self.phase = Phase::Idle;
                    return self.flush();
                }
                _ => refusal.explain(&self.upstream),
            },
            End::Broken(failure) => failure,
            End::Complete { .. } => outcome::unanswered(&self.upstream),
            End::Idle(limit) => outcome::idle(&self.upstream, limit),
        };
        if own {
            return self.reopening_failed(&failure);
        }
        self.phase = Phase::Idle;
        self.fail(&exchange, &failure);
        self.flush();
    }

    fn call_ended(&mut self, id: ExchangeId, exchange: Exchange, end: End) {
        if exchange.unanswered.is_empty() {
            return;
        }
        match end {
            End::Complete { accepted: false } if exchange.position.last_id.is_some() => {
                self.resume(id, exchange, None);
            }
            End::Complete { .. } => {
                let failure = outcome::unanswered(&self.upstream);
                self.fail(&exchange, &failure);
            }
            End::Broken(failure) => self.call_broke(id, exchange, failure),
            End::Refused(refusal) => self.call_refused(id, exchange, &refusal),
            End::Idle(limit) => self.call_idle(&exchange, limit),
        }
    }

    fn call_broke(&mut self, id: ExchangeId, exchange: Exchange, failure: Failure) {
        if exchange.position.last_id.is_some() {
            return self.resume(id, exchange, Some(failure));
        }
        if failure.never_sent() || failure.stage() == Stage::Protocol {
            return self.fail(&exchange, &failure);
        }
        let failure = outcome::unknown(&failure);
        self.fail(&exchange, &failure);
    }

    fn call_refused(&mut self, id: ExchangeId, exchange: Exchange, refusal: &Refusal) {
        let session_sent = exchange.context.session.is_some();
        let lost = self.handshake.is_some() && refusal.session_lost(session_sent);
        let failure = refusal.explain(&self.upstream);
        if exchange.position.last_id.is_some() {
            // It was the continuation that was refused; the call itself had begun to run.
            if worth_asking_again(refusal.status) {
                return self.resume(id, exchange, Some(failure));
            }
            self.fail(&exchange, &outcome::unknown(&failure));
            if lost {
                self.session_lost(exchange.epoch);
            }
            return;
        }
        let own = refusal.message().filter(|message| answers(message, &exchange));
        // 404 is the transport's word; otherwise an error that names the request is its answer.
        let transport = refusal.status == StatusCode::NOT_FOUND || own.is_none();
        if lost && transport && self.may_replay(&exchange) {
            return self.replace_session(exchange);
        }
        match own {
            Some(message) => self.deliver_all(&exchange, &message),
            None if lost && exchange.replayed => {
                self.fail(&exchange, &lost_again(&self.upstream, refusal.status));
            }
            None if outcome::may_have_run(refusal.status) => {
                self.fail(&exchange, &failure.hint(outcome::LOOK_AT_ITS_LOG));
            }
            None => self.fail(&exchange, &failure),
        }
    }

    /// The call is given up here and, so that the server stops too, cancelled there.
    fn call_idle(&mut self, exchange: &Exchange, limit: Duration) {
        for id in &exchange.unanswered {
            let cancel = notification::cancel(id, "no byte came within the idle limit");
            if let Ok(message) = Message::parse(cancel) {
                self.post(message, true);
            }
        }
        let failure = outcome::idle(&self.upstream, limit);
        self.fail(exchange, &failure);
    }

    /// Continues a stream by GET after a pause, or gives its calls up.
    fn resume(&mut self, id: ExchangeId, mut exchange: Exchange, failure: Option<Failure>) {
        let asked = exchange.position.retry.unwrap_or(RECONNECT);
        let after = match &failure {
            None => asked,
            Some(_) => {
                exchange.failures += 1;
                asked.max(backoff(exchange.failures - 1))
            }
        };
        exchange.quiet += after.max(MIN_QUIET);
        if exchange.quiet > self.limits.idle {
            return self.call_idle(&exchange, self.limits.idle);
        }
        if exchange.failures > MAX_FAILURES || exchange.epoch != self.epoch {
            let cause = failure.unwrap_or_else(|| outcome::unanswered(&self.upstream));
            return self.fail(&exchange, &outcome::unknown(&cause));
        }
        self.out.push(Command::Listen {
            exchange: id,
            context: exchange.context.clone(),
            resume: exchange.position.last_id.clone(),
            awaits: Awaits::Answer,
            after,
        });
        self.exchanges.insert(id, exchange);
    }

    fn notice_ended(&mut self, exchange: Exchange, end: End) {
        let problem = match end {
            End::Complete { .. } => return,
            End::Refused(refusal) => {
                let lost = self.handshake.is_some()
                    && refusal.session_lost(exchange.context.session.is_some());
                if lost && !exchange.replayed {
                    // What belongs to the old session's requests has no meaning in a new one.
                    if exchange.message.as_ref().is_none_or(belongs_to_session) {
                        return self.session_lost(exchange.epoch);
                    }
                    return self.replace_session(exchange);
                }
                refusal.explain(&self.upstream)
            }
            End::Broken(failure) => failure,
            End::Idle(limit) => outcome::idle(&self.upstream, limit),
        };
        tracing::warn!(failure = %problem, "a notification or response did not reach the server");
    }

    fn stream_ended(&mut self, id: ExchangeId, mut exchange: Exchange, end: End) {
        if self.stream != Some(id) || exchange.epoch != self.epoch {
            return;
        }
        let was_offered = self.offered == Offered::Yes;
        let mut pause = exchange.position.retry.unwrap_or(RECONNECT);
        match end {
            End::Refused(refusal) => {
                tracing::debug!(status = refusal.status.as_u16(), "the event stream was refused");
                // A 404 to the first GET of a fresh session is a server without that route.
                if was_offered && refusal.session_lost(exchange.context.session.is_some()) {
                    return self.stream_lost_session(exchange.epoch);
                }
                if !worth_asking_again(refusal.status) {
                    self.offered = Offered::No;
                    self.stream = None;
                }
                exchange.failures += 1;
                let patient = matches!(refusal.status.as_u16(), 401 | 403);
                pause = pause.max(if patient { 10 } else { 1 } * backoff(exchange.failures - 1));
            }
            End::Complete { .. } | End::Broken(_) | End::Idle(_) => {
                if let End::Broken(failure) = &end {
                    tracing::debug!(%failure, "the event stream broke");
                }
                pause = pause.max(backoff(exchange.failures));
                exchange.failures += 1;
            }
        }
        if self.stream.is_some() && !self.closing {
            let context = exchange.context.clone();
            let resume = exchange.position.last_id.clone();
            self.exchanges.insert(id, exchange);
            self.out.push(Command::Listen {
                exchange: id,
                context,
                resume,
                awaits: Awaits::Stream,
                after: pause,
            });
        }
        if self.phase == Phase::Listening(id) {
            self.ready();
        }
    }

    /// Answers the open requests of an exchange with a failure.
    pub(super) fn fail(&mut self, exchange: &Exchange, failure: &Failure) {
        for id in &exchange.unanswered {
            if self.open.remove(id).is_some() {
                self.out.push(Command::Deliver(fault::answer(id, failure)));
            }
        }
    }

    /// Delivers the server's own answer to all of an exchange's requests.
    fn deliver_all(&mut self, exchange: &Exchange, message: &Message) {
        self.deliver(message, self.epoch);
        self.fail(exchange, &outcome::unanswered(&self.upstream));
    }

    pub(super) fn retry_later(&mut self) {
        let pause = backoff(self.reopen_failures);
        self.out.push(Command::After(pause, Timer::Reopen(self.epoch)));
    }
}

/// Whether a message answers at least one open request of the exchange.
fn answers(message: &Message, exchange: &Exchange) -> bool {
    message.envelopes().iter().any(|envelope| match envelope {
        Envelope::Response { id: Some(id), .. } => exchange.unanswered.contains(id),
        _ => false,
    })
}

/// Whether a message of the client's is about a request of one session, and means nothing in
/// another.
pub(in crate::mcp) fn belongs_to_session(message: &Message) -> bool {
    message.envelopes().iter().any(|envelope| match envelope {
        Envelope::Notification { method } => {
            matches!(&**method, "notifications/cancelled" | "notifications/progress")
        }
        Envelope::Response { .. } => true,
        Envelope::Request { .. } => false,
    })
}

/// Refusals of a GET that time or a rotated credential can mend. 409 is the word of servers that
/// still hold the stream whose end only we have seen.
fn worth_asking_again(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || matches!(status.as_u16(), 401 | 403 | 408 | 409 | 425 | 429)
}

/// A request that was refused for its session twice; sent on, it might go round for ever.
pub(in crate::mcp) fn lost_again(upstream: &str, status: StatusCode) -> Failure {
    let what = format!("{upstream} lost the session again, as soon as it was replaced ({status})");
    Failure::new(Stage::Response, what).hint(
        "several instances that do not share their sessions may stand behind it: its load \
         balancer has to keep a session on one of them",
    )
}
