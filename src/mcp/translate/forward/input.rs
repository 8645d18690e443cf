//! Requests that the server can't complete without the client (2026-07-28 mrtr): what it asks for becomes
//! requests to the client, as they were before, and their answers go with the request when it is sent
//! again.
//!
//! `requestState` and the answers are carried as they came, unread. Rounds and questions are counted.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Forward,
    calls::Step,
    profile::{self, Profile},
};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        edit::{self, Edit},
        exchange::{Command, Timer},
        message::{Id, Message},
        notification,
    },
};

/// How often a server may ask for input before it answers one request.
const ROUNDS: u32 = 16;
/// What it may ask for at a time.
const ASKS: usize = 64;

/// The pause before a request is sent again to which the server had nothing to ask: none at first.
fn pause(stalls: u32) -> Option<Duration> {
    let doublings = stalls.checked_sub(2)?;
    Some(Duration::from_millis(250 << doublings.min(6)))
}

/// What the server asks for, and what the client has said to it.
#[derive(Debug)]
pub(super) struct Round {
    /// `requestState`, raw.
    state: Option<Box<str>>,
    asks: Vec<Ask>,
}

#[derive(Debug)]
struct Ask {
    /// The server's name for it, as raw JSON.
    key: String,
    /// Ours towards the client.
    id: Id,
    /// The client's result, raw.
    said: Option<Box<str>>,
}

/// The request of the client that a question is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    call: Id,
    method: Box<str>,
}

/// An `InputRequiredResult`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Required<'a> {
    #[serde(borrow, default)]
    input_requests: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_state: Option<&'a RawValue>,
}

/// One of its `inputRequests`.
#[derive(Deserialize)]
struct Question<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

