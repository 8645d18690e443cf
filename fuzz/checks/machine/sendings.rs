//! What may have run is sent once. Calls are told apart by a number in their metadata, which machines
//! pass on as they found it; what one of them asks for its own ends, in the client's name, is of
//! another method.

use std::collections::HashMap;

use bytes::Bytes;
use countersign::mcp::{
    edit,
    exchange::{End, Event, ExchangeId},
    message::{Envelope, Id, Message},
};

use super::number;

/// Where the number of a call is.
pub(super) const NUMBER: [&str; 3] = ["params", "_meta", "example.com/number"];

#[derive(Default)]
pub(super) struct Sendings(HashMap<(u64, Box<str>), Sending>);

struct Sending {
    exchange: ExchangeId,
    /// As the server knows it.
    id: Id,
    /// The server was not reached, refused it, or wants it again.
    again: bool,
}

impl Sendings {
    pub(super) fn sent(&mut self, exchange: ExchangeId, body: Bytes) {
        let message = Message::parse(body).expect("what is sent is a message");
        let Some(Envelope::Request { id, method }) = message.single() else { return };
        let Some(number) = number(&message, &NUMBER) else { return };
        // A handshake is repeated in each session.
        if &**method == "initialize" {
            return;
        }
        let sending = Sending { exchange, id: id.clone(), again: false };
        if let Some(before) = self.0.insert((number, method.clone()), sending) {
            assert!(before.again, "{} {number} may run twice", before.id.token());
        }
    }

    pub(super) fn heard(&mut self, event: &Event) {
        match event {
            Event::Ended(exchange, end, _) if unprocessed(end) => {
                self.0.values_mut().filter(|it| it.exchange == *exchange).for_each(Sending::prove);
            }
            Event::FromServer(_, message) => {
                for part in message.parts().filter_map(|part| Message::parse(part).ok()) {
                    if let Some(id) = wanted_again(&part) {
                        self.0.values_mut().filter(|it| it.id == *id).for_each(Sending::prove);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Sending {
    fn prove(&mut self) {
        self.again = true;
    }
}

fn unprocessed(end: &End) -> bool {
    match end {
        End::Broken(failure) => failure.never_sent(),
        End::Refused(refusal) => refusal.status.is_client_error(),
        End::Complete { .. } | End::Idle(_) => false,
    }
}

/// The request that an answer leaves to be sent again: an error, or a wish for input.
fn wanted_again(message: &Message) -> Option<&Id> {
    let Some(Envelope::Response { id: Some(id), error }) = message.single() else { return None };
    let kind = edit::member(message.bytes(), &["result", "resultType"]);
    let kind = kind.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    (error.is_some() || kind.as_deref() == Some("input_required")).then_some(id)
}
