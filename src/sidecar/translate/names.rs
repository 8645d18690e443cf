//! What a client of the modern era calls its request, and what that is called before the engine, which
//! has the requests of many clients: a number of ours in the place of its id and its progress token.

use std::borrow::Cow;

use bytes::Bytes;

use crate::mcp::{
    edit::{self, Edit, edited},
    message::{Id, Message},
    metadata::{LOG_LEVEL, SUBSCRIPTION_ID},
};

const TOKEN: [&str; 3] = ["params", "_meta", "progressToken"];

/// Log levels, from the most talkative on (RFC 5424).
const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// The client's own names for a request.
#[derive(Debug)]
pub(super) struct Names {
    id: Id,
    /// The raw progress token.
    token: Option<Box<str>>,
    /// From which level on it wants log messages.
    level: Option<usize>,
    listens: bool,
    lists_tools: bool,
}

impl Names {
    /// The names in the request `message`, and the request under `number` instead; none where its
    /// members can't be told apart.
    pub(super) fn replace(
        message: &Message,
        (id, method): (&Id, &str),
        number: u64,
    ) -> Option<(Self, Message)> {
        let token = edit::member(message.bytes(), &TOKEN).map(|raw| raw.get().into());
        let level = edit::member(message.bytes(), &["params", "_meta", LOG_LEVEL]);
        let own = || Cow::Owned(number.to_string());
        let mut edits = vec![Edit::Set(&["id"], own())];
        if token.is_some() {
            edits.push(Edit::Set(&TOKEN, own()));
        }
        let renamed = Message::parse(edited(message.bytes(), &edits)?).ok()?;
        let level = level.and_then(|raw| rank(raw.get()));
        let (listens, lists_tools) = (method == "subscriptions/listen", method == "tools/list");
        let names = Self { id: id.clone(), token, level, listens, lists_tools };
        Some((names, renamed))
    }

    /// Whether the request is a stream that is only listened to.
    pub(super) fn listens(&self) -> bool {
        self.listens
    }

    /// Whether its answer is a list of tools.
    pub(super) fn lists_tools(&self) -> bool {
        self.lists_tools
    }

    /// Whether it has a progress token.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The answer as the client knows it.
    pub(super) fn answer(&self, message: &Message) -> Bytes {
        let subscription = ["result", "_meta", SUBSCRIPTION_ID];
        let named = self.listens && edit::member(message.bytes(), &subscription).is_some();
        let mut edits = vec![Edit::Set(&["id"], self.id())];
        if named {
            edits.push(Edit::Set(&subscription, self.id()));
        }
        with(message, &edits)
    }

    /// Its progress.
    pub(super) fn progress(&self, message: &Message) -> Bytes {
        let token = self.token.as_deref().unwrap_or("null");
        with(message, &[Edit::Set(&["params", "progressToken"], Cow::Borrowed(token))])
    }

    /// A message of its subscription.
    pub(super) fn subscribed(&self, message: &Message) -> Bytes {
        with(message, &[Edit::Set(&["params", "_meta", SUBSCRIPTION_ID], self.id())])
    }

    /// Whether it wants this log message.
    pub(super) fn wants(&self, message: &Message) -> bool {
        let level = edit::member(message.bytes(), &["params", "level"]);
        let level = level.and_then(|raw| rank(raw.get()));
        self.level.is_some_and(|wanted| level.is_none_or(|level| level >= wanted))
    }

    fn id(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.id.token())
    }
}

fn with(message: &Message, edits: &[Edit<'_>]) -> Bytes {
    edited(&message.line(), edits).unwrap_or_else(|| message.line())
}

fn rank(raw: &str) -> Option<usize> {
    let level: Cow<'_, str> = serde_json::from_str(raw).ok()?;
    LEVELS.iter().position(|it| *it == level)
}
