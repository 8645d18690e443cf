//! What is answered here and not by the server: errors in words, and the few results that have no
//! counterpart in a session.
//!
//! Lines are authored whole; nothing of a client or server is quoted but raw JSON that was read as
//! such.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::mcp::{
    message::Id,
    metadata::SUBSCRIPTION_ID,
    refusal::{INVALID_PARAMS, METHOD_NOT_FOUND, MISSING_CAPABILITY, UNSUPPORTED_VERSION},
};

/// The revision that is spoken with the client.
pub(super) const VERSION: &str = "2026-07-28";

/// JSON-RPC 2.0 section 5.1.
pub(super) const INVALID_REQUEST: i64 = -32_600;
pub(super) const INTERNAL_ERROR: i64 = -32_603;

/// An error of ours.
#[derive(Debug)]
pub(super) struct Refused {
    code: i64,
    what: String,
    pub(super) data: Option<Value>,
}

impl Refused {
    pub(super) fn new(code: i64, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), data: None }
    }

    pub(super) fn params(what: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, what)
    }

    pub(super) fn method(method: &str) -> Self {
        let what = format!("{method} is no method of revision {VERSION} that this server has");
        Self::new(METHOD_NOT_FOUND, what)
    }

    /// `UnsupportedProtocolVersionError`.
    pub(super) fn unsupported(requested: &str) -> Self {
        let what = format!("{VERSION} is the one revision that is spoken before this server");
        let data = json!({ "supported": [VERSION], "requested": requested });
        Self { data: Some(data), ..Self::new(UNSUPPORTED_VERSION, what) }
    }

    /// `MissingRequiredClientCapabilityError`, for elicitation by URL.
    pub(super) fn needs_url() -> Self {
        let what = "the server needs the user to open an address, and the client did not say that \
                    it can ask for that";
        let data = json!({ "requiredCapabilities": { "elicitation": { "url": {} } } });
        Self { data: Some(data), ..Self::new(MISSING_CAPABILITY, what) }
    }

    /// The line that answers request `id` with it, on either side.
    pub(super) fn line(&self, id: &Id) -> Bytes {
        let mut error =
            json!({ "code": self.code, "message": format!("countersign: {}", self.what) });
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, id.token()))
    }
}

/// The line that answers request `id` with a raw result.
pub(super) fn result(id: &Id, result: &str) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id.token()))
}

/// A request of ours to the server, under our own `number`.
pub(super) fn request(number: u64, method: &str, params: &Value) -> Bytes {
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":{params}}}"#
    ))
}

/// The first message of a subscription (patterns/subscriptions, "Acknowledgment").
pub(super) fn acknowledged(id: &Id, honoured: &Value) -> Bytes {
    let token = id.token();
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"{SUBSCRIPTION_ID}":{token}}},"notifications":{honoured}}}}}"#
    ))
}

/// A subscription's end by our own will ("Graceful Closure").
pub(super) fn closed(id: &Id) -> Bytes {
    let token = id.token();
    result(id, &format!(r#"{{"resultType":"complete","_meta":{{"{SUBSCRIPTION_ID}":{token}}}}}"#))
}
