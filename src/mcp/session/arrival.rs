//! What the server sends: heads and messages of responses, and what they mean for the requests
//! they answer.
//!
//! A response is delivered to the client as it came, once, if one of its requests waits for it;
//! what only looks like an answer (a lost session in a 200, an error without an id) is dealt with
//! here.

use bytes::Bytes;
use http::HeaderValue;

use super::{
    Command, Context, ExchangeId, MAX_ASKED, Offered, Phase, Session, exchange::Role,
    handshake::Agreed,
};
use crate::mcp::{
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
        let Some(exchange) = self.exchanges.get(&id) else { return };
        if let Role::Open { own } = exchange.role
            && message.envelopes().iter().any(|e| matches!(e, Envelope::Response { .. }))
        {
            return self.opened(id, own, message);
        }
        let mut deliver = false;
        for envelope in message.envelopes() {
            deliver |= match envelope {
                Envelope::Notification { .. } => true,
                Envelope::Request { id, .. } => {
                    if self.asked.len() < MAX_ASKED {
                        self.asked.insert(id.clone(), self.epoch);
                    }
                    true
                }
                Envelope::Response { id: answered, error } => {
                    if self.refused_by_error(id, answered.as_ref(), error.as_ref()) {
                        return;
                    }
                    answered.as_ref().is_some_and(|answered| self.answered(answered))
                }
            };
        }
        if deliver {
            self.out.push(Command::Deliver(message.line()));
        }
    }

    /// Notes the answer to a request of the client; false if there is none such, or it was
    /// answered before.
    fn answered(&mut self, id: &Id) -> bool {
        let Some(exchange) = self.open.remove(id) else {
            tracing::debug!(id = id.token(), "a response to no request in flight is dropped");
            return false;
        };
        if let Some(exchange) = exchange.and_then(|exchange| self.exchanges.get_mut(&exchange)) {
            exchange.unanswered.retain(|open| open != id);
        }
        true
    }

    /// Error responses that mean more than they are: a lost session in a 200, and an error
    /// that could not name its request. True if the response is dealt with.
    fn refused_by_error(
        &mut self,
        id: ExchangeId,
        answered: Option<&Id>,
        error: Option<&Bytes>,
    ) -> bool {
        let (Some(error), Some(exchange)) = (error, self.exchanges.get(&id)) else { return false };
        if exchange.role != Role::Call || exchange.unanswered.is_empty() {
            return false;
        }
        let own = answered.is_some_and(|answered| self.open.contains_key(answered));
        let lost = exchange.context.session.is_some() && refusal::error_says_session_lost(error);
        if lost && !exchange.replayed && self.handshake.is_some() {
            self.out.push(Command::Cancel(id));
            if let Some(exchange) = self.exchanges.remove(&id) {
                self.replace_session(exchange);
            }
            return true;
        }
        if own {
            return false;
        }
        // Some servers answer with the id null or "server-error": it can only mean this call.
        let ids = self.exchanges.get_mut(&id).map(|e| std::mem::take(&mut e.unanswered));
        for id in ids.unwrap_or_default() {
            self.open.remove(&id);
            let token = id.token();
            let error = String::from_utf8_lossy(error);
            let line = format!(r#"{{"jsonrpc":"2.0","id":{token},"error":{error}}}"#);
            self.out.push(Command::Deliver(Bytes::from(line.replace(['\n', '\r'], " "))));
        }
        true
    }

    /// The response to an `initialize`.
    fn opened(&mut self, id: ExchangeId, own: bool, message: &Message) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        let session = exchange.opened.take();
        for open in std::mem::take(&mut exchange.unanswered) {
            self.open.remove(&open);
        }
        // The exchange has done its work; what its stream may still bring is the server's.
        exchange.role = Role::Call;
        let agreed = Agreed::read(message);
        if own {
            return self.reopened(session, agreed);
        }
        self.out.push(Command::Deliver(message.line()));
        match agreed {
            Some(agreed) => {
                self.context = Context { session, version: agreed.version };
                self.phase = Phase::Opened;
                tracing::info!(epoch = self.epoch, version = ?self.context.version, "session opened");
            }
            None => self.phase = Phase::Idle,
        }
        self.flush();
    }
}
