//! A request of the client on its way, and the POST that carries it.

use crate::mcp::{
    edit,
    exchange::ExchangeId,
    message::{Envelope, Message},
};

/// Parts of the idle limit. A call is given up between one and nine eighths of it.
pub(super) const BEATS: u32 = 8;

/// A request without its answer.
#[derive(Debug)]
pub(super) struct Call {
    /// It left; until then it waits.
    pub(super) sent: bool,
    /// The POST that took it last; none on a WebSocket.
    pub(super) post: Option<ExchangeId>,
    /// Beats since anything concerned it.
    pub(super) quiet: u32,
    /// It may be silent for as long as it likes (2026-07-28 "Subscriptions").
    pub(super) endless: bool,
    /// Its progress token, as raw JSON.
    progress: Option<Box<str>>,
}

impl Call {
    /// A request in `message`.
    pub(super) fn new(message: &Message) -> Self {
        let endless = matches!(message.single(), Some(Envelope::Request { method, .. })
            if &**method == "subscriptions/listen");
        let progress = match message.single() {
            Some(_) => edit::member(message.bytes(), &["params", "_meta", "progressToken"]),
            None => None,
        };
        let progress = progress.map(|token| token.get().into());
        Self { sent: false, post: None, quiet: 0, endless, progress }
    }

    /// Whether a `notifications/progress` with this token is about it.
    pub(super) fn progresses(&self, token: &str) -> bool {
        self.progress.as_deref() == Some(token)
    }
}

/// What is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// An `initialize`: the client's, or our own replay of it.
    Open { own: bool },
    /// `notifications/initialized`.
    Confirm,
    /// Anything else; `replayed` where it gets no third try.
    Message { replayed: bool },
}

/// A POST under way.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) exchange: ExchangeId,
    pub(super) what: What,
    pub(super) message: Message,
    /// The channel it belongs to, by count.
    pub(super) epoch: u64,
}
