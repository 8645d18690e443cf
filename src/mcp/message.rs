//! One JSON-RPC message: its bytes, and the few envelope fields that routing needs.
//!
//! The bytes are kept as they came and are what is passed on; `params` and `result` are checked
//! for being JSON and otherwise never looked at. Ids keep their raw token, so that `1` and `"1"`
//! stay apart. JSON-RPC 2.0 sections 4 to 6; batches as in MCP 2025-03-26.

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
    ops::Range,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use super::edit::{self, Edit};

/// The largest batch that is carried; more is refused as an invalid request.
const MAX_BATCH: usize = 1_024;

/// A message, or a batch of them, that travels as one line or one HTTP body.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    envelopes: Envelopes,
}

#[derive(Clone, Debug)]
enum Envelopes {
    One(Envelope),
    /// The envelopes, and the bytes of each.
    Batch(Vec<Envelope>, Vec<Bytes>),
}

/// What a message is, as far as its route depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// Wants exactly one response with its id.
    Request {
        /// The request's id.
        id: Id,
        /// The method's name, unescaped.
        method: Box<str>,
    },
    /// Wants none.
    Notification {
        /// The method's name, unescaped.
        method: Box<str>,
    },
    /// Answers a request of the other side.
    Response {
        /// The id it answers; none where the sender could not read one (`null` or absent).
        id: Option<Id>,
        /// The raw `error` member, where it is one.
        error: Option<Bytes>,
    },
}

/// A request's id, as its raw JSON token.
#[derive(Clone, Debug)]
pub struct Id {
    token: Bytes,
    /// The token in its shortest spelling where it was escaped (some servers write `"a\/b"` for
    /// the `"a/b"` they were sent).
    canonical: Option<Box<str>>,
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not JSON at all: JSON-RPC error -32700.
    #[error("the message is not valid JSON: {0}")]
    NotJson(String),
    /// JSON, but not JSON-RPC: error -32600, to the id where there is one.
    #[error("the message is not a JSON-RPC 2.0 message: {reason}")]
    NotRpc {
        /// What is missing or doubled.
        reason: &'static str,
        /// The ids of what can be answered all the same.
        ids: Vec<Id>,
    },
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "ignored")]
    result: bool,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// A member that is there, `null` included.
pub(super) fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    source: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(source).map(Some)
}

/// A member that is there and never looked at.
fn ignored<'de, D: Deserializer<'de>>(source: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(source).map(|_| true)
}

