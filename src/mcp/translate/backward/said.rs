//! What a modern request says of itself in `params._meta`, and whether that is enough to serve it
//! (2026-07-28 basic, "Per-request protocol fields").
//!
//! Values are read as raw JSON and judged one by one, so that each refusal names what it is about.

use serde_json::{Value, json};

use super::words::{Refused, VERSION};
use crate::mcp::{
    edit::{picked, taken},
    message::Message,
    metadata::{CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, LOG_LEVELS, PROTOCOL_VERSION, text},
};

/// The keys of `_meta` that a legacy server has no use for.
pub(super) const MODERN_KEYS: [&str; 4] =
    [PROTOCOL_VERSION, CLIENT_INFO, CLIENT_CAPABILITIES, LOG_LEVEL];

/// A request's `params`, as far as they are read.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    /// In whose name it is made.
    pub(super) identity: Identity<'a>,
    pub(super) level: Option<Level>,
    /// The raw `progressToken`.
    pub(super) token: Option<&'a str>,
    pub(super) state: Option<&'a str>,
    pub(super) responses: Option<&'a str>,
    pub(super) notifications: Option<&'a str>,
    /// The raw `_meta`, and what else is in it, where nothing but that is of the client's revision alone.
    pub(super) meta: Option<(&'a str, String)>,
}

/// Who the client says to be, as raw JSON.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Identity<'a> {
    pub(super) info: Option<&'a str>,
    pub(super) capabilities: &'a str,
}

/// How much is logged; less is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level(u8);

/// What a client can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Capable {
    pub(super) form: bool,
    pub(super) url: bool,
    pub(super) sampling: bool,
    pub(super) tools: bool,
    pub(super) roots: bool,
}

/// The rest of `params`, in this order.
const MEMBERS: [&str; 4] = ["_meta", "requestState", "inputResponses", "notifications"];

impl<'a> Said<'a> {
    /// What `message` says.
    pub(super) fn by(message: &'a Message) -> Result<Self, Refused> {
        let params = picked(message.bytes(), &["params"], MEMBERS);
        let [meta, state, responses, notifications] = params.unwrap_or_default();
        let [version, info, capabilities, level] = MODERN_KEYS;
        let names = [version, info, capabilities, level, "progressToken"];
        let (fields, others) = meta.and_then(|meta| taken(meta, names)).unwrap_or_default();
        let [version, info, capabilities, level, token] = fields.map(there);
        let version = version.ok_or_else(|| missing(PROTOCOL_VERSION))?;
        if !is(version, VERSION) {
            let version = text(version).ok_or_else(|| missing(PROTOCOL_VERSION))?;
            return Err(Refused::unsupported(&version));
        }
        let capabilities = capabilities.filter(|raw| is_object(raw));
        let capabilities = capabilities.ok_or_else(|| missing(CLIENT_CAPABILITIES))?;
        if info.is_some_and(|info| !is_object(info)) {
            return Err(Refused::params(format!("_meta[\"{CLIENT_INFO}\"] is not an object")));
        }
        let read = |level| Level::read(level).ok_or_else(bad_level);
        let meta = meta.filter(|_| state.is_none() && responses.is_none());
        let meta = meta.map(|meta| (meta, others));
        let [state, responses, notifications] = [state, responses, notifications].map(there);
        Ok(Self {
            identity: Identity { info, capabilities },
            level: level.map(read).transpose()?,
            // "MUST be a string or integer value" (patterns/progress, "Progress Flow").
            token: token.filter(|raw| !raw.starts_with(['{', '[', 't', 'f'])),
            state,
            responses,
            notifications,
            meta,
        })
    }
}

/// Whether a raw value is this text, in whatever spelling.
fn is(raw: &str, wanted: &str) -> bool {
    let plain = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    plain == Some(wanted) || text(raw).is_some_and(|it| it == wanted)
}

/// What is `null` is not there.
fn there(raw: Option<&str>) -> Option<&str> {
    raw.filter(|raw| *raw != "null")
}

