//! `initialize`, answered by what `server/discover` brings (2026-07-28 discover, "Response").
//!
//! A discovery that fails is the answer, and the next `initialize` tries again.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{Forward, answer, profile, profile::Profile, subscription::Offer};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        edit::{self, Edit},
        message::{Id, Message},
        metadata::SERVER_INFO,
        refusal::INVALID_PARAMS,
    },
};

/// What is read of a `DiscoverResult`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Discovered<'a> {
    #[serde(default)]
    supported_versions: Option<Vec<String>>,
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    server_info: Option<&'a RawValue>,
}

impl Forward {
    pub(super) fn initialize(&mut self, id: Id, message: &Message) {
        self.profile = Profile::of(message);
        let (token, meta) = (id.token(), self.profile.meta());
        let discover = format!(
            r#"{{"jsonrpc":"2.0","id":{token},"method":"server/discover","params":{{"_meta":{meta}}}}}"#
        );
        match Message::parse(Bytes::from(discover)) {
            Ok(discover) => self.call(id, "initialize", discover),
            // It is put together of what was parsed.
            Err(_) => self.deliver(answer::refused(
                &id,
                INVALID_PARAMS,
                "what initialize says of the client can't be read",
            )),
        }
    }

    /// The server's answer to `server/discover`.
    pub(super) fn initialized(&mut self, id: &Id, wire: &Id, message: &Message) {
        let line = message.bytes();
        let result = edit::member(line, &["result"]);
        let read: Option<Discovered<'_>> =
            result.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let Some(read) = read else {
            let what = format!("{} answered server/discover with no such result", self.upstream);
            return self.fail(id, &Failure::new(Stage::Protocol, what));
        };
        let Some(version) = spoken(&read) else {
            let theirs = read.supported_versions.unwrap_or_default().join(", ");
            let ours = profile::MODERN.join(", ");
            let what = format!("{} speaks {theirs}, countersign {ours} to it", self.upstream);
            return self.fail(id, &Failure::new(Stage::Protocol, what));
        };
        self.profile.version = version;
        let offer = Offer::read(read.capabilities);
        self.subscription_begins_anew(offer);
        let edits = self.initialize_result(&read);
        let line = answer::edited(line, edits, wire, id);
        self.finish(id, line);
    }

    /// What makes the `InitializeResult` of a `DiscoverResult` (2025-11-25 lifecycle, "Initialization").
    fn initialize_result<'a>(&self, read: &Discovered<'a>) -> Vec<Edit<'a>> {
        let version = format!(r#""{}""#, self.profile.legacy_version());
        let info = read
            .meta
            .and_then(|meta| edit::member(meta.get().as_bytes(), &[SERVER_INFO]))
            .or(read.server_info);
        // The specification wants both members, where the server has said neither.
        let unnamed = || json!({"name": self.upstream, "version": "unknown"}).to_string();
        let info = info.map_or_else(|| unnamed().into(), |info| Cow::Borrowed(info.get()));
        let mut edits = answer::removals(read.meta.map(RawValue::get));
        edits.push(Edit::Remove(&["result", "supportedVersions"]));
        if !read.capabilities.is_some_and(|it| it.get().starts_with('{')) {
            edits.push(Edit::Set(&["result", "capabilities"], "{}".into()));
        }
        edits.push(Edit::Set(&["result", "protocolVersion"], version.into()));
        edits.push(Edit::Set(&["result", "serverInfo"], info));
        edits
    }
}

/// The revision to speak; the one that discovery was asked in, where the server names none.
fn spoken(read: &Discovered<'_>) -> Option<&'static str> {
    match &read.supported_versions {
        Some(supported) => profile::newest(supported),
        None => Some(profile::MODERN[0]),
    }
}
