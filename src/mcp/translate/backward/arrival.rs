//! What a session says to its client, and what becomes of it before ours: answers are given the form
//! of their revision, questions are asked by answers, and of the rest goes on what the client's
//! revision has.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Backward,
    machine::Origin,
    request::{self, After, Question},
};
use crate::mcp::{
    edit::{Edit, edited},
    exchange::Command,
    message::{Envelope, Message},
    notification,
};

impl Backward {
    /// Takes in a line of the session `leg`; no line ends are in it.
    pub(super) fn spoken(&mut self, leg: u64, origin: Origin, message: &Message) {
        match message.single() {
            Some(Envelope::Response { id, .. }) => {
                let number = id.as_ref().and_then(request::number);
                let Some(number) = number else { return };
                match self.own.remove(&number) {
                    Some((of, own)) => self.own_answered(of, own, message),
                    None => self.answered(number, message),
                }
            }
            Some(Envelope::Request { id, method }) => {
                self.question(leg, origin, id, method, message);
            }
            Some(Envelope::Notification { method }) => {
                self.notified(leg, origin, method, message);
            }
            // No batches in the client's revision.
            None => {
                for part in message.parts().filter_map(|part| Message::parse(part).ok()) {
                    self.spoken(leg, origin, &part);
                }
            }
        }
    }

    /// The server's answer to a request of the client, which may have to be fetched first.
    fn answered(&mut self, key: u64, message: &Message) {
        let Some(request) = self.requests.get_mut(&key) else { return };
        // It wants to know nothing more.
        request.questions.clear();
        if request.client.is_none() {
            request.after = After::Done(message.clone());
            return;
        }
        self.give(key, message);
    }

    fn notified(&mut self, leg: u64, origin: Origin, method: &str, message: &Message) {
        match method {
            // A server of the client's revision takes back nothing but subscriptions.
            "notifications/cancelled" => self.withdrawn(leg, message),
            "notifications/progress" => self.progressed(leg, message),
            "notifications/message" => self.logged(leg, origin, message),
            // Removed since: the client learns it by its retry (changelog, minor 11).
            "notifications/elicitation/complete" => {}
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated" => self.changed(leg, method, message),
            _ => self.out.push(Command::Deliver(message.line())),
        }
    }

    /// The server wants an answer no more.
    fn withdrawn(&mut self, leg: u64, message: &Message) {
        let Some(id) = notification::cancelled_id(message) else { return };
        let other = |question: &Question| question.id.as_ref() != Some(&id);
        for request in self.requests.values_mut().filter(|request| request.leg == leg) {
            request.questions.retain(other);
        }
    }

    /// Progress of a call goes on under the token that the client has for it now, and not at all once
    /// its request is over, be it answered, cancelled or held (patterns/progress, "Behavior
    /// Requirements").
    fn progressed(&mut self, leg: u64, message: &Message) {
        #[derive(Deserialize)]
        struct Progress {
            params: Params,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Params {
            progress_token: u64,
        }
        let progress: Option<Progress> = serde_json::from_slice(message.bytes()).ok();
        let request = progress.and_then(|it| self.requests.get(&it.params.progress_token));
        let active = request.filter(|it| it.leg == leg && it.client.is_some());
        let line = active.and_then(|request| request.token.as_deref()).and_then(|token| {
            let set = Edit::Set(&["params", "progressToken"], Cow::Borrowed(token));
            edited(message.bytes(), &[set])
        });
        self.out.extend(line.map(Command::Deliver));
    }
}
