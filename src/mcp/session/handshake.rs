//! The client's handshake: captured, so that it can be repeated when the server loses the
//! session, and read, for the version that was agreed on.

use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::mcp::message::{Id, Message};

/// What the client said to open its session.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) initialize: Message,
    pub(super) initialized: Option<Message>,
}

/// What an `initialize` result says that the bridge needs.
#[derive(Debug, Default)]
pub(super) struct Agreed {
    pub(super) version: Option<HeaderValue>,
    /// The lists that the server offers: `tools`, `resources`, `prompts`.
    pub(super) lists: Vec<&'static str>,
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    result: Option<Outcome<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    #[serde(default)]
    protocol_version: Option<String>,
    #[serde(borrow, default)]
    capabilities: Option<Capabilities<'a>>,
}

#[derive(Deserialize, Default)]
struct Capabilities<'a> {
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    resources: Option<&'a RawValue>,
    #[serde(borrow)]
    prompts: Option<&'a RawValue>,
}

impl Agreed {
    /// Reads the response to `initialize`; none when it is an error.
    pub(super) fn read(response: &Message) -> Option<Self> {
        let reply: Reply<'_> = serde_json::from_slice(response.bytes()).ok()?;
        let result = reply.result?;
        let version = result.protocol_version.and_then(|v| HeaderValue::try_from(v).ok());
        let capabilities = result.capabilities.unwrap_or_default();
        let lists = [
            ("tools", capabilities.tools.is_some()),
            ("resources", capabilities.resources.is_some()),
            ("prompts", capabilities.prompts.is_some()),
        ];
        let lists = lists.into_iter().filter_map(|(name, offered)| offered.then_some(name));
        Some(Self { version, lists: lists.collect() })
    }
}

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
pub(super) fn cancel(id: &Id, reason: &'static str) -> Bytes {
    let token = id.token();
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{token},"reason":"{reason}"}}}}"#
    ))
}

/// A `notifications/NAME/list_changed`.
pub(super) fn list_changed(name: &str) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","method":"notifications/{name}/list_changed"}}"#))
}
