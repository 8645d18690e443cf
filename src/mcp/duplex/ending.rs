//! How POSTs end, calls that nothing is heard of, and what both mean for the client's requests.
//!
//! Here stands promise 4: what is proven unprocessed may be sent again, once; what may have run is
//! answered "outcome unknown".

use super::{
    Duplex, Phase,
    call::{BEATS, Call, Posted, What},
};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        exchange::{Command, Due, End, ExchangeId, Timer},
        fault,
        message::{Envelope, Id, Message},
        notification, outcome,
        refusal::Refusal,
        session::ending::{belongs_to_session, lost_again},
    },
};

impl Duplex {
    pub(super) fn ended(&mut self, exchange: ExchangeId, end: End) {
        if self.channel == Some(exchange) {
            return self.channel_ended(end);
        }
        let Some(post) = self.posts.remove(&exchange) else { return };
        match post.what {
            What::Open { own } => self.opening_ended(own, &post, end),
            What::Confirm => {
                if let End::Broken(failure) = &end {
                    tracing::warn!(%failure, "the session could not be confirmed");
                }
                if self.phase == Phase::Confirming(exchange) {
                    self.ready();
                }
            }
            What::Message { replayed } => self.message_ended(post, replayed, end),
        }
    }

    /// An `initialize` was posted: its answer comes on the channel, a refusal comes here.
    fn opening_ended(&mut self, own: bool, post: &Posted, end: End) {
        let greeting = self.phase == (Phase::Greeting { own }) && post.epoch == self.epoch;
        let failure = match end {
            _ if !greeting => return,
            End::Complete { .. } => return,
            End::Broken(failure) => failure,
            End::Idle(limit) => outcome::idle(&self.upstream, limit),
            End::Refused(refusal) => {
                if let Some(answer) = refusal.message().filter(|it| !own && answers(it, post)) {
                    let channel = self.channel.unwrap_or(ExchangeId(self.first));
                    return self.server_sent(channel, &answer);
                }
                refusal.explain(&self.upstream)
            }
        };
        if !own {
            self.answer(post.message.request_ids(), &failure);
        }
        self.give_up(&failure);
    }

    fn message_ended(&mut self, post: Posted, replayed: bool, end: End) {
        let current = post.epoch == self.epoch;
        match end {
            // The answer comes on the channel.
            End::Complete { .. } if current => {}
            End::Complete { .. } => {
                let what = format!("{} lost the session before the answer came", self.upstream);
                let failure = outcome::unknown(&Failure::new(Stage::Response, what));
                self.answer(post.message.request_ids(), &failure);
            }
            End::Broken(failure) if failure.never_sent() && !current && !replayed => {
                self.again(post.message);
            }
            End::Broken(failure) if failure.never_sent() => self.failed(&post.message, &failure),
            End::Broken(failure) => self.failed(&post.message, &after(&failure)),
            End::Idle(limit) => {
                let failure = outcome::idle(&self.upstream, limit);
                self.failed(&post.message, &failure);
            }
            End::Refused(refusal) => self.refused(post, replayed, &refusal),
        }
    }

    fn refused(&mut self, post: Posted, replayed: bool, refusal: &Refusal) {
        let failure = refusal.explain(&self.upstream);
        // The session is in the endpoint's URL.
        let lost = self.agreed && refusal.session_lost(true);
        let own = refusal.message().filter(|it| answers(it, &post));
        match own {
            Some(answer) if !lost => {
                let wanted = post.message.request_ids().any(|id| self.open.remove(id).is_some());
                if wanted {
                    self.out.push(Command::Deliver(answer.line()));
                }
                self.answer(post.message.request_ids(), &outcome::unanswered(&self.upstream));
            }
            _ if lost && !replayed => {
                // Held first, so that the loss answers it with nothing.
                self.unsend(&post.message);
                if post.epoch == self.epoch {
                    self.session_lost(&failure);
                }
                self.again(post.message);
            }
            _ if lost => self.failed(&post.message, &lost_again(&self.upstream, refusal.status)),
            _ if outcome::may_have_run(refusal.status) => {
                self.failed(&post.message, &failure.hint(outcome::LOOK_AT_ITS_LOG));
            }
            _ => self.failed(&post.message, &failure),
        }
    }

    fn unsend(&mut self, message: &Message) {
        for id in message.request_ids() {
            self.open.entry(id.clone()).and_modify(|call| call.sent = false);
        }
    }

