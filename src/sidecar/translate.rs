//! HTTP clients and an upstream of different eras: each request of such a client is taken to an engine
//! of the bridge that speaks for it, and what that says goes back on the client's own streams.
//!
//! Where the eras agree, and for whatever is no MCP, a request passes as it is. That is decided by the
//! request itself and by what the upstream was found to speak (`spoken`).

mod desk;
mod interpreter;
mod legacy;
mod modern;
mod names;
mod reply;
mod spoken;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};

use self::{
    interpreter::{Interpreters, Name},
    spoken::{Known, Spoken},
};
use super::{
    drain::Drain,
    guard::Denied,
    respond::Refusal,
    room::Place,
    sessions::{Key, SESSION},
};
use crate::{
    bridge::{Hold, Settings},
    failure::Stage,
    mcp::{
        edit, fault,
        message::{Envelope, Message},
        metadata::Metadata,
    },
    service::{Body, Caller, HttpService},
};

const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The first revision of the modern era.
const MODERN: &str = "2026-07-28";

/// What a route needs to translate.
pub struct Translate {
    /// How engines speak with the upstream.
    pub settings: Settings,
    /// The way there, redirects followed.
    pub service: HttpService,
}

/// The translation on a route.
pub(super) struct Translation {
    settings: Settings,
    service: HttpService,
    known: Known,
    interpreters: Arc<Interpreters>,
}

/// A request as it came in.
#[derive(Clone, Copy)]
pub(super) struct Inbound<'a> {
    pub(super) method: &'a Method,
    /// Where it would go.
    pub(super) target: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    /// What it and its body take up of the room there is.
    pub(super) taken: &'a (Place, Option<Place>),
    pub(super) caller: &'a Caller,
    pub(super) drain: &'a Drain,
}

impl Inbound<'_> {
    /// What is spoken for takes up its room until the upstream is done with it, even if its client is
    /// gone by then or needs no answer: else there would be no end to what is under way.
    fn hold(&self) -> Hold {
        Arc::new(self.taken.clone())
    }
}

/// What becomes of it.
pub(super) enum Course {
    /// It passes as it is.
    Passes {
        /// Its refusal would say that the upstream is of another era than is remembered.
        telling: bool,
    },
    /// It has this answer.
    Answered(Answered),
}

/// An answer of ours.
pub(super) struct Answered {
    pub(super) response: Response<Body>,
    /// It is a stream that is only listened to.
    pub(super) listens: bool,
}

impl From<Response<Body>> for Answered {
    fn from(response: Response<Body>) -> Self {
        Self { response, listens: false }
    }
}

impl Course {
    /// Nothing is to be learned from its answer.
    pub(super) const PASSES: Self = Self::Passes { telling: false };
}

impl Translation {
    pub(super) fn new(translate: Translate) -> Self {
        let Translate { settings, service } = translate;
        Self { settings, service, known: Known::default(), interpreters: Arc::default() }
    }

    /// How many sessions and identities are spoken for.
    pub(super) fn len(&self) -> usize {
        self.interpreters.len()
    }

    /// What becomes of a request that was let in.
    ///
    /// # Errors
    ///
    /// The session that it names is over, or another's; there is no room for one more.
    pub(super) async fn take(&self, asked: Inbound<'_>) -> Result<Course, Refusal> {
        let streams = matches!(*asked.method, Method::POST | Method::GET | Method::DELETE);
        if !streams || endpoint(asked.target) != endpoint(&self.settings.uri) {
            return Ok(Course::PASSES);
        }
        let message = match *asked.method {
            Method::POST => Some(Message::parse(asked.body.clone())),
            _ => None,
        };
        let parsed = message.as_ref().and_then(|message| message.as_ref().ok());
        if parsed.is_some_and(|message| is_of_modern(asked.headers, message)) {
            return match (self.spoken(&asked).await, message) {
                (Some(Spoken::Legacy), Some(Ok(message))) => {
                    self.ask_modern(&asked, &message).await.map(Course::Answered)
                }
                _ => Ok(Course::Passes { telling: true }),
            };
        }
        if let Some(id) = asked.headers.get(SESSION) {
            return self.within(Name::Session(Key::of(id)), &asked, message).await;
        }
        match message {
            Some(Ok(message)) if initializes(&message) => match self.spoken(&asked).await {
                Some(Spoken::Modern) => self.open(&asked, message).await.map(Course::Answered),
                _ => Ok(Course::Passes { telling: true }),
            },
            _ => Ok(Course::PASSES),
        }
    }

    /// How the upstream took what passed because of what it is remembered to speak.
    pub(super) fn heed_status(&self, status: StatusCode) {
        if matches!(status.as_u16(), 400 | 404 | 405) {
            self.known.doubt();
        }
    }

    /// An error of ours may come of an upstream that is another than it was.
    fn heed(&self, answer: &[u8]) {
        let error = edit::member(answer, &["error"]);
        let stage = error.and_then(|error| fault::stage(error.get().as_bytes()));
        if matches!(stage, Some(Stage::Protocol | Stage::Response)) {
            self.known.doubt();
        }
    }

    async fn spoken(&self, asked: &Inbound<'_>) -> Option<Spoken> {
        self.known.get((&self.settings, &self.service), asked.caller).await
    }

