//! Questions of the server: each call whose stream brings some is answered `input_required` and held,
//! and the client's retry brings the answers (2026-07-28 patterns/mrtr).
//!
//! What the client can't be asked is answered here with an error. A held call is given up after a
//! while: the server is told so, and gets an error for what it still wants to know.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Backward,
    machine::Origin,
    request::{After, Request},
    said::{Capable, Said},
    words::{self, INTERNAL_ERROR, Refused},
};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        edit::{Edit, edited},
        exchange::{Command, End, Event, Timer},
        fault,
        message::{Id, Message},
        metadata::{SERVER_INFO, text},
        notification, outcome,
        refusal::METHOD_NOT_FOUND,
    },
};

/// Calls that are held at a time.
pub(super) const MAX_HELD: usize = 256;
/// How long one is held.
const HOLD: Duration = Duration::from_secs(600);
/// Questions of one call at a time.
pub(super) const MAX_QUESTIONS: usize = 32;

/// Which requests may be answered with questions ("Supported Requests").
pub(super) const ASKABLE: [&str; 3] = ["prompts/get", "resources/read", "tools/call"];

/// The answers that a retry brings, by the names of the questions.
type Responses<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

impl Backward {
    /// A request of the server.
    pub(super) fn question(
        &mut self,
        leg: u64,
        origin: Origin,
        id: &Id,
        method: &str,
        message: &Message,
    ) {
        if method == "ping" {
            return self.author(leg, words::result(id, "{}"));
        }
        let call = match origin {
            Origin::Call(call) => Some(call),
            // What a call that is over still asks is not for the user of another one.
            Origin::Over => None,
            // Some servers do not relate what they ask to the call that they ask it for.
            Origin::Session => self.only_call(leg),
        };
        if let Err(refused) = self.noted(call, id, method, message) {
            tracing::debug!(method, "a request of the server can't be put to the client");
            self.author(leg, refused.line(id));
        }
    }

