//! What a step means: a line of a script as an event, by what the machine has done so far.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use countersign::{
    failure::{Failure, Stage},
    mcp::{
        edit::{self, Edit},
        exchange::{Command, End, Endpoint, Event, ExchangeId, Position, Timer},
        message::{Envelope, Id, Message},
        refusal::Refusal,
    },
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, value::RawValue};

use super::sendings::NUMBER;

/// What each stream was asked for with.
pub(super) const SECRET: &str = "s3cr3t-token";

#[derive(Default)]
pub(super) struct Script {
    exchanges: Vec<ExchangeId>,
    /// The stream that answers come on, where they do not come on a POST.
    channel: Option<ExchangeId>,
    timers: Vec<Option<Timer>>,
    /// The requests that the server was sent, and where it answers them.
    sent: Vec<(ExchangeId, Id)>,
    /// What the client was asked.
    questions: Vec<Id>,
    /// The client's requests, by their ids of now.
    requests: HashMap<Id, Message>,
    /// Those that need input, with the result that says so.
    unfinished: Vec<(Message, Bytes)>,
    /// Counts what the client said.
    count: u64,
    closed: bool,
}

impl Script {
    pub(super) fn event(&mut self, step: &[u8]) -> Option<Event> {
        let (kind, rest) = step.split_first()?;
        let rest = rest.trim_ascii_start();
        match kind {
            b'c' | b'w' | b'r' if self.closed => None,
            b'c' => self.by_client(parsed(rest)?),
            b'w' => {
                let (id, rest) = pick(&self.questions, rest)?;
                self.by_client(response(id, "result", rest)?)
            }
            b'r' => {
                let ((request, result), rest) = pick(&self.unfinished, rest)?;
                let retry = retried(request, result, rest, self.count)?;
                self.by_client(retry)
            }
            b'x' if !self.closed => {
                self.closed = true;
                Some(Event::ClientClosed)
            }
            b'z' if self.closed => Some(Event::Expired),
            b't' => {
                let (index, _) = index(rest)?;
                self.timers.get_mut(index)?.take().map(Event::Elapsed)
            }
            b'a' | b'f' => {
                let member = if *kind == b'a' { "result" } else { "error" };
                let ((exchange, id), rest) = pick(&self.sent, rest)?;
                Some(Event::FromServer(*exchange, response(id, member, rest)?))
            }
            _ => {
                let (exchange, rest) = pick(&self.exchanges, rest)?;
                on_exchange(*kind, *exchange, rest)
            }
        }
    }

    /// Gives a request its number.
    fn by_client(&mut self, message: Message) -> Option<Event> {
        self.count += 1;
        let calls = matches!(message.single(), Some(Envelope::Request { .. }))
            && edit::member(message.bytes(), &["params"]).is_some();
        let number = Edit::Set(&NUMBER, self.count.to_string().into());
        let numbered = calls.then(|| edit::edited(message.bytes(), &[number])).flatten();
        match numbered {
            Some(numbered) => Some(Event::FromClient(Message::parse(numbered).ok()?)),
            None => Some(Event::FromClient(message)),
        }
    }

    pub(super) fn said(&mut self, message: &Message) {
        if let Some(Envelope::Request { id, .. }) = message.single() {
            self.requests.insert(id.clone(), message.clone());
        }
    }

    pub(super) fn note(&mut self, command: &Command) {
        match command {
            Command::Post { exchange, body, context, .. } => {
                self.exchange(*exchange);
                let channel = self.channel.filter(|_| context.endpoint.is_some());
                self.request(channel.unwrap_or(*exchange), body);
            }
            Command::Listen { exchange, .. } => {
                self.exchange(*exchange);
                self.channel = Some(*exchange);
            }
            Command::Connect(exchange) => self.exchange(*exchange),
            Command::Send(exchange, body) => self.request(*exchange, body),
            Command::After(_, timer) => self.timers.push(Some(*timer)),
            _ => {}
        }
    }

    fn exchange(&mut self, exchange: ExchangeId) {
        if !self.exchanges.contains(&exchange) {
            self.exchanges.push(exchange);
        }
    }