impl Message {
    /// Reads the envelope of `bytes`, which are one JSON text with nothing around it but blanks.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no JSON (not UTF-8 included), or JSON that is neither
    /// request, notification, response nor a batch of them.
    pub fn parse(bytes: Bytes) -> Result<Self, Malformed> {
        let bytes = trim(bytes);
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| Malformed::NotJson(format!("it is not UTF-8: {error}")))?;
        let envelopes = match bytes.first() {
            Some(b'[') => parse_batch(&bytes, text)?,
            _ => Envelopes::One(parse_one(&bytes, text)?),
        };
        Ok(Self { bytes, envelopes })
    }

    /// The message as it came, without the blanks around it.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether `line` is the same piece of memory, which needs no second reading.
    pub(super) fn is(&self, line: &Bytes) -> bool {
        self.bytes.as_ptr() == line.as_ptr() && self.bytes.len() == line.len()
    }

    /// Its envelopes: one, or the batch's.
    #[must_use]
    pub fn envelopes(&self) -> &[Envelope] {
        match &self.envelopes {
            Envelopes::One(one) => std::slice::from_ref(one),
            Envelopes::Batch(all, _) => all,
        }
    }

    /// The envelope of a message that is no batch.
    #[must_use]
    pub fn single(&self) -> Option<&Envelope> {
        match &self.envelopes {
            Envelopes::One(one) => Some(one),
            Envelopes::Batch(..) => None,
        }
    }

    /// The ids of the requests in it.
    pub fn request_ids(&self) -> impl Iterator<Item = &Id> {
        self.envelopes().iter().filter_map(|envelope| match envelope {
            Envelope::Request { id, .. } => Some(id),
            _ => None,
        })
    }

    /// The method of a single request or notification.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        match self.single()? {
            Envelope::Request { method, .. } | Envelope::Notification { method } => Some(method),
            Envelope::Response { .. } => None,
        }
    }

    /// Whether it is the notification `wanted`.
    #[must_use]
    pub fn is_notification(&self, wanted: &str) -> bool {
        matches!(self.single(), Some(Envelope::Notification { method }) if &**method == wanted)
    }

    /// The message as one line without its end: line feeds between tokens become spaces (inside
    /// a token JSON allows none), no other byte changes.
    #[must_use]
    pub fn line(&self) -> Bytes {
        one_line(self.bytes.clone())
    }

    /// The messages in it, each as a line of its own.
    pub fn parts(&self) -> impl Iterator<Item = Bytes> {
        let parts = match &self.envelopes {
            Envelopes::One(_) => std::slice::from_ref(&self.bytes),
            Envelopes::Batch(_, parts) => parts,
        };
        parts.iter().cloned().map(one_line)
    }

    /// The same request or notification with `edits` to its id or its parameters, which is not read again;
    /// none where they can't be made.
    #[must_use]
    pub fn edited(&self, edits: &[Edit<'_>]) -> Option<Self> {
        let (bytes, envelope) = match self.single()? {
            Envelope::Request { id, method } => {
                let id = self.place_of(id.token());
                let (bytes, id) = edit::edited_around(&self.bytes, edits, id)?;
                let id = std::str::from_utf8(bytes.get(id)?).ok()?;
                let id = Id::parse(&bytes, id)?;
                (bytes, Envelope::Request { id, method: method.clone() })
            }
            Envelope::Notification { method } => (
                edit::edited(&self.bytes, edits)?,
                Envelope::Notification { method: method.clone() },
            ),
            Envelope::Response { .. } => return None,
        };
        Some(Self::unread(bytes, envelope))
    }

    /// The same request under the id `token`, with `new` in the place of a part of its parameters; nothing else
    /// of it is looked at. `new` must be such that the whole is JSON still.
    #[must_use]
    pub fn replaced(&self, token: &str, part: Range<usize>, new: &str) -> Option<Self> {
        let Some(Envelope::Request { id, method }) = self.single() else { return None };
        let id = (self.place_of(id.token()), token);
        let (bytes, id) = edit::replaced(&self.bytes, id, (part, new))?;
        let id = Id::parse(&bytes, std::str::from_utf8(bytes.get(id)?).ok()?)?;
        let envelope = Envelope::Request { id, method: method.clone() };
        Some(Self::unread(bytes, envelope))
    }

    /// Of what is known without reading it again.
    fn unread(bytes: Bytes, envelope: Envelope) -> Self {
        debug_assert_eq!(
            Self::parse(bytes.clone()).ok().and_then(|it| it.single().cloned()).as_ref(),
            Some(&envelope)
        );
        Self { bytes, envelopes: Envelopes::One(envelope) }
    }

    /// The same request under another id; the rest byte for byte.
    ///
    /// Returns the message itself when it is not a single request.
    #[must_use]
    pub fn with_id(&self, token: &str) -> Bytes {
        let Some(Envelope::Request { id, .. }) = self.single() else { return self.bytes.clone() };
        let place = self.place_of(id.token());
        let mut changed = BytesMut::with_capacity(self.bytes.len() + token.len());
        changed.put_slice(&self.bytes[..place.start]);
        changed.put_slice(token.as_bytes());
        changed.put_slice(&self.bytes[place.end..]);
        changed.freeze()
    }

    /// Where a part of this message lies in it, which was cut from it.
    pub(super) fn place_of(&self, part: &str) -> Range<usize> {
        let start = part.as_ptr() as usize - self.bytes.as_ptr() as usize;
        start..start + part.len()
    }
}

/// `bytes` with every line end replaced by a space; copied only if there is one.
fn one_line(bytes: Bytes) -> Bytes {
    if memchr::memchr2(b'\n', b'\r', &bytes).is_none() {
        return bytes;
    }
    let mut line = BytesMut::from(bytes);
    for byte in line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    line.freeze()
}

fn trim(bytes: Bytes) -> Bytes {
    let trimmed = bytes.trim_ascii();
    if trimmed.len() == bytes.len() { bytes } else { bytes.slice_ref(trimmed) }
}

