//! What a server said of itself in its `initialize` result, and as a modern one says it.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{said::is_object, words::VERSION};
use crate::mcp::{message::Message, metadata::SERVER_INFO};

/// The server behind a session.
#[derive(Debug)]
pub(super) struct Server {
    /// `serverInfo`, raw.
    pub(super) info: Option<Box<str>>,
    capabilities: Value,
    instructions: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    result: Outcome<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default)]
    server_info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    instructions: Option<&'a RawValue>,
}

impl Server {
    /// Reads the answer to `initialize`; none where that is an error.
    pub(super) fn read(message: &Message) -> Option<Self> {
        let reply: Reply<'_> = serde_json::from_slice(message.bytes()).ok()?;
        let Outcome { capabilities, server_info, instructions } = reply.result;
        let capabilities = capabilities.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let mut capabilities: Value = capabilities.unwrap_or_else(|| json!({}));
        // Tasks are an extension since, and another thing (changelog, 6).
        if let Some(capabilities) = capabilities.as_object_mut() {
            capabilities.remove("tasks");
        }
        let info = server_info.filter(|info| is_object(info.get()));
        Some(Self { info: raw(info), capabilities, instructions: raw(instructions) })
    }

    /// Whether it has the capability at `path`: there, and not `false`.
    pub(super) fn offers(&self, path: &str) -> bool {
        let capability = self.capabilities.pointer(path);
        capability.is_some_and(|it| !matches!(it, Value::Null | Value::Bool(false)))
    }

    /// A `DiscoverResult` (server/discover, "Response").
    pub(super) fn discovered(&self) -> String {
        let mut result = format!(
            r#"{{"resultType":"complete","supportedVersions":["{VERSION}"],"capabilities":{},"ttlMs":0,"cacheScope":"private""#,
            self.capabilities
        );
        if let Some(instructions) = &self.instructions {
            result.push_str(&format!(r#","instructions":{instructions}"#));
        }
        if let Some(info) = &self.info {
            result.push_str(&format!(r#","_meta":{{"{SERVER_INFO}":{info}}}"#));
        }
        result.push('}');
        result
    }
}

fn raw(value: Option<&RawValue>) -> Option<Box<str>> {
    value.map(|value| value.get().into())
}
