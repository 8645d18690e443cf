//! One HTTP exchange with the upstream, as the session sees it.

use std::time::Duration;

use http::HeaderValue;

use crate::mcp::{
    exchange::{Context, Position},
    message::{Id, Message},
};

/// What an exchange is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// An `initialize`: the client's, or our own replay of it.
    Open { own: bool },
    /// `notifications/initialized`.
    Confirm,
    /// Requests of the client.
    Call,
    /// Notifications and responses of the client.
    Notice,
    /// The GET stream.
    Listen,
}

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) role: Role,
    /// The session it was sent in, by count.
    pub(super) epoch: u64,
    pub(super) context: Context,
    /// What was posted; none for the GET stream.
    pub(super) message: Option<Message>,
    /// The client's requests in it that still want their answer.
    pub(super) unanswered: Vec<Id>,
    /// The message was sent before and proven unprocessed: it gets no third try.
    pub(super) replayed: bool,
    /// The server has sent something on it: what it carried has begun to run.
    pub(super) touched: bool,
    /// The session id that its response's head brought.
    pub(super) opened: Option<HeaderValue>,
    pub(super) position: Position,
    /// Reconnections that failed since the last event.
    pub(super) failures: u32,
    /// How long has been waited between reconnections since the last event.
    pub(super) quiet: Duration,
}

impl Exchange {
    pub(super) fn new(role: Role, epoch: u64, context: Context, message: Option<Message>) -> Self {
        let ids = message.iter().flat_map(|message| message.request_ids().cloned());
        Self {
            role,
            epoch,
            context,
            unanswered: ids.collect(),
            message,
            replayed: false,
            touched: false,
            opened: None,
            position: Position::default(),
            failures: 0,
            quiet: Duration::ZERO,
        }
    }

    /// Takes over how far the stream came this time.
    pub(super) fn advance(&mut self, position: Position) {
        if position.progressed {
            self.failures = 0;
            self.quiet = Duration::ZERO;
        }
        self.position.last_id = position.last_id.or(self.position.last_id.take());
        self.position.retry = position.retry.or(self.position.retry);
    }
}

/// The pause after `failures` failures in a row: 1 s, doubled up to 30 s.
pub(in crate::mcp) fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(5)).min(Duration::from_secs(30))
}
