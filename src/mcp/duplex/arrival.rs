//! What the server sends on the channel, and what it means for the requests of the client.

use bytes::Bytes;

use super::{Duplex, MAX_ASKED, Phase};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        edit,
        exchange::{Command, ExchangeId},
        fault,
        handshake::Agreed,
        message::{Envelope, Id, Message},
    },
};

impl Duplex {
    pub(super) fn server_sent(&mut self, exchange: ExchangeId, message: &Message) {
        // Some servers answer on the POST too.
        let posted = self.posts.get(&exchange).is_some_and(|post| post.epoch == self.epoch);
        if self.channel != Some(exchange) && !posted {
            return;
        }
        if self.phase == Phase::Opening {
            // Streamable HTTP has such streams: nothing can be sent by this one.
            let what = format!("{} named no endpoint first on its event stream", self.upstream);
            return self.give_up(&Failure::new(Stage::Protocol, what));
        }
        if message.single().is_some() {
            return self.heard(message);
        }
        // Any of a batch may be the last that is heard of its channel.
        for part in parts(message) {
            self.server_sent(exchange, &part);
        }
    }

    /// Takes in what the server said, whichever way it came. Of a batch each message is taken by itself:
    /// the answer to an `initialize` may be in it, and a second answer must not reach the client.
    pub(super) fn heard(&mut self, message: &Message) {
        match message.single() {
            Some(Envelope::Response { id, error }) => {
                return self.response(id.as_ref(), error.as_ref(), message);
            }
            Some(Envelope::Notification { method }) => {
                if &**method == "notifications/progress" {
                    self.progressed(message);
                }
            }
            Some(Envelope::Request { id, .. }) => self.asks(id),
            None => return parts(message).for_each(|part| self.heard(&part)),
        }
        self.out.push(Command::Deliver(message.line()));
    }

    fn response(&mut self, id: Option<&Id>, error: Option<&Bytes>, message: &Message) {
        if let Phase::Greeting { own } = self.phase {
            let ours = match own {
                true => Id::from_token(&self.own_id()),
                false => self.initialize_id().cloned(),
            };
            // An error that could not name its request can only mean this one: nothing else waits.
            let means_it = match id {
                Some(id) => Some(id) == ours.as_ref(),
                None => error.is_some(),
            };
            if means_it {
                return self.welcomed(own, ours, id.is_some(), error, message);
            }
        }
        match (id, error) {
            // One that still waits is not meant: a request before it had the same id.
            (Some(id), _) if self.open.get(id).is_some_and(|call| call.sent) => {
                self.open.remove(id);
                self.out.push(Command::Deliver(message.line()));
            }
            (None, Some(error)) if self.open.values().filter(|call| call.sent).count() == 1 => {
                let one = self.open.iter().find(|(_, call)| call.sent).map(|(id, _)| id.clone());
                self.answer_unnamed(one, error);
            }
            _ => tracing::debug!("a response to no request in flight is dropped"),
        }
    }

    /// The answer to an `initialize`.
    fn welcomed(
        &mut self,
        own: bool,
        ours: Option<Id>,
        named: bool,
        error: Option<&Bytes>,
        message: &Message,
    ) {
        let agreed = Agreed::read(message);
        if own {
            return self.greeted_again(agreed);
        }
        match error {
            Some(error) if !named => self.answer_unnamed(ours, error),
            _ if ours.is_some_and(|ours| self.open.remove(&ours).is_some()) => {
                self.out.push(Command::Deliver(message.line()));
            }
            _ => {}
        }
        self.greeted(agreed);
    }

    /// Gives the server's error, which could not name its request, to the one it means.
    fn answer_unnamed(&mut self, id: Option<Id>, error: &[u8]) {
        if let Some(id) = id
            && self.open.remove(&id).is_some()
        {
            self.out.push(Command::Deliver(fault::addressed_to(&id, error)));
        }
    }

    /// A question of the server's, to be answered on this channel or not at all.
    fn asks(&mut self, id: &Id) {
        if self.asked.len() >= MAX_ASKED {
            let current = self.epoch;
            self.asked.retain(|_, epoch| *epoch == current);
        }
        if self.asked.len() < MAX_ASKED {
            self.asked.insert(id.detached(), self.epoch);
        }
        self.touch_all();
    }

    /// A call that progresses is not idle.
    fn progressed(&mut self, message: &Message) {
        let token = edit::member(message.bytes(), &["params", "progressToken"]);
        let Some(token) = token.map(|token| token.get()) else { return };
        for call in self.open.values_mut().filter(|call| call.progresses(token)) {
            call.quiet = 0;
        }
    }

    /// A question of the server's, or its answer, is about some call; nothing says which.
    pub(super) fn touch_all(&mut self) {
        self.open.values_mut().for_each(|call| call.quiet = 0);
    }
}

/// The messages of a batch, each by itself.
fn parts(batch: &Message) -> impl Iterator<Item = Message> {
    // They were read with the batch.
    batch.parts().filter_map(|part| Message::parse(part).ok())
}
