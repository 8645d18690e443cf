//! How exchanges end, and what that means for the requests that they carried: each gets an answer,
//! and none is sent again but for its headers.

use std::ops::RangeInclusive;

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

/// JSON-RPC 2.0 section 5.1: the codes that are reserved, and the one of what failed on its way.
const OF_JSON_RPC: RangeInclusive<i64> = -32_768..=-32_000;
const INTERNAL_ERROR: i64 = -32_603;

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
        match self.era_shown(&call, refusal) {
            Some(Era::Legacy) => {
                self.shown(Era::Legacy);
                if call.kind == Kind::Discover {
                    let line = self.too_old(id);
                    return self.answer(id, line);
                }
            }
            Some(Era::Modern) => self.shown(Era::Modern),
            None => {}
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

    /// What a refusal shows of the server: nothing, where it is about the one request.
    fn era_shown(&self, call: &Call, refusal: &Refusal) -> Option<Era> {
        let error = refusal.response().and_then(|message| match message.single() {
            Some(Envelope::Response { id, error: Some(error) }) => {
                Some((id.clone(), refusal::code(error)?))
            }
            _ => None,
        });
        // Who names the request and has an error of its own for it has looked at it, and may have run it.
        let own = |code: i64| code == INTERNAL_ERROR || !OF_JSON_RPC.contains(&code);
        if let Some((Some(id), code)) = &error
            && call.id.as_ref() == Some(id)
            && call.kind != Kind::Discover
            && own(*code)
        {
            return None;
        }
        let error = error.map(|(id, code)| (id.is_some(), code));
        let unknown_method = matches!(error, Some((true, METHOD_NOT_FOUND)))
            && refusal.status == StatusCode::NOT_FOUND
            && call.kind != Kind::Discover;
        if unknown_method || error.is_some_and(|(_, code)| refusal::is_modern(code)) {
            return Some(Era::Modern);
        }
        // Who was modern once has to say more than a gateway would, to count as legacy.
        let transport = matches!(error, Some((false, _)));
        let known = self.era == Some(Era::Modern) && call.kind != Kind::Discover;
        (refusal.speaks_of_the_era() && (transport || !known)).then_some(Era::Legacy)
    }

    /// Whether the refusal of an exchange's request is that of a server which does not know the era.
    pub(in crate::mcp) fn reads_as_old(&self, exchange: ExchangeId, refusal: &Refusal) -> bool {
        let call = self.calls.get(&exchange);
        call.is_some_and(|call| self.era_shown(call, refusal) == Some(Era::Legacy))
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
