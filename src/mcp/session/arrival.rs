//! What the server sends: heads and messages of responses, and what they mean for the requests
//! they answer.
//!
//! A response is delivered to the client as it came, once, if one of its requests waits for it;
//! what only looks like an answer (a lost session in a 200, an error without an id) is dealt with
//! here.

use bytes::Bytes;
use http::HeaderValue;

use super::{
    Command, Context, ExchangeId, MAX_ASKED, Offered, Phase, Session,
    call::{Exchange, Role},
};
use crate::mcp::{
    fault,
    handshake::Agreed,
    message::{Envelope, Id, Message},
    refusal,
};

impl Session {
    pub(super) fn head(&mut self, id: ExchangeId, session: Option<HeaderValue>) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        match exchange.role {
            Role::Open { .. } => exchange.opened = session,
            Role::Listen => {
                self.offered = Offered::Yes;
                self.had_stream = true;
                if self.phase == Phase::Listening(id) {
                    self.ready();
                }
            }
            Role::Confirm | Role::Call | Role::Notice => {}
        }
    }

    pub(super) fn server_sent(&mut self, id: ExchangeId, message: &Message) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        let (role, epoch) = (exchange.role, exchange.epoch);
        let first = !std::mem::replace(&mut exchange.touched, true);
        if let Role::Open { own } = role
            && opens(message, if own { &[] } else { &exchange.unanswered })
        {
            return self.opened(id, own, message);
        }
        if let Some(Envelope::Response { id: answered, error: Some(error) }) = message.single()
            && self.refused_by_error(id, answered.as_ref(), error, first)
        {
            return;
        }
        self.deliver(message, epoch);
    }

    /// Delivers what of a message the client is to see: of a batch only what is news, since a second answer
    /// must not reach it.
    pub(super) fn deliver(&mut self, message: &Message, epoch: u64) {
        let wanted: Vec<bool> =
            message.envelopes().iter().map(|envelope| self.wanted(envelope, epoch)).collect();
        if wanted.iter().all(|wanted| *wanted) {
            self.out.push(Command::Deliver(message.line()));
            return;
        }
        for (part, _) in message.parts().zip(wanted).filter(|(_, wanted)| *wanted) {
            self.out.push(Command::Deliver(part));
        }
    }

    /// Whether the client is to see a message of the server's, which is noted as seen.
    fn wanted(&mut self, envelope: &Envelope, epoch: u64) -> bool {
        match envelope {
            Envelope::Notification { .. } => true,
            Envelope::Request { id, .. } => {
                if self.asked.len() >= MAX_ASKED {
                    let current = self.epoch;
                    self.asked.retain(|_, epoch| *epoch == current);
                }
                if self.asked.len() < MAX_ASKED {
                    self.asked.insert(id.detached(), epoch);
                }
                true
            }
            Envelope::Response { id, .. } => id.as_ref().is_some_and(|id| self.answered(id)),
        }
    }

    /// Notes the answer to a request of the client; false if there is none such, if it was answered
    /// before, or if it still waits to be sent: then a request before it had the same id.
    fn answered(&mut self, id: &Id) -> bool {
        let Some(exchange) = self.open.get(id).copied().flatten() else {
            tracing::debug!(id = id.token(), "a response to no request in flight is dropped");
            return false;
        };
        self.open.remove(id);
        if let Some(exchange) = self.exchanges.get_mut(&exchange) {
            exchange.unanswered.retain(|open| open != id);
        }
        // A session that answers is a good one.
        self.churn = 0;
        true
    }

    /// Error responses that mean more than they are: a lost session in a 200, and an error
    /// that could not name its request. True if the response is dealt with.
    fn refused_by_error(
        &mut self,
        id: ExchangeId,
        answered: Option<&Id>,
        error: &Bytes,
        first: bool,
    ) -> bool {
        let Some(exchange) = self.exchanges.get(&id) else { return false };
        if exchange.role != Role::Call || exchange.unanswered.is_empty() {
            return false;
        }
        let named = answered.is_some_and(|answered| self.open.contains_key(answered));
        // What has sent anything before has begun to run.
        let untouched = first && exchange.position.last_id.is_none();
        let lost = refusal::error_says_session_lost(error, named);
        if lost && untouched && self.may_replay(exchange) && exchange.context.session.is_some() {
            self.out.push(Command::Cancel(id));
            if let Some(exchange) = self.exchanges.remove(&id) {
                self.replace_session(exchange);
            }
            return true;
        }
        if named {
            return false;
        }
        // Some servers answer with the id null or "server-error": it can only mean this call.
        let ids = self.exchanges.get_mut(&id).map(|e| std::mem::take(&mut e.unanswered));
        self.answer_unnamed(ids.unwrap_or_default(), error);
        true
    }

    /// Whether a call that is proven unprocessed goes out again: once, whole, and only where a
    /// session can be opened.
    pub(super) fn may_replay(&self, exchange: &Exchange) -> bool {
        let requests = exchange.message.iter().flat_map(|message| message.request_ids()).count();
        self.handshake.is_some() && !exchange.replayed && exchange.unanswered.len() == requests
    }

    /// Gives the server's error, which could not name its request, to the requests it means.
    fn answer_unnamed(&mut self, ids: Vec<Id>, error: &Bytes) {
        for id in ids {
            self.open.remove(&id);
            self.out.push(Command::Deliver(fault::addressed_to(&id, error)));
        }
    }

    /// The response to an `initialize`.
    fn opened(&mut self, id: ExchangeId, own: bool, message: &Message) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        let (session, epoch) = (exchange.opened.take(), exchange.epoch);
        let waiting = std::mem::take(&mut exchange.unanswered);
        // The exchange has done its work; what its stream may still bring is the server's.
        exchange.role = Role::Call;
        let agreed = Agreed::read(message);
        if own {
            return self.reopened(session, agreed);
        }
        match message.single() {
            Some(Envelope::Response { id, error: Some(error) })
                if !id.as_ref().is_some_and(|id| waiting.contains(id)) =>
            {
                self.answer_unnamed(waiting, error);
            }
            _ => self.deliver(message, epoch),
        }
        match agreed {
            Some(agreed) => {
                self.context = Context { session, version: agreed.version, ..Context::default() };
                self.phase = Phase::Opened;
                tracing::info!(epoch = self.epoch, version = ?self.context.version, "session opened");
            }
            None => self.phase = Phase::Idle,
        }
        self.flush();
    }
}

/// Whether a message is the answer to an `initialize` that `waiting` waits for: it names that, or is an
/// error that could not. A result for something else answers nothing.
fn opens(message: &Message, waiting: &[Id]) -> bool {
    let alone = message.single().is_some();
    message.envelopes().iter().any(|envelope| match envelope {
        Envelope::Response { error: Some(_), .. } if alone => true,
        Envelope::Response { id, .. } => {
            waiting.is_empty() || id.as_ref().is_some_and(|id| waiting.contains(id))
        }
        _ => false,
    })
}
