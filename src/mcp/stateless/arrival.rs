//! What the server sends on the stream of a request, and what it shows the server to be.

use bytes::Bytes;

use super::{Call, Kind, Stateless};
use crate::mcp::{
    edit,
    era::Era,
    exchange::{Command, ExchangeId},
    fault,
    message::{Envelope, Id, Message},
    refusal::{self, HEADER_MISMATCH},
};

impl Stateless {
    pub(super) fn server_sent(&mut self, exchange: ExchangeId, message: &Message) {
        let Some(call) = self.calls.get(&exchange) else { return };
        let own = call.kind == Kind::Relist;
        match message.single() {
            Some(Envelope::Response { id, error }) => {
                self.response(exchange, id.as_ref(), error.as_ref(), message);
            }
            Some(_) if own => {}
            Some(_) => self.out.push(Command::Deliver(message.line())),
            // No batches in this revision; each message in one is as good as one by itself.
            None => {
                for part in message.parts().filter_map(|part| Message::parse(part).ok()) {
                    self.server_sent(exchange, &part);
                }
            }
        }
    }

    fn response(
        &mut self,
        exchange: ExchangeId,
        id: Option<&Id>,
        error: Option<&Bytes>,
        message: &Message,
    ) {
        let Some(call) = self.calls.get_mut(&exchange) else { return };
        let kind = call.kind;
        if kind == Kind::Relist {
            return self.relisted(exchange, message);
        }
        // An error that could not name its request can mean this one alone.
        let meant = call.id.take_if(|it| id.map_or(error.is_some(), |id| it == id));
        let Some(meant) = meant else {
            tracing::debug!("a response to no request in flight is dropped");
            return;
        };
        let code = error.and_then(|error| refusal::code(error));
        let line = match error {
            Some(error) if id.is_none() => fault::addressed_to(&meant, error),
            _ => message.line(),
        };
        if kind == Kind::Tool
            && code == Some(HEADER_MISMATCH)
            && let Some(call) = self.calls.remove(&exchange)
        {
            self.out.push(Command::Cancel(exchange));
            return self.mismatched(Call { id: Some(meant), ..call }, line);
        }
        let line = match kind {
            Kind::Discover if !self.shown_by_answer(code, discovers(message)) => {
                self.too_old(&meant)
            }
            Kind::Tools => match self.annotations.learn(message).without {
                Some(without) => Message::parse(without).map_or(line, |without| without.line()),
                None => line,
            },
            _ => line,
        };
        self.answer(&meant, line);
    }

    /// What the answer to a probe shows (stdio, "Backward Compatibility"): a result of this era, or one
    /// of the errors that it has, are modern; anything else is not.
    fn shown_by_answer(&mut self, code: Option<i64>, discovers: bool) -> bool {
        let modern = discovers || code.is_some_and(refusal::is_modern);
        self.shown(if modern { Era::Modern } else { Era::Legacy });
        modern
    }
}

/// Whether a result can be one of `server/discover`: some old servers answer whatever they do not know
/// with an empty one.
pub(in crate::mcp) fn discovers(message: &Message) -> bool {
    let said = |name| edit::member(message.bytes(), &["result", name]).is_some();
    said("supportedVersions") || said("resultType")
}
