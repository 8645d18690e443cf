//! The error of 2025-11-25 by which a server says that the user has to open an address before a call
//! can be made: in the client's revision that is a question, and the retry is the call made anew.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    Backward,
    asking::{ASKABLE, MAX_HELD, MAX_QUESTIONS},
    request::After,
    said::Said,
    words::{INTERNAL_ERROR, Refused},
};
use crate::mcp::message::{Id, Message};

impl Backward {
    /// Asks for what the error names, or says what is in the way.
    pub(super) fn needs_address(&mut self, key: u64, message: &Message) {
        let Some(request) = self.requests.get_mut(&key) else { return };
        let inputs = elicitations(message);
        let askable = ASKABLE.contains(&request.method());
        let refused = if !request.capable.url {
            Some(Refused::needs_url())
        } else if inputs.is_empty() || !askable || self.closing || self.held.len() >= MAX_HELD {
            let what = "the server needs the user to open an address first, and the client can't be \
                        asked for that here";
            Some(Refused::new(INTERNAL_ERROR, what))
        } else {
            None
        };
        if let Some(refused) = refused {
            return self.answer(key, |id| refused.line(id));
        }
        request.after = After::Again;
        for input in inputs {
            request.question(None, input);
        }
        self.ask(key);
    }

    /// The user has seen to the addresses: the call is made anew, since it was refused before.
    pub(super) fn begun_anew(
        &mut self,
        key: u64,
        message: &Message,
        id: &Id,
        said: Said<'_>,
        responses: &BTreeMap<Cow<'_, str>, &RawValue>,
    ) -> Result<(), Refused> {
        let Some(mut request) = self.requests.remove(&key) else { return Ok(()) };
        // "If additional, unexpected parameters are provided ..., the server SHOULD ignore" them.
        let mut of_ours = request.questions.iter().filter_map(|it| responses.get(it.name.as_str()));
        if of_ours.any(|response| !accepted(response)) {
            let what = "the server needs the user to open an address first, which was declined";
            return Err(Refused::new(INTERNAL_ERROR, what));
        }
        request.questions.retain(|question| !responses.contains_key(question.name.as_str()));
        if request.questions.is_empty() {
            return self.admit(message, id, said);
        }
        request.client = Some(id.clone());
        request.asked_as = id.clone();
        self.open.insert(id.clone(), key);
        self.requests.insert(key, request);
        self.ask(key);
        Ok(())
    }
}

/// The elicitations that the error names, as questions; none where one of them can't be asked.
fn elicitations(message: &Message) -> Vec<String> {
    #[derive(Deserialize)]
    struct Reply {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        elicitations: Vec<Map<String, Value>>,
    }
    let Ok(Reply { error }) = serde_json::from_slice(message.bytes()) else { return Vec::new() };
    let all = error.data.elicitations;
    let good = all.iter().all(|it| it.get("url").is_some_and(Value::is_string));
    if !good || all.len() > MAX_QUESTIONS {
        return Vec::new();
    }
    let questions = all.into_iter().map(|mut params| {
        params.remove("elicitationId");
        params.insert("mode".to_owned(), json!("url"));
        json!({ "method": "elicitation/create", "params": params }).to_string()
    });
    questions.collect()
}

fn accepted(response: &RawValue) -> bool {
    let said: Option<Value> = serde_json::from_str(response.get()).ok();
    said.is_some_and(|said| said["action"] == "accept")
}
