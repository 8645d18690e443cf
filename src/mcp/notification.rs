//! The few notifications that are read or made here.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::{Id, Message};

/// The request that a `notifications/cancelled` names.
#[must_use]
pub fn cancelled_id(message: &Message) -> Option<Id> {
    #[derive(Deserialize)]
    struct Cancelled<'a> {
        #[serde(borrow)]
        params: Params<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params<'a> {
        #[serde(borrow)]
        request_id: &'a RawValue,
    }
    let cancelled: Cancelled<'_> = serde_json::from_slice(message.bytes()).ok()?;
    Id::from_token(cancelled.params.request_id.get())
}

/// A `notifications/cancelled` for request `id`, with a reason from a fixed vocabulary.
#[must_use]
pub fn cancel(id: &Id, reason: &'static str) -> Bytes {
    let token = id.token();
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{token},"reason":"{reason}"}}}}"#
    ))
}

/// A `notifications/NAME/list_changed`.
pub(super) fn list_changed(name: &str) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","method":"notifications/{name}/list_changed"}}"#))
}