    /// Notes a question for the client, or says why it can't be asked.
    fn noted(
        &mut self,
        call: Option<u64>,
        id: &Id,
        method: &str,
        message: &Message,
    ) -> Result<(), Refused> {
        let params = params(message);
        if !["elicitation/create", "sampling/createMessage", "roots/list"].contains(&method) {
            return Err(Refused::new(METHOD_NOT_FOUND, "the client does not know this method"));
        }
        let request = call.and_then(|call| self.requests.get_mut(&call));
        let none = || Refused::new(METHOD_NOT_FOUND, "no call is open to ask the client through");
        let request = request.filter(|it| ASKABLE.contains(&it.method())).ok_or_else(none)?;
        if self.closing {
            return Err(Refused::new(INTERNAL_ERROR, "the client is gone"));
        }
        may_ask(request.capable, method, params)?;
        let full = request.client.is_some() && self.held.len() >= MAX_HELD;
        if full || request.questions.len() >= MAX_QUESTIONS {
            return Err(Refused::new(INTERNAL_ERROR, "too much waits for the client's answers"));
        }
        let input = match params {
            // Nobody correlates by it any more (changelog, minor 11).
            Some(params) if method == "elicitation/create" => {
                let raw = bytes::Bytes::copy_from_slice(params.get().as_bytes());
                let without = edited(&raw, &[Edit::Remove(&["elicitationId"])]).unwrap_or(raw);
                let without = String::from_utf8_lossy(&without).into_owned();
                format!(r#"{{"method":"{method}","params":{without}}}"#)
            }
            Some(params) => format!(r#"{{"method":"{method}","params":{}}}"#, params.get()),
            None => format!(r#"{{"method":"{method}"}}"#),
        };
        request.question(Some(id.clone()), input);
        self.inquiring = call;
        Ok(())
    }

    /// The one call of a session that can be asked through, where there is just one.
    fn only_call(&self, leg: u64) -> Option<u64> {
        let mut calls = self.requests.iter().filter(|(_, it)| {
            let runs = it.sent && matches!(it.after, After::Answers);
            it.leg == leg && runs && ASKABLE.contains(&it.method())
        });
        let (only, None) = (calls.next(), calls.next()) else { return None };
        only.map(|(key, _)| *key)
    }

    /// Asks the client all that is to be asked for a call, unless it is held already: what comes then
    /// is for the next round.
    pub(super) fn ask(&mut self, key: u64) {
        let Some(request) = self.requests.get_mut(&key) else { return };
        if request.questions.is_empty() {
            return;
        }
        let Some(id) = request.client.clone() else { return };
        let ticket = self.tickets + 1;
        let Some(state) = self.seal.state(ticket, request.method(), &request.message) else {
            return self.release(key, "its parameters are nested too deeply to be asked again");
        };
        self.tickets = ticket;
        let mut inputs = Vec::with_capacity(request.questions.len());
        for question in &mut request.questions {
            question.put = true;
            inputs.push(format!(r#""{}":{}"#, question.name, question.input));
        }
        request.client = None;
        let leg = self.legs.get(&request.leg);
        let server = leg.and_then(|leg| leg.server.as_ref()?.info.as_deref());
        let meta = server.map(|info| format!(r#","_meta":{{"{SERVER_INFO}":{info}}}"#));
        let required = format!(
            r#"{{"resultType":"input_required","inputRequests":{{{}}},"requestState":"{state}"{}}}"#,
            inputs.join(","),
            meta.unwrap_or_default()
        );
        self.open.remove(&id);
        self.held.insert(ticket, key);
        self.out.push(Command::Deliver(words::result(&id, &required)));
        self.out.push(Command::After(HOLD, Timer::Held(self.first + ticket)));
    }

    /// The client goes on with a held call.
    pub(super) fn retried(
        &mut self,
        message: &Message,
        id: &Id,
        method: &str,
        said: Said<'_>,
        state: &str,
    ) -> Result<(), Refused> {
        let responses = responses(said.responses)?;
        let state = text(state).ok_or_else(|| Refused::params("requestState is no string"))?;
        let ticket = self.seal.ticket(&state, method, message).ok_or_else(|| {
            Refused::params("the requestState was not made here, or not for this request")
        })?;
        let key = self.held.remove(&ticket);
        let request = key.and_then(|key| Some((key, self.requests.get_mut(&key)?)));
        let (key, request) = request.ok_or_else(|| {
            let what = "the requestState was used before, or has expired. hint: make the call anew";
            Refused::params(what)
        })?;
        self.uses += 1;
        if let Some(leg) = self.legs.get_mut(&request.leg) {
            leg.used = self.uses;
        }
        if matches!(request.after, After::Again) {
            return self.begun_anew(key, message, id, said, &responses);
        }
        let leg = request.leg;
        request.client = Some(id.clone());
        request.asked_as = id.clone();
        request.level = said.level;
        request.capable = said.identity.capable();
        request.token = said.token.map(Into::into);
        let mut answers = answers(request, &responses);
        answers.extend(refused(request));
        let done = std::mem::replace(&mut request.after, After::Answers);
        self.open.insert(id.clone(), key);
        if let After::Done(message) = done {
            self.give(key, &message);
            return Ok(());
        }
        for answer in answers {
            self.bring(leg, key, answer);
        }
        self.set_level(leg);
        // What was left out is asked again ("Error Handling"), with what has come since.
        self.ask(key);
        Ok(())
    }

    /// Brings the server an answer of the client's, which `key` can't go on without.
    fn bring(&mut self, leg: u64, key: u64, answer: bytes::Bytes) {
        let (Some(leg), Ok(message)) = (self.legs.get_mut(&leg), Message::parse(answer)) else {
            return;
        };
        for command in leg.machine.handle(Event::FromClient(message)) {
            if let Command::Post { exchange, .. } = command {
                self.bringing.insert(exchange, key);
            }
            self.out.push(command);
        }
    }

    /// The call for which `event` says that an answer has certainly not arrived: it would wait for ever.
    pub(super) fn not_brought(&mut self, event: &Event) -> Option<u64> {
        let Event::Ended(exchange, end, _) = event else { return None };
        let key = self.bringing.remove(exchange)?;
        let certainly = match end {
            End::Refused(refusal) => !outcome::may_have_run(refusal.status),
            End::Broken(failure) => failure.never_sent(),
            End::Complete { .. } | End::Idle(_) => false,
        };
        certainly.then_some(key)
    }

    /// A held call has had its time.
    pub(super) fn overdue(&mut self, count: u64) {
        if let Some(key) = self.held.remove(&count.wrapping_sub(self.first)) {
            self.release(key, "the client has not answered in time");
        }
    }

    /// Gives a call up whose question the server has no answer to, and will not have.
    pub(super) fn give_up_unanswered(&mut self, key: u64) {
        let why = "the client's answer could not be brought to the server";
        let failure = outcome::unknown(&Failure::new(Stage::Send, why));
        self.give_up(key, why, |id| fault::answer(id, &failure));
    }

    /// Gives a call up, for which nothing is owed but what says why.
    pub(super) fn release(&mut self, key: u64, why: &'static str) {
        self.give_up(key, why, |id| Refused::new(INTERNAL_ERROR, why).line(id));
    }

    /// Gives a call up: the server is told, and its questions have an error for their answers.
    fn give_up(&mut self, key: u64, why: &'static str, line: impl FnOnce(&Id) -> bytes::Bytes) {
        let Some(request) = self.requests.get(&key) else { return };
        let leg = request.leg;
        let runs = matches!(request.after, After::Answers);
        let refused = Refused::new(INTERNAL_ERROR, why);
        let asked = request.questions.iter().filter_map(|it| it.id.as_ref());
        let answers: Vec<_> = asked.map(|id| refused.line(id)).collect();
        self.held.retain(|_, held| *held != key);
        // Its own request is over, unless it could not even be asked.
        self.answer(key, line);
        if let (true, Some(number)) = (runs, Id::from_token(&key.to_string())) {
            self.author(leg, notification::cancel(&number, why));
        }
        for answer in answers {
            self.author(leg, answer);
        }
    }
}

/// What the retry answers, as the server wants it; these questions are over.
fn answers(request: &mut Request, responses: &Responses<'_>) -> Vec<bytes::Bytes> {
    let mut answers = Vec::new();
    request.questions.retain(|question| {
        let response = responses.get(question.name.as_str()).filter(|_| question.put);
        let (Some(response), Some(id)) = (response, &question.id) else { return true };
        answers.push(words::result(id, response.get()));
        false
    });
    answers
}

/// What the client of this retry can't be asked any more, as the server is told; these questions are
/// over too.
fn refused(request: &mut Request) -> Vec<bytes::Bytes> {
    #[derive(Deserialize)]
    struct Input<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
        #[serde(borrow, default)]
        params: Option<&'a RawValue>,
    }
    let (capable, mut answers) = (request.capable, Vec::new());
    request.questions.retain(|question| {
        let input: Option<Input<'_>> = serde_json::from_str(&question.input).ok();
        let may = input.map_or(Ok(()), |it| may_ask(capable, &it.method, it.params));
        let (Err(refused), Some(id)) = (may, &question.id) else { return true };
        answers.push(refused.line(id));
        false
    });
    answers
}

fn responses(raw: Option<&str>) -> Result<Responses<'_>, Refused> {
    #[derive(Deserialize)]
    struct All<'a>(#[serde(borrow)] BTreeMap<Name<'a>, &'a RawValue>);
    #[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
    let Some(raw) = raw else { return Ok(Responses::new()) };
    let bad = |_| Refused::params("inputResponses is not an object");
    let All(all) = serde_json::from_str(raw).map_err(bad)?;
    if let Some((Name(name), _)) = all.iter().find(|(_, it)| !it.get().starts_with('{')) {
        let what = format!("inputResponses[{name:?}] is not an object");
        return Err(Refused::params(what));
    }
    Ok(all.into_iter().map(|(Name(name), value)| (name, value)).collect())
}

/// Whether the client has said that it can be asked this ("Server Requirements" 7).
fn may_ask(capable: Capable, method: &str, params: Option<&RawValue>) -> Result<(), Refused> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Asked<'a> {
        #[serde(borrow, default)]
        mode: Option<&'a RawValue>,
        #[serde(borrow, default)]
        tools: Option<&'a RawValue>,
        #[serde(borrow, default)]
        tool_choice: Option<&'a RawValue>,
    }
    let asked = params.and_then(|params| serde_json::from_str(params.get()).ok());
    let asked: Asked<'_> = asked.unwrap_or_default();
    let by_url = asked.mode.and_then(|mode| text(mode.get())).is_some_and(|mode| mode == "url");
    let with_tools = asked.tools.is_some() || asked.tool_choice.is_some();
    let (at_all, so) = match method {
        "elicitation/create" => {
            (capable.form || capable.url, if by_url { capable.url } else { capable.form })
        }
        "sampling/createMessage" => (capable.sampling, capable.tools || !with_tools),
        _ => (capable.roots, true),
    };
    match (at_all, so) {
        (false, _) => Err(Refused::new(METHOD_NOT_FOUND, "the client has no such capability")),
        (_, false) => Err(Refused::params("the client has the capability, but not for this")),
        _ => Ok(()),
    }
}

fn params(message: &Message) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Asked<'a> {
        #[serde(borrow, default)]
        params: Option<&'a RawValue>,
    }
    let asked: Asked<'_> = serde_json::from_slice(message.bytes()).ok()?;
    asked.params
}
