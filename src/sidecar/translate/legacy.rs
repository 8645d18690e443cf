//! Clients of the legacy era before a modern upstream: the server side of Streamable HTTP, 2025-03-26 to
//! 2025-11-25, with sessions that are minted here and belong to whom they were given.
//!
//! A client that leaves a stream has not cancelled its request; what is said on that stream is lost, and
//! nothing is sent again for it.

use std::{fmt::Write as _, sync::Arc};

use aws_lc_rs::rand;
use http::{HeaderValue, Method, Response, StatusCode};

use super::{
    Answered, BOTH, Inbound, STREAM, Translation, VERSION, accepts,
    desk::Post,
    interpreter::{Interpreter, Name, withdrawn},
    reply::{self, Said},
};
use crate::{
    bridge::Era,
    failure::{Failure, Stage},
    mcp::{
        edit,
        message::{Envelope, Id, Message},
    },
    service::Body,
    sidecar::{
        respond::Refusal,
        sessions::{Key, SESSION},
    },
};

/// JSON-RPC 2.0 section 5.1.
const INVALID_REQUEST: i64 = -32_600;

/// The revisions whose transport this is; a client that does not say speaks the first (2025-11-25
/// transports, "Protocol Version Header").
const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// As hard to guess as a key.
const RANDOM_BYTES: usize = 24;

impl Translation {
    /// Answers an `initialize` with a session of ours.
    pub(super) async fn open(
        &self,
        asked: &Inbound<'_>,
        message: Message,
    ) -> Result<Answered, Refusal> {
        if let Some(refused) = unacceptable(asked) {
            return Ok(refused.into());
        }
        let id = mint()?;
        let interpreter = self.interpreters.begin(
            Name::Session(Key::of(&id)),
            (&self.settings, &self.service),
            (Era::Legacy, asked.caller),
            asked.drain,
        )?;
        let mut opening = Opening { interpreter: &interpreter, stands: false };
        let Some(reply) = interpreter.ask(post(&message), message, Some(&asked.hold())) else {
            return Ok(doubled().into());
        };
        let said = Said::by(reply).await;
        opening.stands = match &said {
            Said::Whole(text) => edit::member(text, &["result"]).is_some(),
            Said::Stream(..) => true,
        };
        let stands = opening.stands;
        if !stands {
            self.known.doubt();
        }
        let mut response = said.response(|_| StatusCode::OK);
        if stands {
            response.headers_mut().insert(SESSION, id);
        }
        Ok(response.into())
    }

    /// Answers a POST within a session.
    pub(super) async fn say_legacy(
        &self,
        interpreter: &Arc<Interpreter>,
        asked: &Inbound<'_>,
        message: Message,
    ) -> Answered {
        if let Some(refused) = unsupported(asked).or_else(|| unacceptable(asked)) {
            return refused.into();
        }
        let (withdrawn, hold) = (withdrawn(&message), asked.hold());
        // What is cancelled is not answered (2025-11-25 cancellation, "Behavior Requirements").
        let withdraw = || withdrawn.iter().for_each(|id| interpreter.desk.withdraw(id));
        if message.request_ids().next().is_none() {
            interpreter.take(message, Some(&hold));
            withdraw();
            return reply::accepted().into();
        }
        let Some(reply) = interpreter.ask(post(&message), message, Some(&hold)) else {
            return doubled().into();
        };
        withdraw();
        let said = Said::by(reply).await;
        if let Said::Whole(text) = &said {
            self.heed(text);
        }
        said.response(|_| StatusCode::OK).into()
    }
}

/// Answers a GET, which listens, or a DELETE, which ends the session.
pub(super) fn no_message(interpreter: &Arc<Interpreter>, asked: &Inbound<'_>) -> Answered {
    if let Some(refused) = unsupported(asked) {
        return refused.into();
    }
    if *asked.method == Method::DELETE {
        interpreter.dismiss();
        return reply::empty(StatusCode::OK).into();
    }
    if !accepts(asked.headers, &STREAM) {
        let what = "expected text/event-stream in Accept";
        return reply::refuse(406, None, INVALID_REQUEST, what).into();
    }
    Answered { response: reply::events(None, interpreter.listen()), listens: true }
}

/// A session that is over before it stands, if its client leaves or the upstream says no.
struct Opening<'a> {
    interpreter: &'a Interpreter,
    stands: bool,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.stands {
            self.interpreter.dismiss();
        }
    }
}

fn post(message: &Message) -> Post {
    let token = |part: bytes::Bytes| {
        let token = edit::member(&part, &["params", "_meta", "progressToken"])?;
        Id::from_token(token.get())
    };
    let requests = message.parts().zip(message.envelopes());
    let requests = requests.filter(|(_, it)| matches!(it, Envelope::Request { .. }));
    Post {
        ids: message.request_ids().cloned().collect(),
        tokens: requests.filter_map(|(part, _)| token(part)).collect(),
        names: None,
    }
}

/// 24 random bytes in hexadecimal digits.
fn mint() -> Result<HeaderValue, Refusal> {
    let mut random = [0; RANDOM_BYTES];
    let mut id = String::with_capacity(2 * RANDOM_BYTES);
    let drawn = rand::fill(&mut random).map_err(|_| ());
    let written = random.iter().try_for_each(|byte| write!(id, "{byte:02x}").map_err(|_| ()));
    let id = drawn.and(written).and_then(|()| HeaderValue::try_from(id).map_err(|_| ()));
    let mut id = id.map_err(|()| {
        let what = "the system has no random numbers for a session's id";
        Refusal::Failed(Failure::new(Stage::Configuration, what))
    })?;
    id.set_sensitive(true);
    Ok(id)
}

fn unacceptable(asked: &Inbound<'_>) -> Option<Response<Body>> {
    let what = "expected application/json and text/event-stream in Accept";
    (!accepts(asked.headers, &BOTH)).then(|| reply::refuse(406, None, INVALID_REQUEST, what))
}

fn unsupported(asked: &Inbound<'_>) -> Option<Response<Body>> {
    let version = asked.headers.get(VERSION)?;
    let known = REVISIONS.iter().any(|it| version == it);
    let what = "expected a revision up to 2025-11-25 in MCP-Protocol-Version";
    (!known).then(|| reply::refuse(400, None, INVALID_REQUEST, what))
}

fn doubled() -> Response<Body> {
    let what = "a request with this id is already in flight";
    reply::refuse(400, None, INVALID_REQUEST, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_is_long_random_and_visible() {
        let ids = [mint().unwrap(), mint().unwrap()];
        assert_ne!(ids[0], ids[1]);
        for id in ids {
            assert!(id.is_sensitive() && id.len() == 2 * RANDOM_BYTES);
            assert!(id.as_bytes().iter().all(u8::is_ascii_hexdigit));
        }
    }
}
