//! Log levels: said on each request by the client, set for a session before the server.
//!
//! A session logs as the most talkative of the requests in it wants; what is too much for the request
//! that it belongs to is dropped here (server/utilities/logging, "Per-request log level").

use serde_json::json;

use super::{Backward, machine::Origin, request::Own, said::Level};
use crate::mcp::{edit::picked, exchange::Command, message::Message};

impl Backward {
    /// Whether a request waits for the server to log as it wants.
    pub(super) fn levels_first(&mut self, key: u64) -> bool {
        let Some(request) = self.requests.get(&key) else { return false };
        let (number, wants) = (request.leg, request.level.is_some());
        if !wants {
            return false;
        }
        self.set_level(number);
        let levelling = self.legs.get_mut(&number).and_then(|leg| leg.levelling.as_mut());
        if let Some(waiting) = levelling {
            waiting.push(key);
            return true;
        }
        false
    }

    /// Has the server log as is wanted, if it does not and is not being told.
    pub(super) fn set_level(&mut self, number: u64) {
        let requests = self.requests.values().filter(|request| request.leg == number);
        let Some(wanted) = requests.filter_map(|request| request.level).min() else { return };
        let Some(leg) = self.legs.get_mut(&number) else { return };
        let logs = leg.server.as_ref().is_some_and(|server| server.offers("/logging"));
        if !logs || leg.levelling.is_some() || leg.level == Some(wanted) {
            return;
        }
        leg.level = Some(wanted);
        leg.levelling = Some(Vec::new());
        self.ask_own(number, Own::Level, "logging/setLevel", &json!({ "level": wanted.name() }));
    }

    /// The server has its level, or has refused it: what waited for that goes on.
    pub(super) fn levelled(&mut self, number: u64, error: Option<&[u8]>) {
        if error.is_some() {
            tracing::warn!("the server has refused a log level");
        }
        let Some(leg) = self.legs.get_mut(&number) else { return };
        for key in leg.levelling.take().unwrap_or_default() {
            self.serve(key);
        }
    }

    /// A session that has taken a lost one's place logs as it likes.
    pub(super) fn level_again(&mut self, number: u64) {
        if let Some(leg) = self.legs.get_mut(&number) {
            leg.level = None;
        }
        self.set_level(number);
    }

    /// A log message goes to a client that has asked for it: on the request that it came with, or,
    /// where it came with none, on any of the session's.
    pub(super) fn logged(&mut self, number: u64, origin: Origin, message: &Message) {
        let level = picked(message.bytes(), &["params"], ["level"]);
        let level = level.and_then(|[level]| Level::read(level?));
        let wants = |it: &super::Request| {
            let wanted = it.level.filter(|_| it.client.is_some());
            wanted.is_some_and(|wanted| level.is_none_or(|level| level >= wanted))
        };
        let wanted = match origin {
            // What is told on the stream of a request of our own is of the session.
            Origin::Call(call) if !self.own.contains_key(&call) => {
                self.requests.get(&call).is_some_and(|it| wants(it))
            }
            Origin::Over => false,
            _ => self.requests.values().any(|it| it.leg == number && wants(it)),
        };
        if wanted {
            self.out.push(Command::Deliver(message.line()));
        }
    }
}
