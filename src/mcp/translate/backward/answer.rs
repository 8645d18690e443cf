//! The answers of the server in the form that they have in the client's revision: `resultType`, the
//! cache's hints, the server's name, and the codes of errors that have changed.
//!
//! They are set in their places; a result is copied once as it stands, however large.

use std::borrow::Cow;

use bytes::Bytes;

use super::Backward;
use crate::mcp::{
    edit::{Edit, edited},
    fault,
    message::{Envelope, Id, Message},
    metadata::SERVER_INFO,
    outcome,
    refusal::{self, INVALID_PARAMS, RESOURCE_NOT_FOUND},
};

/// Whose results carry hints for caches (server/utilities/caching, "Cacheable Results").
const CACHEABLE: [&str; 5] =
    ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"];
/// 2025-11-25 client/elicitation, "URL Elicitation Required Error".
const URL_ELICITATION_REQUIRED: i64 = -32_042;

impl Backward {
    /// Gives the client the server's answer to its request.
    pub(super) fn give(&mut self, key: u64, message: &Message) {
        let Some(request) = self.requests.get(&key) else { return };
        let Some(Envelope::Response { error, .. }) = message.single() else { return };
        let code = error.as_ref().and_then(|error| refusal::code(error));
        if code == Some(URL_ELICITATION_REQUIRED) {
            return self.needs_address(key, message);
        }
        let not_found = code == Some(RESOURCE_NOT_FOUND) && request.method() == "resources/read";
        let failed = error.is_some();
        let cacheable = CACHEABLE.contains(&request.method());
        let leg = self.legs.get(&request.leg);
        let server = leg.and_then(|leg| leg.server.as_ref()?.info.as_deref());
        let line = request.client.as_ref().map(|id| {
            let line = match (failed, not_found) {
                (true, false) => readdressed(id, message, &[]),
                (true, true) => {
                    let code = Cow::Owned(INVALID_PARAMS.to_string());
                    readdressed(id, message, &[Edit::Set(&["error", "code"], code)])
                }
                (false, _) => completed(id, message, cacheable, server),
            };
            line.unwrap_or_else(|| fault::answer(id, &outcome::unanswered(&self.upstream)))
        });
        self.answer(key, |_| line.unwrap_or_default());
    }
}

/// A result as a server of 2026-07-28 gives it.
fn completed(id: &Id, message: &Message, cacheable: bool, server: Option<&str>) -> Option<Bytes> {
    let set = |path, raw| Edit::Set(path, Cow::Borrowed(raw));
    let named: &[&str] = &["result", "_meta", SERVER_INFO];
    // Those that not all have stand at the ends.
    let edits = [
        set(&["result", "ttlMs"], "0"),
        set(&["result", "cacheScope"], r#""private""#),
        set(&["id"], id.token()),
        set(&["result", "resultType"], r#""complete""#),
        set(named, server.unwrap_or("null")),
    ];
    let edits = if cacheable { &edits[..] } else { &edits[2..] };
    let unnamed = &edits[..edits.len() - 1];
    // What has no room for these, a result that is no object or a `_meta` that is none, goes without.
    server
        .and_then(|_| edited(message.bytes(), edits))
        .or_else(|| edited(message.bytes(), unnamed))
        .or_else(|| readdressed(id, message, &[]))
}

/// A response under the id that the client has for its request, with more `edits`.
fn readdressed(id: &Id, message: &Message, edits: &[Edit<'_>]) -> Option<Bytes> {
    let mut all = Vec::with_capacity(edits.len() + 1);
    all.push(Edit::Set(&["id"], Cow::Borrowed(id.token())));
    all.extend(edits.iter().cloned());
    edited(message.bytes(), &all)
}