    /// A request in a session, ours or the upstream's.
    async fn within(
        &self,
        name: Name,
        asked: &Inbound<'_>,
        message: Option<Result<Message, crate::mcp::message::Malformed>>,
    ) -> Result<Course, Refusal> {
        // Where nothing is known, a session that is not ours was opened without, and does not wait now.
        let matters = self.known.is_known() || self.interpreters.knows(&name);
        let spoken = if matters { self.spoken(asked).await } else { None };
        let Some(interpreter) = self.interpreters.find(&name, asked.caller) else {
            // To a server without sessions there is none; and none of ours is shown to another.
            let gone = spoken == Some(Spoken::Modern) || self.interpreters.knows(&name);
            return if gone { Err(Denied::Session.into()) } else { Ok(Course::PASSES) };
        };
        if spoken == Some(Spoken::Legacy) {
            // It has sessions of its own by now: the client is to begin one.
            interpreter.dismiss();
            return Err(Denied::Session.into());
        }
        let answered = match message {
            None => legacy::no_message(&interpreter, asked),
            Some(Ok(message)) => self.say_legacy(&interpreter, asked, message).await,
            Some(Err(error)) => {
                let lines = fault::malformed(&error);
                reply::refused(400, lines.into_iter().next().unwrap_or_default()).into()
            }
        };
        Ok(Course::Answered(answered))
    }
}

/// Whether a request is one of the modern era (2026-07-28 versioning, "Terminology").
fn is_of_modern(headers: &HeaderMap, message: &Message) -> bool {
    let stated = headers.get(VERSION).map(|version| version.to_str().is_ok_and(is_modern));
    let by_body = match message.single() {
        Some(Envelope::Request { method, .. }) => {
            &**method == "server/discover" || Metadata::of(message, method).version.is_some()
        }
        _ => false,
    };
    by_body || stated.unwrap_or_else(|| headers.contains_key(METHOD) && !initializes(message))
}

/// Where messages go, however it is written.
fn endpoint(uri: &Uri) -> &str {
    uri.path().trim_end_matches('/')
}

fn initializes(message: &Message) -> bool {
    matches!(message.single(), Some(Envelope::Request { method, .. }) if &**method == "initialize")
}

/// Whether a revision is of the modern era: revisions are dates.
fn is_modern(version: &str) -> bool {
    let digits = |part: Option<&str>, length| {
        part.is_some_and(|it| it.len() == length && it.bytes().all(|it| it.is_ascii_digit()))
    };
    let mut parts = version.split('-');
    let date = digits(parts.next(), 4) && digits(parts.next(), 2) && digits(parts.next(), 2);
    date && parts.next().is_none() && version >= MODERN
}

/// Whether the content is of this type.
fn is_type(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.len() >= wanted.len() && kind[..wanted.len()].eq_ignore_ascii_case(wanted)
}

/// Whether who asks takes an answer of these types; who does not say takes any.
fn accepts(headers: &HeaderMap, types: &[(&str, &str)]) -> bool {
    let said: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges = || {
        let all = said.iter().flat_map(|value| value.split(','));
        all.map(|range| range.split(';').next().unwrap_or_default().trim())
    };
    said.is_empty()
        || types.iter().all(|(kind, part)| {
            ranges().any(|range| {
                let of_kind = range.strip_suffix("/*").is_some_and(|it| it == *kind || it == "*");
                of_kind || range.split_once('/') == Some((*kind, *part))
            })
        })
}

const BOTH: [(&str, &str); 2] = [("application", "json"), ("text", "event-stream")];
const STREAM: [(&str, &str); 1] = [("text", "event-stream")];

/// Those of an upstream for tests.
#[cfg(test)]
fn settings() -> Settings {
    use std::time::Duration;
    Settings {
        uri: Uri::from_static("https://gw.example/mcp"),
        upstream: "https://gw.example".to_owned(),
        websocket: false,
        max_message: 1 << 20,
        idle_timeout: Duration::from_secs(300),
        max_in_flight: 9,
        drain: Duration::from_secs(1),
        protocol: None,
        ledger: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_request_says_which_era_it_is_of() {
        let of = |headers: &[(&'static str, &'static str)], body: &'static str| {
            let named = headers.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            let message = Message::parse(Bytes::from_static(body.as_bytes())).unwrap();
            is_of_modern(&named.collect(), &message)
        };
        let list = r#"{"id":1,"method":"tools/list"}"#;
        let stated = r#"{"id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let initialize = r#"{"id":1,"method":"initialize","params":{}}"#;
        let (old, new) = (("mcp-protocol-version", "2025-11-25"), ("mcp-protocol-version", MODERN));
        let method = ("mcp-method", "of some client");
        for (headers, body, expected) in [
            (&[][..], list, false),
            (&[old], list, false),
            (&[old, method], list, false),
            (&[new], list, true),
            (&[method], list, true),
            (&[], stated, true),
            (&[old], stated, true),
            (&[method], initialize, false),
            (&[old, method], initialize, false),
            (&[], r#"{"id":1,"method":"server/discover"}"#, true),
        ] {
            assert_eq!(of(headers, body), expected, "{headers:?} {body}");
        }
    }

    #[test]
    fn what_a_client_takes_is_said_by_types_and_ranges() {
        for (said, both, stream) in [
            (&[][..], true, true),
            (&["application/json, text/event-stream"], true, true),
            (&["application/json", "text/event-stream;q=0.5"], true, true),
            (&["*/*"], true, true),
            (&["text/*, application/*"], true, true),
            (&["application/json"], false, false),
            (&["text/event-stream"], false, true),
            (&["text/html"], false, false),
        ] {
            let named = said.iter().map(|it| (header::ACCEPT, it.parse().unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in named {
                headers.append(name, value);
            }
            assert_eq!(accepts(&headers, &BOTH), both, "{said:?}");
            assert_eq!(accepts(&headers, &STREAM), stream, "{said:?}");
        }
    }
}