impl Forward {
    /// The server wants something before it completes request `id`.
    pub(super) fn input_required(&mut self, id: Id, message: &Message) {
        let result = edit::member(message.bytes(), &["result"]);
        let required: Required<'_> =
            result.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let questions = match questions(&self.profile, &required) {
            Ok(questions) => questions,
            Err(what) => return self.fail(&id, &self.unanswerable(&what)),
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.rounds += 1;
        call.stalls = if questions.is_empty() { call.stalls + 1 } else { 0 };
        if call.rounds > ROUNDS {
            let what = format!("asks for input more than {ROUNDS} times for one request");
            return self.fail(&id, &self.unanswerable(&what));
        }
        let state = required.request_state.map(|raw| raw.get().into());
        if questions.is_empty() {
            let again = Round { state, asks: Vec::new() }.retried(&call.message);
            return self.retry(id, again);
        }
        if self.closing {
            return self.fail(&id, &self.unanswerable("asks for input of a client that is gone"));
        }
        let asks = questions.into_iter().map(|(key, question)| self.ask(&id, &key, &question));
        let round = Round { state, asks: asks.collect() };
        if let Some(call) = self.calls.get_mut(&id) {
            call.step = Step::Asking(round);
        }
    }

    fn unanswerable(&self, what: &str) -> Failure {
        Failure::new(Stage::Protocol, format!("{} {what}", self.upstream))
            .hint("the request has not completed; use a client that can give this input")
    }

    /// Asks the client one thing.
    fn ask(&mut self, call: &Id, key: &str, question: &Question<'_>) -> Ask {
        let token = format!(r#""countersign-ask-{}""#, self.number());
        let mut line = format!(r#"{{"jsonrpc":"2.0","id":{token},"method":"{}""#, question.method);
        if let Some(params) = question.params {
            line.push_str(r#","params":"#);
            line.push_str(&legacy_params(params, &token));
        }
        line.push('}');
        self.deliver(Bytes::from(line));
        // The token is a string without escapes.
        #[expect(clippy::expect_used, reason = "it was put together of letters and digits")]
        let id = Id::from_token(&token).expect("an id of our own");
        let method = question.method.as_ref().into();
        self.asked.insert(id.clone(), Asked { call: call.clone(), method });
        Ask { key: key.to_owned(), id, said: None }
    }

    /// The client's answer to what we have asked.
    pub(super) fn client_answered(&mut self, ask: &Id, error: Option<&[u8]>, message: &Message) {
        let Some(Asked { call: id, method }) = self.asked.remove(ask) else {
            tracing::debug!("a response of the client to nothing that was asked is dropped");
            return;
        };
        let result = edit::member(message.bytes(), &["result"]).filter(|_| error.is_none());
        let Some(result) = result else {
            let said = error
                .and_then(|error| edit::member(error, &["message"]))
                .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
                .map(|said| format!(": {said}"))
                .unwrap_or_default();
            let what = format!("the client answered {method} with an error{said}");
            let failure = Failure::new(Stage::Downstream, what)
                .hint("the server can't complete the request without that input");
            return self.fail(&id, &failure);
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Step::Asking(round) = &mut call.step else { return };
        if let Some(asked) = round.asks.iter_mut().find(|it| it.id == *ask) {
            asked.said = Some(result.get().into());
        }
        if round.asks.iter().all(|it| it.said.is_some()) {
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
        for ask in &round.asks {
            if self.asked.remove(&ask.id).is_some() {
                self.deliver(notification::cancel(&ask.id, reason));
            }
        }
    }
}

impl Round {
    /// `request` with this round's answers and state, and with none of another's (mrtr, "Client
    /// Requirements" 1 and 2).
    fn retried(&self, request: &Message) -> Option<Message> {
        let said = self.asks.iter().filter_map(|ask| Some((&ask.key, ask.said.as_deref()?)));
        let said: Vec<String> = said.map(|(key, said)| format!("{key}:{said}")).collect();
        let responses = match said.is_empty() {
            true => Edit::Remove(&["params", "inputResponses"]),
            false => {
                let raw = format!("{{{}}}", said.join(","));
                Edit::Set(&["params", "inputResponses"], raw.into())
            }
        };
        let state = match &self.state {
            Some(state) => Edit::Set(&["params", "requestState"], state.as_ref().into()),
            None => Edit::Remove(&["params", "requestState"]),
        };
        Message::parse(edit::edited(request.bytes(), &[responses, state])?).ok()
    }
}

/// What the server asks, each with its key as raw JSON, or why it can't be asked.
fn questions<'a>(
    profile: &Profile,
    required: &Required<'a>,
) -> Result<Vec<(String, Question<'a>)>, String> {
    let requests = required.input_requests.filter(|raw| raw.get() != "null");
    let members = requests.map_or(Some(Vec::new()), |raw| edit::members(raw.get()));
    let members = members.ok_or("asks for input in a form that can't be read")?;
    if members.is_empty() && required.request_state.is_none() {
        return Err("asks for input and does not say for which".to_owned());
    }
    if members.len() > ASKS {
        return Err(format!("asks for more than {ASKS} inputs at a time"));
    }
    let question = |(key, raw): (Cow<'_, str>, &'a RawValue)| {
        let unread = "asks for input in a form that can't be read";
        let question: Question<'a> = serde_json::from_str(raw.get()).map_err(|_| unread)?;
        let key = serde_json::to_string(&key).map_err(|_| unread)?;
        match profile.lacks(&question.method, question.params) {
            Some(lacking) => {
                Err(format!("asks for an input that this client has not declared: {lacking}"))
            }
            None => Ok((key, question)),
        }
    };
    members.into_iter().map(question).collect()
}

/// Up to 2025-11-25 a URL that is to be visited has an id, which 2026-07-28 took away (changelog, minor
/// 11).
fn legacy_params<'a>(params: &'a RawValue, token: &str) -> Cow<'a, str> {
    let text = params.get();
    if !profile::by_url(Some(params)) || edit::member(text.as_bytes(), &["elicitationId"]).is_some()
    {
        return Cow::Borrowed(text);
    }
    let with = [Edit::Set(&["elicitationId"], token.into())];
    let edited = edit::edited(&Bytes::copy_from_slice(text.as_bytes()), &with);
    edited.map_or(Cow::Borrowed(text), |it| String::from_utf8_lossy(&it).into_owned().into())
}