    /// What is proven unprocessed goes out on the next channel, unless it is about the one before,
    /// or nobody waits for it any more.
    fn again(&mut self, message: Message) {
        self.unsend(&message);
        let calls = message.request_ids().count();
        let open = message.request_ids().filter(|id| self.open.contains_key(id)).count();
        if open == calls && !(calls == 0 && belongs_to_session(&message)) {
            self.route(message, true);
        } else {
            let failure =
                Failure::new(Stage::Response, "the session was lost, and a part answered");
            self.answer(message.request_ids(), &outcome::unknown(&failure));
        }
    }

    /// A POST failed for good.
    fn failed(&mut self, message: &Message, failure: &Failure) {
        if message.request_ids().next().is_none() {
            tracing::warn!(%failure, "a notification or response did not reach the server");
        }
        self.answer(message.request_ids(), failure);
    }

    fn answer<'a>(&mut self, ids: impl Iterator<Item = &'a Id>, failure: &Failure) {
        for id in ids {
            if self.open.remove(id).is_some() {
                self.out.push(Command::Deliver(fault::answer(id, failure)));
            }
        }
    }

    /// Answers the calls whose channel is gone, but for those whose POST is still to tell whether it
    /// was sent at all.
    pub(super) fn answer_lost(&mut self, cause: &Failure) {
        let posts = self.posts.values().filter(|post| matches!(post.what, What::Message { .. }));
        let telling: Vec<Id> = posts.flat_map(|post| post.message.request_ids().cloned()).collect();
        let (unknown, ended) = (after(cause), subscription_ended(cause));
        let lost = |id: &Id, call: &mut Call| call.sent && !telling.contains(id);
        for (id, call) in self.open.extract_if(lost) {
            let failure = if call.endless { &ended } else { &unknown };
            self.out.push(Command::Deliver(fault::answer(&id, failure)));
        }
    }

    // Idle calls.

    /// Has the idle limit watched while there is something to watch.
    pub(super) fn beat(&mut self) {
        if !self.beating && !self.open.is_empty() {
            self.beating = true;
            let timer = Timer::Channel(ExchangeId(self.first), Due::Beat);
            self.out.push(Command::After(self.limits.idle / BEATS, timer));
        }
    }

    pub(super) fn beaten(&mut self) {
        self.beating = false;
        let mut idle = Vec::new();
        for (id, call) in self.open.iter_mut().filter(|(_, call)| !call.endless) {
            call.quiet += 1;
            if call.quiet > BEATS {
                idle.push(id.clone());
            }
        }
        for id in idle {
            self.call_idle(&id);
        }
        self.beat();
    }

    /// The call is given up here and, so that the server stops too, cancelled there.
    fn call_idle(&mut self, id: &Id) {
        let Some(call) = self.open.remove(id) else { return };
        let failure = outcome::idle(&self.upstream, self.limits.idle);
        self.out.push(Command::Deliver(fault::answer(id, &failure)));
        self.held
            .retain(|(held, _)| held.single().is_none() || held.request_ids().all(|h| h != id));
        if self.phase == (Phase::Greeting { own: false }) && self.initialize_id() == Some(id) {
            // An `initialize` is not cancelled (2024-11-05 cancellation, "Behavior Requirements").
            return self.give_up(&failure);
        }
        let cancel = notification::cancel(id, "no byte came within the idle limit");
        if call.sent
            && self.is_up()
            && let Ok(message) = Message::parse(cancel)
        {
            self.send(message, What::Message { replayed: true });
        }
    }
}

/// What a failure means for a call that was sent.
fn after(cause: &Failure) -> Failure {
    match cause.stage() {
        // It says of itself that the call may have run, or what to change.
        Stage::Protocol => cause.clone(),
        _ => outcome::unknown(cause),
    }
}

fn subscription_ended(cause: &Failure) -> Failure {
    let what = format!("the subscription ended: {}", cause.what());
    Failure::new(Stage::Response, what).hint("subscribe again")
}

/// Whether a message answers at least one request of the POST.
fn answers(message: &Message, post: &Posted) -> bool {
    message.envelopes().iter().any(|envelope| match envelope {
        Envelope::Response { id: Some(id), .. } => post.message.request_ids().any(|it| it == id),
        _ => false,
    })
}
