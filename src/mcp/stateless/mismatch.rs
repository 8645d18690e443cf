//! A call that was refused for its headers: the tools are listed anew, and the call goes out once
//! more with the headers that the new list asks for (2026-07-28 streamable-http, "Client Behavior").
//!
//! A server that says `HeaderMismatch` has not looked further, so nothing runs twice. A call whose
//! headers would be the same gets the server's error.

use bytes::Bytes;

use super::{Call, Kind, Stateless};
use crate::mcp::{
    exchange::{Context, End, ExchangeId},
    message::{Id, Message},
    metadata::Metadata,
};

/// Pages of a list that are asked for.
const PAGES: u32 = 64;

/// The calls that wait for the list.
#[derive(Debug, Default)]
pub(super) struct Relisting {
    /// Each with the server's error, as the client will see it if the list does not help.
    waiting: Vec<(Call, Bytes)>,
    under_way: bool,
    pages: u32,
}

impl Relisting {
    /// The client wants no answer any more.
    pub(super) fn forget(&mut self, id: &Id) {
        self.waiting.retain(|(call, _)| call.id.as_ref() != Some(id));
    }
}

impl Stateless {
    /// The server refused `call` for its headers, with the error in `line`.
    pub(super) fn mismatched(&mut self, call: Call, line: Bytes) {
        let Some(id) = call.id.clone() else { return };
        if call.corrected {
            return self.answer(&id, line);
        }
        self.open.insert(id, None);
        self.relisting.waiting.push((call, line));
        if !self.relisting.under_way {
            self.relisting.under_way = true;
            self.relisting.pages = 0;
            self.relist(None);
        }
    }

    /// Asks for the list, or for its page at `cursor`, in the name of the first call that waits.
    fn relist(&mut self, cursor: Option<&str>) {
        self.relisting.pages += 1;
        let Some((call, _)) = self.relisting.waiting.first() else { return self.resend() };
        let meta = Metadata::of(&call.message, "tools/call")
            .meta
            .filter(|it| *it != "null")
            .unwrap_or("{}");
        let cursor = cursor.map(|cursor| format!(r#""cursor":{cursor},"#)).unwrap_or_default();
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":"countersign-list","method":"tools/list","params":{{{cursor}"_meta":{meta}}}}}"#
        );
        // It is put together of what was parsed.
        let Ok(message) = Message::parse(Bytes::from(text)) else { return self.resend() };
        let context = Context::default();
        self.post(Call { id: None, kind: Kind::Relist, message, context, corrected: false });
    }

    /// The server's answer to our own request for the list.
    pub(super) fn relisted(&mut self, exchange: ExchangeId, response: &Message) {
        self.calls.remove(&exchange);
        match self.annotations.learn(response).cursor {
            Some(cursor) if self.relisting.pages < PAGES => self.relist(Some(&cursor)),
            _ => self.resend(),
        }
    }

    pub(super) fn relisting_failed(&mut self, end: &End) {
        tracing::debug!(?end, "the list of tools could not be had");
        self.resend();
    }

    /// Sends the calls whose headers are others by now, and answers the rest.
    fn resend(&mut self) {
        self.relisting.under_way = false;
        for (mut call, line) in std::mem::take(&mut self.relisting.waiting) {
            let Some(id) = call.id.clone() else { continue };
            if self.context(&call.message).mirrored == call.context.mirrored {
                self.answer(&id, line);
                continue;
            }
            call.corrected = true;
            self.post(call);
        }
    }
}
