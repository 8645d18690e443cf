//! How exchanges end, and what that means for the requests that they carried: each gets an answer,
//! and none is sent again but for its headers.

use bytes::Bytes;
use http::StatusCode;

use super::{Call, Kind, Stateless};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        era::Era,
        exchange::{Command, End, ExchangeId},
        fault,
        message::{Envelope, Id},
        outcome,
        refusal::{self, HEADER_MISMATCH, METHOD_NOT_FOUND, Refusal},
    },
};

impl Stateless {
    pub(super) fn ended(&mut self, exchange: ExchangeId, end: End) {
        let Some(call) = self.calls.remove(&exchange) else { return };
        if call.kind == Kind::Relist {
            return self.relisting_failed(&end);
        }
        let Some(id) = call.id.clone() else { return };
        let failure = match end {
            End::Refused(refusal) => return self.refused(call, &id, &refusal),
            End::Complete { .. } if call.kind == Kind::Subscription => {
                // A graceful end has a result (subscriptions, "Graceful Closure").
                let what = format!("{} ended the subscription's stream", self.upstream);
                Failure::new(Stage::Protocol, what).hint("subscribe again")
            }
            End::Broken(failure) if call.kind == Kind::Subscription => {
                failure.hint("subscribe again")
            }
            End::Complete { .. } => outcome::unanswered(&self.upstream),
            End::Broken(failure) if failure.never_sent() || failure.stage() == Stage::Protocol => {
                failure
            }
            End::Broken(failure) => outcome::unknown(&failure),
            End::Idle(limit) => outcome::idle(&self.upstream, limit),
        };
        self.fail(&id, &failure);
    }

    fn refused(&mut self, call: Call, id: &Id, refusal: &Refusal) {
        let said = error_for(refusal, id);
        let code = said.as_ref().map(|said| said.code);
        let unknown_method =
            refusal.status == StatusCode::NOT_FOUND && code == Some(METHOD_NOT_FOUND);
        if unknown_method || code.is_some_and(refusal::is_modern) {
            self.shown(Era::Modern);
        } else if speaks_of_the_era(refusal.status) {
            self.shown(Era::Legacy);
            if call.kind == Kind::Discover {
                let line = self.too_old(id);
                return self.answer(id, line);
            }
        }
        match said {
            Some(said) if call.kind == Kind::Tool && said.code == HEADER_MISMATCH => {
                self.mismatched(call, said.line);
            }
            Some(said) => self.answer(id, said.line),
            None => {
                let failure = refusal.explain(&self.upstream);
                let unknown = outcome::may_have_run(refusal.status);
                self.fail(
                    id,
                    &if unknown { failure.hint(outcome::LOOK_AT_ITS_LOG) } else { failure },
                );
            }
        }
    }

    /// A server that does not answer a probe is taken for an old one, this time (stdio, "Backward
    /// Compatibility").
    pub(super) fn probe_elapsed(&mut self, exchange: ExchangeId) {
        if self.settled(exchange) {
            return;
        }
        if let Some(id) = self.calls.remove(&exchange).and_then(|call| call.id) {
            self.out.push(Command::Cancel(exchange));
            let line = self.too_old(&id);
            self.answer(&id, line);
        }
    }

    /// The refusal that has a client of both eras fall back to `initialize`.
    pub(super) fn too_old(&self, id: &Id) -> Bytes {
        fault::no_discovery(id, &self.upstream)
    }

    pub(super) fn answer(&mut self, id: &Id, line: Bytes) {
        self.open.remove(id);
        self.out.push(Command::Deliver(line));
    }

    fn fail(&mut self, id: &Id, failure: &Failure) {
        self.answer(id, fault::answer(id, failure));
    }
}

/// The server's own error in a refusal, as the line that answers request `id`.
struct Said {
    code: i64,
    line: Bytes,
}

/// An error without an id is the server's answer if only this era has its code; any other may be a
/// gateway's, and is explained.
fn error_for(refusal: &Refusal, id: &Id) -> Option<Said> {
    let message = refusal.response()?;
    let Some(Envelope::Response { id: named, error: Some(error) }) = message.single() else {
        return None;
    };
    let code = refusal::code(error)?;
    let line = match named {
        Some(named) if named == id => message.line(),
        None if refusal::is_modern(code) => fault::addressed_to(id, error),
        _ => return None,
    };
    Some(Said { code, line })
}

/// Statuses that a server gives to requests that it does not understand. The others are about who
/// asks, how much and how often, or the server's own trouble.
fn speaks_of_the_era(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 401 | 402 | 403 | 407 | 408 | 413 | 429)
}