    fn request(&mut self, exchange: ExchangeId, body: &Bytes) {
        if let Some(message) = parsed(body) {
            self.sent.extend(message.request_ids().map(|id| (exchange, id.clone())));
        }
    }

    pub(super) fn delivered(&mut self, message: &Message) {
        match message.single() {
            Some(Envelope::Request { id, .. }) => self.questions.push(id.clone()),
            Some(Envelope::Response { id: Some(id), .. }) => {
                let state = edit::member(message.bytes(), &["result", "requestState"]);
                if let (Some(_), Some(request)) = (state, self.requests.get(id)) {
                    self.unfinished.push((request.clone(), message.bytes().clone()));
                }
            }
            _ => {}
        }
    }
}

fn on_exchange(kind: u8, exchange: ExchangeId, rest: &[u8]) -> Option<Event> {
    match kind {
        b's' => Some(Event::FromServer(exchange, parsed(rest)?)),
        b'h' => Some(Event::Head(exchange, HeaderValue::from_bytes(rest).ok())),
        b'n' => {
            let secret = HeaderValue::from_static(SECRET);
            let endpoint = Endpoint {
                reference: Bytes::copy_from_slice(rest),
                carried: Arc::new([secret.clone()]),
                secrets: Arc::new([secret]),
            };
            Some(Event::Endpoint(exchange, endpoint))
        }
        b'e' => {
            let position =
                Position { last_id: None, retry: None, progressed: rest.len().is_multiple_of(2) };
            Some(Event::Ended(exchange, end(rest), position))
        }
        _ => None,
    }
}

fn parsed(bytes: &[u8]) -> Option<Message> {
    Message::parse(Bytes::copy_from_slice(bytes)).ok()
}

/// The response to `id` whose `member` is `json`.
fn response(id: &Id, member: &str, json: &[u8]) -> Option<Message> {
    let json = std::str::from_utf8(json).ok().filter(|it| !it.is_empty()).unwrap_or("{}");
    let id = id.token();
    parsed(format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{json}}}"#).as_bytes())
}

/// `request` again, with what its `result` wants.
fn retried(request: &Message, result: &Bytes, answers: &[u8], count: u64) -> Option<Message> {
    let state = edit::member(result, &["result", "requestState"])?.get();
    let answers = match serde_json::from_slice::<&RawValue>(answers) {
        Ok(answers) => answers.get().to_owned(),
        Err(_) => {
            let asked = edit::member(result, &["result", "inputRequests"]);
            let asked: Value = serde_json::from_str(asked?.get()).ok()?;
            let accept = |name: &String| (name.clone(), serde_json::json!({"action": "accept"}));
            Value::Object(asked.as_object()?.keys().map(accept).collect()).to_string()
        }
    };
    let edits = [
        Edit::Set(&["id"], format!(r#""retry-{count}""#).into()),
        Edit::Set(&["params", "requestState"], Cow::Borrowed(state)),
        Edit::Set(&["params", "inputResponses"], answers.into()),
    ];
    Message::parse(edit::edited(request.bytes(), &edits)?).ok()
}

/// The number at the start of `text`, and the rest of it.
fn index(text: &[u8]) -> Option<(usize, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let number = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((number, text[end..].trim_ascii_start()))
}

/// The item that a number at the start of `text` means, and the rest of it.
fn pick<'a, 'b, T>(items: &'a [T], text: &'b [u8]) -> Option<(&'a T, &'b [u8])> {
    let (index, rest) = index(text)?;
    Some((items.get(index)?, rest))
}

/// A status with a body, or a word.
fn end(text: &[u8]) -> End {
    let (word, body) = text.split_at(text.len().min(3));
    let status = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
    if let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) {
        return End::Refused(Box::new(Refusal {
            status,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.trim_ascii()),
            carried: Arc::new([]),
            presented: None,
        }));
    }
    match word.first() {
        Some(b'b') => End::Broken(Failure::new(Stage::Send, "it broke")),
        Some(b'n') => End::Broken(Failure::new(Stage::Connect, "no way")),
        Some(b'i') => End::Idle(Duration::from_secs(1)),
        first => End::Complete { accepted: first == Some(&b'a') },
    }
}
