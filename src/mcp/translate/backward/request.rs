//! A request of the client, and what is sent for it: the same bytes, without what only the client's
//! revision has, under a number of ours.
//!
//! Numbers, which are their progress tokens too, are never used twice, so that a call which is held can't be taken for another to which the
//! client gives the same id.

use std::{borrow::Cow, ops::Range};

use super::said::{Capable, Level, MODERN_KEYS, Said};
use crate::mcp::{
    edit::Edit,
    message::{Id, Message},
};

/// What the client asked.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) leg: u64,
    /// Under which id an answer is due; none while the call is held.
    pub(super) client: Option<Id>,
    /// Under which id it was last asked.
    pub(super) asked_as: Id,
    pub(super) message: Message,
    /// Where in that `_meta` lies and what is left of it, if nothing else is to be taken out.
    meta: Option<(Range<usize>, String)>,
    pub(super) level: Option<Level>,
    pub(super) capable: Capable,
    /// The client's progress token, raw; towards the server that is the request's number.
    pub(super) token: Option<Box<str>>,
    /// The session has it.
    pub(super) sent: bool,
    pub(super) questions: Vec<Question>,
    /// Counts its questions, for their names.
    pub(super) asked: u32,
    pub(super) after: After,
}

/// What we ask the server ourselves.
#[derive(Debug)]
pub(super) enum Own {
    Initialize,
    Level,
    Watch(Box<str>),
    Unwatch(Box<str>),
}

/// What a held call waits for.
#[derive(Debug)]
pub(super) enum After {
    /// The server, once it has its answers.
    Answers,
    /// Nothing: it was answered while it was held.
    Done(Message),
    /// The client, which opens what the server named and has the call begin anew.
    Again,
}

/// What the server wants to know of the client.
#[derive(Debug)]
pub(super) struct Question {
    /// The server's id for it; none where it is asked by an error.
    pub(super) id: Option<Id>,
    /// Its name before the client.
    pub(super) name: String,
    /// The raw JSON of its method and parameters.
    pub(super) input: String,
    /// The client has it.
    pub(super) put: bool,
}

impl Request {
    pub(super) fn new(
        leg: u64,
        id: &Id,
        message: &Message,
        said: Said<'_>,
        capable: Capable,
    ) -> Self {
        Self {
            leg,
            client: Some(id.clone()),
            asked_as: id.clone(),
            message: message.clone(),
            meta: said.meta.map(|(meta, others)| (message.place_of(meta), others)),
            // A subscription's stream has no log messages.
            level: said.level.filter(|_| message.method() != Some("subscriptions/listen")),
            capable,
            token: said.token.map(Into::into),
            sent: false,
            questions: Vec::new(),
            asked: 0,
            after: After::Answers,
        }
    }

    pub(super) fn method(&self) -> &str {
        self.message.method().unwrap_or_default()
    }

    /// The request as a session has it.
    pub(super) fn legacy(&self, key: u64) -> Option<Message> {
        let number = key.to_string();
        // The client may use its token again while this call is held.
        let token = self.token.is_some();
        if let Some((place, others)) = &self.meta {
            let meta = match (token, others.is_empty()) {
                (true, true) => format!(r#"{{"progressToken":{number}}}"#),
                (true, false) => format!(r#"{{{others},"progressToken":{number}}}"#),
                (false, _) => format!("{{{others}}}"),
            };
            return self.message.replaced(&number, place.clone(), &meta);
        }
        let of_meta = MODERN_KEYS.map(|key| ["params", "_meta", key]);
        let mut edits = Vec::with_capacity(of_meta.len() + 4);
        edits.push(Edit::Set(&["id"], Cow::Borrowed(&number)));
        edits.push(Edit::Remove(&["params", "inputResponses"]));
        edits.push(Edit::Remove(&["params", "requestState"]));
        edits.extend(of_meta.iter().map(|path| Edit::Remove(path)));
        let path: &[&str] = &["params", "_meta", "progressToken"];
        edits.extend(token.then(|| Edit::Set(path, Cow::Borrowed(&*number))));
        self.message.edited(&edits)
    }

    /// Notes a question; its name is unlike that of any other of this request.
    pub(super) fn question(&mut self, id: Option<Id>, input: String) {
        self.asked += 1;
        let name = format!("input-{}", self.asked);
        self.questions.push(Question { id, name, input, put: false });
    }
}

/// A notification of the client as a session has it.
pub(super) fn told(message: &Message) -> Message {
    let of_meta = MODERN_KEYS.map(|key| ["params", "_meta", key]);
    let edits: Vec<_> = of_meta.iter().map(|path| Edit::Remove(path)).collect();
    message.edited(&edits).unwrap_or_else(|| message.clone())
}

/// The client's word that a request is cancelled, about the one that has the number `key`.
pub(super) fn cancel(message: &Message, key: u64) -> Option<Message> {
    let id = Edit::Set(&["params", "requestId"], Cow::Owned(key.to_string()));
    message.edited(&[id])
}

/// The number that an id of ours is.
pub(super) fn number(id: &Id) -> Option<u64> {
    id.token().parse().ok()
}
