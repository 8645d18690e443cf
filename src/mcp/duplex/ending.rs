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
                let failure = match end {
                    End::Complete { .. } => None,
                    End::Broken(failure) => Some(failure),
                    End::Idle(limit) => Some(outcome::idle(&self.upstream, limit)),
                    End::Refused(refusal) => Some(refusal.explain(&self.upstream)),
                };
                if let Some(failure) = failure {
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
                if let Some(answer) = refusal.message().filter(|it| !own && self.answers(it, post))
                {
                    let channel = self.channel.unwrap_or(ExchangeId(self.first));
                    return self.server_sent(channel, &answer);
                }
                refusal.explain(&self.upstream)
            }
        };
        if !own {
            self.answer(post, &failure);
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
                self.answer(&post, &failure);
            }
            End::Broken(failure) if failure.never_sent() && !current && !replayed => {
                self.again(post);
            }
            End::Broken(failure) if failure.never_sent() => self.failed(&post, &failure),
            End::Broken(failure) => self.failed(&post, &after(&failure)),
            // Some servers answer the POST when the call is over, and speak of it on the channel before.
            End::Idle(_) if current && self.is_watched(&post) => {}
            End::Idle(limit) => {
                let failure = outcome::idle(&self.upstream, limit);
                self.failed(&post, &failure);
            }
            End::Refused(refusal) => self.refused(post, replayed, &refusal),
        }
    }

    fn refused(&mut self, post: Posted, replayed: bool, refusal: &Refusal) {
        let failure = refusal.explain(&self.upstream);
        // The session is in the endpoint's URL.
        let lost = self.agreed && refusal.session_lost(true);
        let own = refusal.message().filter(|it| self.answers(it, &post));
        match own {
            Some(answer) if !lost => {
                self.heard(&answer);
                self.answer(&post, &outcome::unanswered(&self.upstream));
            }
            _ if lost && !replayed => {
                // Held first, so that the loss answers it with nothing.
                self.unsend(&post);
                if post.epoch == self.epoch {
                    self.session_lost(&failure);
                }
                self.again(post);
            }
            _ if lost => self.failed(&post, &lost_again(&self.upstream, refusal.status)),
            _ if outcome::may_have_run(refusal.status) => {
                self.failed(&post, &failure.hint(outcome::LOOK_AT_ITS_LOG));
            }
            _ => self.failed(&post, &failure),
        }
    }

    /// Whether a POST carries the request of this id that is open now: after its answer the id may be that
    /// of another.
    fn carries(&self, post: &Posted, id: &Id) -> bool {
        self.open.get(id).is_some_and(|call| call.post == Some(post.exchange))
    }

    /// Whether the beats will find that nothing is heard of what a POST carries.
    fn is_watched(&self, post: &Posted) -> bool {
        let mut calls = post.message.request_ids().filter_map(|id| self.open.get(id));
        calls.any(|call| call.post == Some(post.exchange) && !call.endless)
    }

    /// Whether a message answers at least one of them.
    fn answers(&self, message: &Message, post: &Posted) -> bool {
        let mut ids = post.message.request_ids().filter(|id| self.carries(post, id));
        ids.any(|it| {
            let named = |envelope: &Envelope| matches!(envelope, Envelope::Response { id: Some(id), .. } if id == it);
            message.envelopes().iter().any(named)
        })
    }

    fn unsend(&mut self, post: &Posted) {
        for id in post.message.request_ids() {
            if let Some(call) = self.open.get_mut(id).filter(|it| it.post == Some(post.exchange)) {
                call.sent = false;
            }
        }
    }

    /// What is proven unprocessed goes out on the next channel, unless it is about the one before,
    /// or nobody waits for it any more.
    fn again(&mut self, post: Posted) {
        self.unsend(&post);
        let calls = post.message.request_ids().count();
        let open = post.message.request_ids().filter(|id| self.carries(&post, id)).count();
        if open == calls && !(calls == 0 && belongs_to_session(&post.message)) {
            self.route(post.message, true);
        } else {
            let failure =
                Failure::new(Stage::Response, "the session was lost, and a part answered");
            self.answer(&post, &outcome::unknown(&failure));
        }
    }

    /// A POST failed for good.
    fn failed(&mut self, post: &Posted, failure: &Failure) {
        if post.message.request_ids().next().is_none() {
            tracing::warn!(%failure, "a notification or response did not reach the server");
        }
        self.answer(post, failure);
    }

    /// Answers what of a POST is open.
    fn answer(&mut self, post: &Posted, failure: &Failure) {
        for id in post.message.request_ids() {
            if self.carries(post, id) {
                self.open.remove(id);
                self.out.push(Command::Deliver(fault::answer(id, failure)));
            }
        }
    }

    /// Answers the calls whose channel is gone, but for those whose POST is still to tell whether it
    /// was sent at all.
    pub(super) fn answer_lost(&mut self, cause: &Failure) {
        let (unknown, ended) = (with_its_channel(cause), subscription_ended(cause));
        let posts = &self.posts;
        let telling = |post: &Posted| matches!(post.what, What::Message { .. });
        let lost = |_: &Id, call: &mut Call| {
            call.sent && !call.post.and_then(|post| posts.get(&post)).is_some_and(telling)
        };
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
        self.drop_unwanted();
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

/// What the failure of a POST means for the call in it.
fn after(cause: &Failure) -> Failure {
    match cause.stage() {
        // A whole answer, which says of itself that the call may have run, or what to change.
        Stage::Protocol => cause.clone(),
        _ => outcome::unknown(cause),
    }
}

/// What the loss of the channel means for a call that was sent, whatever it was lost for.
fn with_its_channel(cause: &Failure) -> Failure {
    let unknown = outcome::unknown(cause);
    match cause.next_step() {
        Some(change) if cause.stage() == Stage::Protocol => unknown
            .hint(format!("{change}; the request may have run: check before you call it again")),
        _ => unknown,
    }
}

fn subscription_ended(cause: &Failure) -> Failure {
    let what = format!("the subscription ended: {}", cause.what());
    Failure::new(Stage::Response, what).hint("subscribe again")
}
