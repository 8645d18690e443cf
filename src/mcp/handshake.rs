//! The client's handshake: captured, so that it can be repeated when the server loses the
//! session, and read, for the version that was agreed on.

use http::HeaderValue;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::Message;

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