impl Identity<'_> {
    /// Whether it is that of a session.
    pub(super) fn is(&self, info: Option<&str>, capabilities: &str) -> bool {
        let info = match (self.info, info) {
            (Some(one), Some(other)) => same(one, other),
            (one, other) => one == other,
        };
        info && same(self.capabilities, capabilities)
    }

    /// What the client can be asked for.
    pub(super) fn capable(&self) -> Capable {
        let said: Value = serde_json::from_str(self.capabilities).unwrap_or_default();
        let has = |path: &str| said.pointer(path).is_some_and(Value::is_object);
        let url = has("/elicitation/url");
        Capable {
            // An empty object is as good as one with `form` (client/elicitation, "Capabilities").
            form: has("/elicitation/form") || (has("/elicitation") && !url),
            url,
            sampling: has("/sampling"),
            tools: has("/sampling/tools"),
            roots: has("/roots"),
        }
    }
}

impl Level {
    pub(super) fn read(raw: &str) -> Option<Self> {
        let name = text(raw)?;
        let rank = LOG_LEVELS.iter().position(|level| *level == name)?;
        u8::try_from(rank).ok().map(Self)
    }

    pub(super) fn name(self) -> &'static str {
        LOG_LEVELS.get(usize::from(self.0)).unwrap_or(&LOG_LEVELS[0])
    }
}

pub(super) fn is_object(raw: &str) -> bool {
    raw.starts_with('{')
}

/// Whether two raw JSON texts mean the same; the same bytes are not read.
fn same(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || read(one).is_some_and(|one| Some(one) == read(other))
}

fn missing(key: &str) -> Refused {
    let what = format!(
        "params._meta[\"{key}\"] is missing or of the wrong type. hint: each request of revision \
         {VERSION} says its version and the client's capabilities"
    );
    Refused::params(what)
}

fn bad_level() -> Refused {
    let mut refused = Refused::params(format!("_meta[\"{LOG_LEVEL}\"] is no log level"));
    refused.data = Some(json!({ "levels": LOG_LEVELS }));
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity<'a>(info: Option<&'a str>, capabilities: &'a str) -> Identity<'a> {
        Identity { info, capabilities }
    }

    #[test]
    fn identities_are_compared_by_what_they_mean() {
        let one = identity(Some(r#"{"name":"a","version":"1"}"#), r#"{"roots":{},"sampling":{}}"#);
        for (info, capabilities, expected) in [
            (one.info, one.capabilities, true),
            (one.info, r#"{ "sampling": {}, "roots": {} }"#, true),
            (Some(r#"{"version":"1","name":"a"}"#), one.capabilities, true),
            (None, one.capabilities, false),
            (one.info, "{}", false),
            (one.info, r#"{"roots":{},"sampling":{"tools":{}}}"#, false),
        ] {
            assert_eq!(one.is(info, capabilities), expected, "{info:?} {capabilities}");
        }
    }

    /// client/elicitation, "Capabilities".
    #[test]
    fn what_a_client_can_be_asked_for() {
        let none = Capable::default();
        for (said, expected) in [
            ("{}", none),
            (r#"{"elicitation":{}}"#, Capable { form: true, ..none }),
            (r#"{"elicitation":{"form":{}}}"#, Capable { form: true, ..none }),
            (r#"{"elicitation":{"url":{}}}"#, Capable { url: true, ..none }),
            (r#"{"elicitation":{"form":{},"url":{}}}"#, Capable { form: true, url: true, ..none }),
            (r#"{"sampling":{}}"#, Capable { sampling: true, ..none }),
            (
                r#"{"sampling":{"tools":{}},"roots":{}}"#,
                Capable { sampling: true, tools: true, roots: true, ..none },
            ),
            (r#"{"elicitation":7,"roots":null}"#, none),
        ] {
            assert_eq!(identity(None, said).capable(), expected, "{said}");
        }
    }
}
