//! Requests that the server can't complete without the client (2026-07-28 mrtr): what it asks for becomes
//! requests to the client, as they were before, and their answers go with the request when it is sent
//! again.
//!
//! A server that asks and asks comes to an end.

use std::time::Duration;

use super::{
    Asked, Forward,
    calls::Step,
    round::{Required, Round},
};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        edit,
        exchange::{Command, Timer},
        message::{Id, Message},
        notification,
    },
};

/// How often a server may ask for input before it answers one request.
const ROUNDS: u32 = 16;

/// The pause before a request is sent again of which the server has asked nothing else so often in a
/// row: none at first ("the client MAY retry the original request immediately").
fn pause(stalls: u32) -> Option<Duration> {
    let doublings = stalls.checked_sub(2)?;
    Some(Duration::from_millis(250 << doublings.min(6)))
}

impl Forward {
    /// The server wants something before it completes request `id`.
    pub(super) fn input_required(&mut self, id: Id, message: &Message) {
        let required = match Required::read(message.bytes(), &self.profile) {
            Ok(required) => required,
            Err(what) => return self.fail(&id, &self.unanswerable(&what)),
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.rounds += 1;
        let stalls = required.questions.is_empty();
        call.stalls = if stalls { call.stalls + 1 } else { 0 };
        if call.rounds > ROUNDS {
            let what = format!("asks for input more than {ROUNDS} times for one request");
            return self.fail(&id, &self.unanswerable(&what));
        }
        if stalls {
            let again = required.round(Vec::new()).retried(&call.message);
            return self.retry(id, again);
        }
        if self.closing {
            return self.fail(&id, &self.unanswerable("asks for input of a client that is gone"));
        }
        let round = self.ask(&id, required);
        if let Some(call) = self.calls.get_mut(&id) {
            call.step = Step::Asking(round);
        }
    }

    fn unanswerable(&self, what: &str) -> Failure {
        Failure::new(Stage::Protocol, format!("{} {what}", self.upstream))
            .hint("the request has not completed; use a client that can give this input")
    }

    /// Asks the client all of a round, for its request `call`.
    fn ask(&mut self, call: &Id, required: Required<'_>) -> Round {
        let mut ids = Vec::with_capacity(required.questions.len());
        for question in &required.questions {
            let token = format!(r#""countersign-ask-{}""#, self.number());
            #[expect(clippy::expect_used, reason = "it was put together of letters and digits")]
            let id = Id::from_token(&token).expect("an id of our own");
            self.deliver(question.line(&id));
            let asked = Asked { call: call.clone(), method: question.method.as_ref().into() };
            self.asked.insert(id.clone(), asked);
            ids.push(id);
        }
        required.round(ids)
    }

    /// The client's answer to what we have asked.
    pub(super) fn client_answered(&mut self, ask: &Id, error: Option<&[u8]>, message: &Message) {
        let Some(Asked { call: id, method }) = self.asked.remove(ask) else {
            tracing::debug!("a response of the client to nothing that was asked is dropped");
            return;
        };
        let result = edit::member(message.bytes(), &["result"]).filter(|_| error.is_none());
        let Some(result) = result else {
            return self.fail(&id, &not_given(&method, error.unwrap_or_default()));
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Step::Asking(round) = &mut call.step else { return };
        if round.answered(ask, result) {
            let again = round.retried(&call.message);
            self.retry(id, again);
        }
    }

    /// Sends a request again, as it is in `again`, at once or after a pause.
    fn retry(&mut self, id: Id, again: Option<Message>) {
        let Some(message) = again else {
            // What was stamped has an object for params, and the rest was cut from JSON.
            let failure = self.unanswerable("asks for input that can't be added to the request");
            return self.fail(&id, &failure);
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        match pause(call.stalls) {
            None => self.send_again(id, &message),
            Some(pause) => {
                self.count += 1;
                call.step = Step::Pausing(self.count, message);
                self.out.push(Command::After(pause, Timer::Again(self.count)));
            }
        }
    }

    pub(super) fn pause_elapsed(&mut self, number: u64) {
        let due = self.calls.iter().find_map(|(id, call)| match &call.step {
            Step::Pausing(timer, message) if *timer == number => {
                Some((id.clone(), message.clone()))
            }
            _ => None,
        });
        if let Some((id, message)) = due {
            self.send_again(id, &message);
        }
    }

    /// Tells the client that what it is being asked is not needed any more.
    pub(super) fn ask_no_more(&mut self, round: &Round, reason: &'static str) {
        for id in round.ids() {
            if self.asked.remove(id).is_some() {
                self.deliver(notification::cancel(id, reason));
            }
        }
    }
}

/// The client has answered a question with an error.
fn not_given(method: &str, error: &[u8]) -> Failure {
    let said = edit::member(error, &["message"])
        .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
        .map(|said| format!(": {said}"))
        .unwrap_or_default();
    let what = format!("the client answered {method} with an error{said}");
    Failure::new(Stage::Downstream, what)
        .hint("the server can't complete the request without that input")
}
