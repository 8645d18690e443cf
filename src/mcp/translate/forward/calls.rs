//! The client's requests on their way: each is sent under an id that is free towards the server, perhaps
//! more than once, and answered once under the client's.
//!
//! Sent again is only what the server has proved not to have run: it does not speak the revision, or it
//! asks for input and has ended the request (mrtr, "Basic Workflow").

use std::borrow::Cow;

use bytes::Bytes;

use super::{Forward, Purpose, answer, profile, round::Round};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        edit::{self, Edit},
        exchange::Command,
        fault,
        message::{Id, Message},
        metadata::PROTOCOL_VERSION,
        notification,
        refusal::{self, UNSUPPORTED_VERSION},
    },
};

/// A request of the client without an answer.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Box<str>,
    /// As it went to the server first.
    pub(super) message: Message,
    pub(super) step: Step,
    /// How often the server has asked for input.
    pub(super) rounds: u32,
    /// How often in a row it has asked for nothing but to be asked again.
    pub(super) stalls: u32,
    /// It was sent again for its revision.
    renewed: bool,
}

/// Where a request stands.
#[derive(Debug)]
pub(super) enum Step {
    /// With the server, which calls it so.
    Sent(Id),
    /// The client is being asked.
    Asking(Round),
    /// It is sent again, as it is here, when the timer so counted has run out.
    Pausing(u64, Message),
    /// It waits for the subscription to be acknowledged.
    Subscribing,
}

impl Call {
    pub(super) fn new(method: &str, message: Message, step: Step) -> Self {
        let method = method.into();
        Self { method, message, step, rounds: 0, stalls: 0, renewed: false }
    }

    /// Whether it gets no further once the client is gone.
    pub(super) fn needs_the_client(&self) -> bool {
        matches!(self.step, Step::Asking(_) | Step::Subscribing)
    }
}

impl Forward {
    /// Sends a new request of the client, under its own id where that is free.
    pub(super) fn call(&mut self, id: Id, method: &str, message: Message) {
        let taken = self.sent.contains_key(&id);
        let wire = if taken { self.fresh_id() } else { id.clone() };
        let call = Call::new(method, message.clone(), Step::Sent(wire.clone()));
        self.calls.insert(id.clone(), call);
        let message =
            if taken { Message::parse(message.with_id(wire.token())) } else { Ok(message) };
        self.send(id, wire, message.ok());
    }

    /// Sends a request of the client once more: "The JSON-RPC `id` MUST be different" (mrtr, "Client
    /// Requirements" 3).
    pub(super) fn send_again(&mut self, id: Id, message: &Message) {
        let wire = self.fresh_id();
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.step = Step::Sent(wire.clone());
        let message = Message::parse(message.with_id(wire.token()));
        self.send(id, wire, message.ok());
    }

    fn send(&mut self, id: Id, wire: Id, message: Option<Message>) {
        let Some(message) = message else {
            // It was parsed before, and only its id has changed.
            let failure = Failure::new(Stage::Downstream, "the request could not be given an id");
            return self.fail(&id, &failure);
        };
        self.sent.insert(wire, Purpose::Call(id));
        self.say(message);
    }

    /// The server's answer to what it calls `wire`.
    pub(super) fn answered(&mut self, id: Id, wire: &Id, error: Option<&[u8]>, message: &Message) {
        if let Some(renewed) = error.and_then(|error| self.renewed(&id, error)) {
            return self.send_again(id, &renewed);
        }
        let Some(call) = self.calls.get(&id) else { return };
        let line = message.bytes();
        if let Some(error) = error {
            let line = answer::error(line, error, &call.method, wire, &id);
            return self.finish(&id, line);
        }
        let read = answer::result(line);
        match read.kind.as_deref() {
            None | Some("complete") if &*call.method == "initialize" => {
                self.initialized(&id, wire, message);
            }
            None | Some("complete") => {
                let line = answer::complete(line, &read, &call.method, wire, &id);
                self.finish(&id, line);
            }
            // No client can be asked before it has initialized (mrtr, "Supported Requests").
            Some("input_required") if &*call.method != "initialize" => {
                self.input_required(id, message);
            }
            // basic, "ResultType": "A value unrecognized by the client MUST be considered invalid".
            Some(_) => {
                let what =
                    format!("{} answered with a type of result that is unknown", self.upstream);
                let failure = Failure::new(Stage::Protocol, what)
                    .hint("it may need an extension of MCP that this client does not speak");
                self.fail(&id, &failure);
            }
        }
    }

    /// The request once more in a revision that the server says to speak, where that is one of ours
    /// (versioning, "Protocol Version Negotiation"). It has not run: the revision was refused.
    fn renewed(&mut self, id: &Id, error: &[u8]) -> Option<Message> {
        let call = self.calls.get_mut(id).filter(|call| !call.renewed)?;
        if refusal::code(error) != Some(UNSUPPORTED_VERSION) {
            return None;
        }
        let version = profile::newest(&answer::supported(error))?;
        call.renewed = true;
        let raw = Cow::Owned(format!(r#""{version}""#));
        let edits = [Edit::Set(&["params", "_meta", PROTOCOL_VERSION], raw)];
        call.message = Message::parse(edit::edited(call.message.bytes(), &edits)?).ok()?;
        self.profile.version = version;
        Some(call.message.clone())
    }

    /// The client wants no answer any more.
    pub(super) fn cancelled(&mut self, id: &Id) {
        let Some(call) = self.calls.remove(id) else {
            tracing::debug!(id = id.token(), "what is cancelled is not in flight");
            return;
        };
        match call.step {
            Step::Sent(wire) => self.withdraw(&wire),
            Step::Asking(round) => {
                self.ask_no_more(&round, "the request that needs it was cancelled")
            }
            Step::Pausing(..) => {}
            Step::Subscribing => self.subscription.forget(id),
        }
    }

    /// Takes back what the server calls `wire`.
    pub(super) fn withdraw(&mut self, wire: &Id) {
        self.sent.remove(wire);
        if let Ok(message) = Message::parse(notification::cancel(wire, "the client cancelled it")) {
            self.say(message);
        }
    }

    /// Answers a request of the client with a failure, wherever it stands.
    pub(super) fn fail(&mut self, id: &Id, failure: &Failure) {
        self.finish(id, fault::answer(id, failure));
    }

    /// Answers a request of the client.
    pub(super) fn finish(&mut self, id: &Id, line: Bytes) {
        let Some(call) = self.calls.remove(id) else { return };
        if let Step::Asking(round) = &call.step {
            self.ask_no_more(round, "the request that needs it has failed");
        }
        self.out.push(Command::Deliver(line));
    }
}

/// A parameter that is a string.
pub(super) fn parameter(message: &Message, name: &str) -> Option<String> {
    let raw = edit::member(message.bytes(), &["params", name])?;
    serde_json::from_str(raw.get()).ok()
}
