//! What the client sends while the session is being opened: it waits for the session to stand, in
//! order, unless the server may be waiting for it.

use super::{INITIALIZED, Phase, Session, call::Role, ending};
use crate::mcp::message::Message;

impl Session {
    pub(super) fn route(&mut self, message: Message) {
        if self.phase == Phase::Opened && message.is_notification(INITIALIZED) {
            return self.confirm(message);
        }
        if message.request_ids().next().is_none() && ending::belongs_to_session(&message) {
            return self.reply(message);
        }
        match self.phase {
            Phase::Idle | Phase::Opened | Phase::Ready => self.post(message, false),
            Phase::Opening | Phase::Confirming | Phase::Listening(_) => self.hold(message, false),
            Phase::Lost => {
                self.hold(message, false);
                self.reopen();
            }
            Phase::Finished => {}
        }
    }

    /// Sends what belongs to a request in flight, at once: the server may wait for it before it
    /// answers anything else, the `initialize` included.
    fn reply(&mut self, message: Message) {
        match self.phase {
            Phase::Lost | Phase::Finished => {
                tracing::debug!("what belongs to the session before is dropped");
            }
            Phase::Opening => {
                let opening = self.exchanges.values().find_map(|it| match it.role {
                    Role::Open { own } => Some((own, it.opened.clone())),
                    _ => None,
                });
                let session = match opening {
                    // Nothing has come in the new session that this could belong to.
                    Some((true, None)) | None => return,
                    Some((_, session)) => session,
                };
                let before = std::mem::replace(&mut self.context.session, session);
                self.post(message, false);
                self.context.session = before;
            }
            _ => self.post(message, false),
        }
    }

    /// Keeps a message for the session that is being opened.
    pub(super) fn hold(&mut self, message: Message, replayed: bool) {
        let calls = message.request_ids().next().is_some();
        if !calls && self.held.len() >= 4 * self.limits.in_flight {
            tracing::warn!("too many messages wait for the session, one notification is dropped");
            return;
        }
        self.held.push_back((message, replayed));
    }

    /// Sends what was held, up to what must wait again: a client may write its whole handshake
    /// ahead of the answers, as one does whose stdin is a file.
    pub(super) fn flush(&mut self) {
        for (message, replayed) in std::mem::take(&mut self.held) {
            match self.phase {
                Phase::Idle | Phase::Opened | Phase::Ready if replayed => self.post(message, true),
                _ if replayed => self.hold(message, true),
                // The client's `initialized` may be among them, and then what follows waits on.
                _ => self.route(message),
            }
        }
    }
}
