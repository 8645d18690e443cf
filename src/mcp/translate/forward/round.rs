//! One round of questions (2026-07-28 mrtr, "Core Types"): what the server asks for, what the client has
//! said to it, and the request that carries it back.
//!
//! State and answers are raw JSON, carried as they came. No more is asked at a time than a user can face.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::profile::{self, Profile};
use crate::mcp::{
    edit::{self, Edit},
    message::{Id, Message},
};

/// What a server may ask for at a time.
const QUESTIONS: usize = 64;

const UNREAD: &str = "asks for input in a form that can't be read";

/// What an `InputRequiredResult` asks for.
pub(super) struct Required<'a> {
    pub(super) questions: Vec<Question<'a>>,
    /// `requestState`, raw.
    state: Option<&'a RawValue>,
}

/// One of its `inputRequests`.
pub(super) struct Question<'a> {
    /// The server's name for it, as raw JSON.
    key: String,
    /// One of three, so nothing in it needs an escape.
    pub(super) method: Cow<'a, str>,
    params: Option<&'a RawValue>,
}

/// What the client is being asked, and what it has said.
#[derive(Debug)]
pub(super) struct Round {
    state: Option<Box<str>>,
    asks: Vec<Ask>,
}

#[derive(Debug)]
struct Ask {
    key: String,
    /// Ours towards the client.
    id: Id,
    /// The client's result, raw.
    said: Option<Box<str>>,
}

impl<'a> Required<'a> {
    /// What the result in `line` asks of a client like this, or why it can't be asked.
    pub(super) fn read(line: &'a [u8], profile: &Profile) -> Result<Self, Cow<'static, str>> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            #[serde(borrow, default)]
            input_requests: Option<&'a RawValue>,
            #[serde(borrow, default)]
            request_state: Option<&'a RawValue>,
        }
        let result = edit::member(line, &["result"]).ok_or(UNREAD)?;
        let fields: Fields<'a> = serde_json::from_str(result.get()).map_err(|_| UNREAD)?;
        let members = match fields.input_requests {
            Some(raw) => edit::members(raw.get()).ok_or(UNREAD)?,
            None => Vec::new(),
        };
        if members.is_empty() && fields.request_state.is_none() {
            return Err("asks for input and does not say for which".into());
        }
        if members.len() > QUESTIONS {
            return Err(format!("asks for more than {QUESTIONS} inputs at a time").into());
        }
        let questions = members.into_iter().map(|(key, raw)| Question::read(&key, raw, profile));
        Ok(Self { questions: questions.collect::<Result<_, _>>()?, state: fields.request_state })
    }

    /// The round that asks this, under these ids of ours.
    pub(super) fn round(self, ids: Vec<Id>) -> Round {
        let ask = |(question, id): (Question<'_>, Id)| Ask { key: question.key, id, said: None };
        Round {
            state: self.state.map(|raw| raw.get().into()),
            asks: self.questions.into_iter().zip(ids).map(ask).collect(),
        }
    }
}

impl<'a> Question<'a> {
    fn read(key: &str, raw: &'a RawValue, profile: &Profile) -> Result<Self, Cow<'static, str>> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow)]
            method: Cow<'a, str>,
            #[serde(borrow, default)]
            params: Option<&'a RawValue>,
        }
        let Fields { method, params } = serde_json::from_str(raw.get()).map_err(|_| UNREAD)?;
        let key = serde_json::to_string(key).map_err(|_| UNREAD)?;
        match profile.lacks(&method, params) {
            Some(lacking) => {
                let what = "asks for an input that this client has not declared";
                Err(format!("{what}: {lacking}").into())
            }
            None => Ok(Self { key, method, params }),
        }
    }

    /// The request to the client that asks it.
    pub(super) fn line(&self, id: &Id) -> Bytes {
        let (token, method) = (id.token(), &self.method);
        let params = self.params.map(|params| format!(r#","params":{}"#, legacy(params, token)));
        let params = params.unwrap_or_default();
        Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{token},"method":"{method}"{params}}}"#))
    }
}

impl Round {
    /// Takes in the client's result; whether nothing is missing any more.
    pub(super) fn answered(&mut self, id: &Id, result: &RawValue) -> bool {
        if let Some(ask) = self.asks.iter_mut().find(|ask| ask.id == *id) {
            ask.said = Some(result.get().into());
        }
        self.asks.iter().all(|ask| ask.said.is_some())
    }

    /// Our ids for what is asked.
    pub(super) fn ids(&self) -> impl Iterator<Item = &Id> {
        self.asks.iter().map(|ask| &ask.id)
    }

    /// `request` with this round's answers and state, and with none of another's (mrtr, "Client
    /// Requirements" 1 and 2).
    pub(super) fn retried(&self, request: &Message) -> Option<Message> {
        let said = self.asks.iter().filter_map(|ask| Some((&ask.key, ask.said.as_deref()?)));
        let said: Vec<String> = said.map(|(key, said)| format!("{key}:{said}")).collect();
        let responses: &[&str] = &["params", "inputResponses"];
        let responses = if said.is_empty() {
            Edit::Remove(responses)
        } else {
            Edit::Set(responses, format!("{{{}}}", said.join(",")).into())
        };
        let state = match &self.state {
            Some(state) => Edit::Set(&["params", "requestState"], state.as_ref().into()),
            None => Edit::Remove(&["params", "requestState"]),
        };
        Message::parse(edit::edited(request.bytes(), &[responses, state])?).ok()
    }
}

/// Up to 2025-11-25 a URL that is to be visited has an id, which 2026-07-28 took away (changelog, minor
/// 11).
fn legacy<'a>(params: &'a RawValue, token: &str) -> Cow<'a, str> {
    let text = params.get();
    if !profile::by_url(Some(params)) || edit::member(text.as_bytes(), &["elicitationId"]).is_some()
    {
        return Cow::Borrowed(text);
    }
    let with = [Edit::Set(&["elicitationId"], token.into())];
    let edited = edit::edited(&Bytes::copy_from_slice(text.as_bytes()), &with);
    edited.map_or(Cow::Borrowed(text), |it| String::from_utf8_lossy(&it).into_owned().into())
}
