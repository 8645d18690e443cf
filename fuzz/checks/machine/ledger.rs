//! Counts what the client asked, and what it was answered.

use std::collections::HashMap;

use bytes::Bytes;
use countersign::mcp::{
    message::{Envelope, Id, Message},
    notification,
};

#[derive(Default)]
pub(super) struct Ledger {
    requests: HashMap<Id, Count>,
}

/// Of the requests with one id.
#[derive(Default)]
struct Count {
    asked: usize,
    answered: usize,
    /// Those that need no answer any more.
    cancelled: usize,
    /// Those that last for as long as the client does, and may be left without one when it is gone.
    subscriptions: usize,
}

impl Ledger {
    pub(super) fn asked(&mut self, message: &Message) {
        for envelope in message.envelopes() {
            if let Envelope::Request { id, method } = envelope {
                let count = self.requests.entry(id.clone()).or_default();
                count.asked += 1;
                count.subscriptions += usize::from(&**method == "subscriptions/listen");
            }
        }
        for id in message.parts().filter_map(cancelled) {
            self.requests.entry(id).or_default().cancelled += 1;
        }
    }

    /// The client sends nothing more.
    pub(super) fn closed(&mut self) {
        for count in self.requests.values_mut() {
            count.cancelled += std::mem::take(&mut count.subscriptions);
        }
    }

    pub(super) fn delivered(&mut self, message: &Message) {
        for envelope in message.envelopes() {
            if let Envelope::Response { id: Some(id), .. } = envelope {
                let count = self.requests.get_mut(id).expect("an answer to nothing");
                count.answered += 1;
                assert!(count.answered <= count.asked, "two answers to {}", id.token());
            }
        }
    }

    /// Nothing is open.
    pub(super) fn settled(&self) {
        for (id, count) in &self.requests {
            let done = count.answered + count.cancelled;
            assert!(done >= count.asked, "request {} has no answer", id.token());
        }
    }
}

fn cancelled(part: Bytes) -> Option<Id> {
    let message = Message::parse(part).ok()?;
    message
        .is_notification("notifications/cancelled")
        .then(|| notification::cancelled_id(&message))?
}
