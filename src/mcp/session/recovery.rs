//! A lost session is replaced: the client's handshake is repeated under an id of our own, what
//! the loss proves unprocessed is sent again, and the client is told to look at its lists.
//!
//! However many calls find out at the same time, one new session results: what they were sent
//! in is counted, and only the loss of the current one starts another.

use http::HeaderValue;

use super::{
    Command, Context, Phase, Session, Timer,
    call::{Exchange, Role, backoff},
    fault,
};
use crate::{
    failure::{Failure, Stage},
    mcp::{handshake::Agreed, notification},
};

impl Session {
    /// The id of our own `initialize`; a client that uses the same is only ever confused by a
    /// server that answers twice.
    pub(super) fn own_id(&self) -> String {
        format!("\"countersign-{}\"", self.epoch)
    }

    /// The exchange's message was refused for its session, hence not processed: it goes out
    /// again in the session that replaces it.
    pub(super) fn replace_session(&mut self, exchange: Exchange) {
        let epoch = exchange.epoch;
        let Some(message) = exchange.message else { return };
        for id in &exchange.unanswered {
            self.open.insert(id.clone(), None);
        }
        let before = self.phase;
        self.session_lost(epoch);
        let waits = matches!(
            self.phase,
            Phase::Opening | Phase::Confirming | Phase::Listening(_) | Phase::Lost
        );
        if waits {
            self.hold(message, true);
        } else {
            self.post(message, true);
        }
        if before == Phase::Lost && self.phase == Phase::Lost {
            self.reopen();
        }
    }

    /// The session of `epoch` is gone; starts another unless that has happened.
    pub(super) fn session_lost(&mut self, epoch: u64) {
        if epoch != self.epoch || matches!(self.phase, Phase::Opening | Phase::Lost) {
            return;
        }
        tracing::info!(epoch, "the server lost the session");
        self.reopen();
    }

    /// The event stream found out. A server that drops each session as soon as its stream ends is
    /// not asked for a new one each time at once.
    pub(super) fn stream_lost_session(&mut self, epoch: u64) {
        self.churn += 1;
        if self.churn <= 1 {
            return self.session_lost(epoch);
        }
        self.stream = None;
        self.phase = Phase::Lost;
        let pause = backoff(self.churn);
        self.out.push(Command::After(pause, Timer::Reopen(self.epoch)));
    }

    /// Repeats the client's `initialize`.
    pub(super) fn reopen(&mut self) {
        let Some(handshake) = &self.handshake else { return };
        let message = handshake.initialize.clone();
        // There is nothing to DELETE: the server said that it does not know it.
        self.context = Context::default();
        self.leave();
        self.dismiss_asked();
        self.phase = Phase::Opening;
        self.post_as(Role::Open { own: true }, message, false);
    }

    /// Questions of the session before can't be answered any more: the client may drop them.
    /// They stay known, so that an answer that comes all the same is not taken for one to a
    /// question of the new session.
    fn dismiss_asked(&mut self) {
        let before = self.epoch - 1;
        for id in self.asked.iter().filter(|(_, epoch)| **epoch == before).map(|(id, _)| id) {
            let line = notification::cancel(id, "the server lost the session");
            self.out.push(Command::Deliver(line));
        }
    }

    pub(super) fn reopened(&mut self, session: Option<HeaderValue>, agreed: Option<Agreed>) {
        let Some(agreed) = agreed else {
            let failure = Failure::new(
                Stage::Protocol,
                format!("{} lost the session and refused to open another", self.upstream),
            )
            .hint("restart the MCP client's connection to this server");
            return self.reopening_failed(&failure);
        };
        self.context = Context { session, version: agreed.version, ..Context::default() };
        tracing::info!(epoch = self.epoch, "session replaced");
        for list in agreed.lists {
            self.out.push(Command::Deliver(notification::list_changed(list)));
        }
        match self.handshake.as_ref().and_then(|handshake| handshake.initialized.clone()) {
            Some(initialized) => self.confirm(initialized),
            // The client's own `initialized` is still to come.
            None => {
                self.phase = Phase::Opened;
                self.flush();
            }
        }
    }

    /// Answers what waited for the new session; the next message tries again, and so does time
    /// where the server has a stream that the client should hear.
    pub(super) fn reopening_failed(&mut self, failure: &Failure) {
        self.phase = Phase::Lost;
        tracing::warn!(%failure, "the session could not be replaced");
        let held = std::mem::take(&mut self.held);
        if held.iter().any(|(message, _)| message.request_ids().next().is_none()) {
            tracing::warn!("notifications or responses of the client could not be sent");
        }
        for id in held.iter().flat_map(|(message, _)| message.request_ids()) {
            if self.open.remove(id).is_some() {
                self.out.push(Command::Deliver(fault::answer(id, failure)));
            }
        }
        if self.had_stream {
            self.retry_later();
        }
        self.reopen_failures += 1;
    }
}