fn parse_batch(bytes: &Bytes, text: &str) -> Result<Envelopes, Malformed> {
    let parts: Vec<&RawValue> = serde_json::from_str(text).map_err(not_json)?;
    if parts.is_empty() || parts.len() > MAX_BATCH {
        return Err(Malformed::NotRpc {
            reason: "a batch must hold 1 to 1024 messages",
            ids: Vec::new(),
        });
    }
    let mut envelopes = Vec::with_capacity(parts.len());
    let slices = parts.iter().map(|part| bytes.slice_ref(part.get().as_bytes())).collect();
    let mut broken = None;
    for part in parts {
        match parse_one(bytes, part.get()) {
            Ok(envelope) => envelopes.push(envelope),
            Err(Malformed::NotRpc { reason, .. }) => broken = Some(reason),
            Err(error @ Malformed::NotJson(_)) => return Err(error),
        }
    }
    let Some(reason) = broken else { return Ok(Envelopes::Batch(envelopes, slices)) };
    let ids = envelopes.into_iter().filter_map(|envelope| match envelope {
        Envelope::Request { id, .. } => Some(id),
        _ => None,
    });
    Err(Malformed::NotRpc { reason, ids: ids.collect() })
}

fn parse_one(bytes: &Bytes, text: &str) -> Result<Envelope, Malformed> {
    let no_rpc = |reason, id: Option<Id>| Malformed::NotRpc { reason, ids: Vec::from_iter(id) };
    if !text.starts_with('{') {
        // Whether it is JSON decides between -32700 and -32600.
        serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
        return Err(no_rpc("it is not an object", None));
    }
    let fields: Fields<'_> = match serde_json::from_str(text) {
        Ok(fields) => fields,
        Err(error) if error.is_data() => {
            serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
            return Err(no_rpc("a member is doubled or has the wrong type", None));
        }
        Err(error) => return Err(not_json(error)),
    };
    let id = fields.id.map(|raw| Id::parse(bytes, raw.get()));
    match (fields.method, id) {
        (Some(method), None) => Ok(Envelope::Notification { method: method.into() }),
        (Some(method), Some(Some(id))) => Ok(Envelope::Request { id, method: method.into() }),
        (Some(_), Some(None)) => Err(no_rpc("a request's id is a string or a number", None)),
        (None, id) if fields.result || fields.error.is_some() => {
            let error = fields.error.map(|raw| bytes.slice_ref(raw.get().as_bytes()));
            Ok(Envelope::Response { id: id.flatten(), error })
        }
        (None, id) => Err(no_rpc("it has no method, result or error", id.flatten())),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn not_json(error: serde_json::Error) -> Malformed {
    // serde's text for data it dislikes can quote the data, which may be a secret.
    let kind = if error.is_eof() { "it ends too early" } else { "unexpected byte" };
    Malformed::NotJson(format!("{kind} at column {}", error.column()))
}

impl Id {
    /// `token` must lie within `bytes`. None for what JSON-RPC does not allow as an id.
    fn parse(bytes: &Bytes, token: &str) -> Option<Self> {
        match token.as_bytes().first()? {
            b'"' if token.contains('\\') => {
                let plain: String = serde_json::from_str(token).ok()?;
                let canonical = serde_json::to_string(&plain).ok()?.into_boxed_str();
                Some(Self { token: bytes.slice_ref(token.as_bytes()), canonical: Some(canonical) })
            }
            b'"' | b'-' | b'0'..=b'9' => {
                Some(Self { token: bytes.slice_ref(token.as_bytes()), canonical: None })
            }
            _ => None,
        }
    }

    /// An id from a token of its own, such as `7` or `"a"`.
    ///
    /// None where the token is no JSON string or number.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        serde_json::from_str::<IgnoredAny>(token).ok()?;
        let token = Bytes::copy_from_slice(token.as_bytes());
        Self::parse(&token.clone(), std::str::from_utf8(&token).ok()?)
    }

    /// The raw token, quotes included.
    #[must_use]
    pub fn token(&self) -> &str {
        // Ids are cut from text that was checked.
        std::str::from_utf8(&self.token).unwrap_or("null")
    }

    /// The same by itself: an id that is kept holds the whole message that it was cut from.
    pub(super) fn detached(&self) -> Self {
        Self { token: Bytes::copy_from_slice(&self.token), canonical: self.canonical.clone() }
    }

    fn key(&self) -> &[u8] {
        self.canonical.as_deref().map_or(&self.token, str::as_bytes)
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
