//! A machine of `mcp` under a script: one step a line, each begins with a letter.
//!
//! Whatever happens in whatever order, each request of the client gets one answer, or was cancelled.
//!
//! `c JSON` the client says it; `s N JSON` the server says it on the Nth exchange; `h N TEXT` a head with
//! this session id; `e N WORD` the exchange ends; `t N` the Nth timer runs out; `x` the client closes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use countersign::{
    failure::{Failure, Stage},
    mcp::{
        exchange::{Command, End, Event, ExchangeId, Position, Timer},
        message::{Envelope, Id, Message},
        refusal::Refusal,
    },
};
use http::{HeaderMap, HeaderValue, StatusCode};

/// Steps of one script that are taken.
const STEPS: usize = 200;

/// Runs `script` on the machine whose `handle` this is.
pub(super) fn run(script: &[u8], mut handle: impl FnMut(Event) -> Vec<Command>) {
    let mut client = Client::default();
    for step in script.split(|byte| *byte == b'\n').take(STEPS) {
        if let Some(event) = client.event(step) {
            client.note(&event);
            client.take(handle(event));
        }
    }
    client.take(handle(Event::ClientClosed));
    client.take(handle(Event::Expired));
    client.settled();
}

#[derive(Default)]
struct Client {
    exchanges: Vec<ExchangeId>,
    timers: Vec<Timer>,
    /// How many requests of each id were sent, and how many answered.
    asked: HashMap<Id, (usize, usize)>,
    cancelled: bool,
    closed: bool,
    finished: usize,
}

impl Client {
    fn event(&mut self, step: &[u8]) -> Option<Event> {
        let (kind, rest) = step.split_first()?;
        let rest = rest.trim_ascii_start();
        let message = |bytes: &[u8]| Message::parse(Bytes::copy_from_slice(bytes)).ok();
        match kind {
            b'c' if !self.closed => Some(Event::FromClient(message(rest)?)),
            b'x' if !self.closed => {
                self.closed = true;
                Some(Event::ClientClosed)
            }
            b't' => Some(Event::Elapsed(*pick(&self.timers, rest)?.0)),
            b's' => {
                let (exchange, rest) = pick(&self.exchanges, rest)?;
                Some(Event::FromServer(*exchange, message(rest)?))
            }
            b'h' => {
                let (exchange, rest) = pick(&self.exchanges, rest)?;
                Some(Event::Head(*exchange, HeaderValue::from_bytes(rest).ok()))
            }
            b'e' => {
                let (exchange, rest) = pick(&self.exchanges, rest)?;
                let position =
                    Position { last_id: None, retry: None, progressed: rest.len() % 2 == 0 };
                Some(Event::Ended(*exchange, end(rest), position))
            }
            _ => None,
        }
    }

    fn note(&mut self, event: &Event) {
        let Event::FromClient(message) = event else { return };
        for id in message.request_ids() {
            self.asked.entry(id.clone()).or_default().0 += 1;
        }
        // Which one is cancelled is the machine's to find out; no count holds then.
        self.cancelled |= message.is_notification("notifications/cancelled");
    }

    fn take(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Post { exchange, .. } | Command::Listen { exchange, .. }
                    if !self.exchanges.contains(&exchange) =>
                {
                    self.exchanges.push(exchange);
                }
                Command::After(_, timer) => self.timers.push(timer),
                Command::Deliver(line) => self.delivered(line),
                Command::Finished => self.finished += 1,
                _ => {}
            }
        }
        assert!(self.finished <= 1, "finished twice");
    }

    fn delivered(&mut self, line: Bytes) {
        assert!(!line.contains(&b'\n'), "more than a line");
        let message = Message::parse(line).expect("what is delivered is a message");
        for envelope in message.envelopes() {
            if let Envelope::Response { id: Some(id), .. } = envelope {
                let (asked, answered) = self.asked.get_mut(id).expect("an answer to nothing");
                *answered += 1;
                assert!(answered <= asked, "two answers to one request");
            }
        }
    }

    fn settled(&self) {
        assert_eq!(self.finished, 1, "it never finishes");
        if !self.cancelled {
            for (id, (asked, answered)) in &self.asked {
                assert_eq!(asked, answered, "request {} has no answer", id.token());
            }
        }
    }
}

/// The item that a number at the start of `text` means, and the rest of it.
fn pick<'a, 'b, T>(items: &'a [T], text: &'b [u8]) -> Option<(&'a T, &'b [u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((items.get(number)?, text[end..].trim_ascii_start()))
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
