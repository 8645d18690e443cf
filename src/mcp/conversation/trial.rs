//! A legacy client's `initialize` before a server whose era is in doubt: `server/discover` is asked,
//! and what is said to it decides who has the client's messages from then on. Until that is known, what
//! else the client sends waits here.

use bytes::Bytes;

use super::{Conversation, Machine};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        era::Era,
        exchange::{Command, Event},
        fault,
        message::{Envelope, Id, Message},
        notification,
    },
};

/// An `initialize` on trial.
#[derive(Debug)]
pub(super) struct Trial {
    id: Id,
    initialize: Message,
    pub(super) held: Vec<Message>,
    otherwise: Otherwise,
    /// The server has said nothing in its time.
    pub(super) silent: bool,
}

/// What is done where the server turns out to be legacy.
#[derive(Debug)]
pub(super) enum Otherwise {
    /// A session is opened.
    Session,
    /// HTTP+SSE is tried; the failure is what is said if that is nothing either.
    HttpSse(Failure),
    /// The client is given this line.
    Refusal(Bytes),
}

impl Conversation {
    /// Asks the server by way of the translator what it is; `messages` begin with `initialize`.
    pub(super) fn try_forward(&mut self, messages: Vec<Message>, otherwise: Otherwise) {
        let mut messages = messages.into_iter();
        let Some(initialize) = messages.next() else { return };
        let Some(id) = initialize.request_ids().next().cloned() else { return };
        let held = messages.collect();
        self.forward.reconsider();
        let on_trial = initialize.clone();
        self.trial = Some(Trial { id, initialize, held, otherwise, silent: false });
        self.tell(Machine::Forward, Event::FromClient(on_trial));
    }

    /// Keeps a message until the trial is over.
    pub(super) fn hold(&mut self, message: Message) {
        let Some(trial) = &mut self.trial else { return };
        if message.is_notification("notifications/cancelled")
            && let Some(cancelled) = notification::cancelled_id(&message)
        {
            let before = trial.held.len();
            trial.held.retain(|held| {
                held.single().is_none() || !held.request_ids().any(|id| *id == cancelled)
            });
            if trial.held.len() < before {
                return;
            }
        }
        if trial.held.len() < self.limits.in_flight {
            return trial.held.push(message);
        }
        let what = format!("more than {} messages wait for initialize", self.limits.in_flight);
        let failure = Failure::new(Stage::Downstream, what).hint("wait for its answer first");
        let answers = message.request_ids().map(|id| fault::answer(id, &failure));
        self.out.extend(answers.map(Command::Deliver));
        if message.request_ids().next().is_none() {
            tracing::warn!("too many messages wait for initialize, one is dropped");
        }
    }

    /// A line of the translator: the verdict, if it answers what is on trial.
    pub(super) fn judge(&mut self, line: Bytes) {
        let said = Message::parse(line.clone()).ok();
        let error = match (said.as_ref().and_then(Message::single), &self.trial) {
            (Some(Envelope::Response { id: Some(id), error }), Some(trial)) if *id == trial.id => {
                error.is_some()
            }
            _ => return self.out.push(Command::Deliver(line)),
        };
        let Some(trial) = self.trial.take() else { return };
        let era = self.forward.era();
        if error && (trial.silent || era == Some(Era::Legacy)) {
            self.stateless.shown(Era::Legacy);
            self.forwarded = false;
            return self.acquit(trial);
        }
        // Without an era it is a word about the request alone, and nothing is remembered of it.
        if let Some(era) = era {
            self.stateless.shown(era);
            self.forwarded = true;
        }
        self.out.push(Command::Deliver(line));
        self.resume(trial.held);
    }

    /// The server is of the client's era after all.
    fn acquit(&mut self, trial: Trial) {
        match trial.otherwise {
            Otherwise::Session => {
                let machine = self.native();
                self.tell(machine, Event::FromClient(trial.initialize));
            }
            Otherwise::HttpSse(failure) => self.over_http_sse(trial.initialize, failure),
            Otherwise::Refusal(line) => self.out.push(Command::Deliver(line)),
        }
        self.resume(trial.held);
    }

    pub(super) fn resume(&mut self, held: Vec<Message>) {
        for message in held {
            self.client_sent(message);
        }
    }
}
