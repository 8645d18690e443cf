//! A message authentication code over the request, in the shape that the upstream expects.
//!
//! What is covered is what goes out: this runs after everything that sets headers. The moment and
//! the nonce are taken once for a request, and anew when it is sent once more.

mod mac;
mod shape;

use std::{borrow::Cow, fmt, sync::Arc, time::SystemTime};

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};

pub use self::{
    mac::{Algorithm, Digest},
    shape::{Draft, PRESETS, Timestamp},
};
use self::{
    mac::{Running, hex},
    shape::Shape,
};
use super::{
    Credential, Generation,
    derived::{self, Derived, Unfit},
    key::Encoding,
    outgoing::Outgoing,
};
use crate::{
    failure::{Failure, Stage},
    secret::Held,
    service::Request,
    template::{Fields, Piece},
};

/// The bytes of a nonce.
const NONCE: usize = 16;

/// Which key it is, as the upstream is told.
#[derive(Clone)]
pub enum KeyId {
    /// A name that everyone may know.
    Name(String),
    /// An API key, which is a secret too.
    Secret(Held),
}

/// A scheme with its key, checked. `Debug` shows no text of it: variables were filled in.
#[derive(Clone)]
pub struct Settings {
    shape: Shape,
    key: Held,
    encoding: Encoding,
    key_id: Option<KeyId>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers().map(HeaderName::as_str).collect();
        write!(f, "Settings({}, {:?}, {names:?})", self.shape.algorithm.name(), self.key)
    }
}

impl Settings {
    /// The scheme of `draft` with the key in `key`, written in `encoding`.
    ///
    /// # Errors
    /// At the configuration stage: the scheme can't be verified by anyone, the key is not written
    /// as is said, or a key id is asked for and not given.
    pub fn new(
        draft: &Draft,
        key: Held,
        encoding: Encoding,
        key_id: Option<KeyId>,
    ) -> Result<Self, Failure> {
        let shape = Shape::new(draft)?;
        if shape.names_key && key_id.is_none() {
            let what = "the scheme sends a {key_id}, and none is given";
            return Err(Failure::new(Stage::Configuration, what)
                .hint("give it as key_id = \"env:API_KEY\", or as a plain name"));
        }
        if !shape.names_key && key_id.is_some() {
            let what = "a key_id is given, and the scheme neither sends nor signs it";
            return Err(Failure::new(Stage::Configuration, what)
                .hint("remove it, or send it: headers = { X-API-Key = \"{key_id}\", ... }"));
        }
        if let Some(KeyId::Name(name)) = &key_id
            && derived::sensitive(name.as_bytes()).is_none()
        {
            let what = "the key_id has a control character in it";
            return Err(Failure::new(Stage::Configuration, what).hint("give the name alone"));
        }
        let settings = Self { shape, key, encoding, key_id };
        let credential = Hmac::new(settings.clone());
        credential.key.check(|secret| credential.running(secret))?;
        if settings.shape.algorithm == Algorithm::Sha1 {
            tracing::warn!("--hmac signs with SHA-1, which is weak: use sha256 as soon as you can");
        }
        Ok(settings)
    }

    /// Checks that what `name` adds after this is not signed by it.
    ///
    /// # Errors
    /// At the configuration stage: it is.
    pub fn precedes(&self, name: &str, headers: &[HeaderName]) -> Result<(), Failure> {
        let mut signed = self.shape.signed.names().filter_map(|field| {
            let name = field.strip_prefix("header:")?;
            HeaderName::from_bytes(name.trim_end_matches('?').as_bytes()).ok()
        });
        match signed.find(|signed| headers.contains(signed)) {
            None => Ok(()),
            Some(header) => {
                let what =
                    format!("--hmac can't sign the header {header}, which {name} adds later");
                Err(Failure::new(Stage::Configuration, what)
                    .hint(format!("leave {{header:{header}}} out of string_to_sign")))
            }
        }
    }

    /// The headers it sets.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.shape.headers.iter().map(|(name, _)| name)
    }
}

/// The credential.
pub(super) struct Hmac {
    shape: Shape,
    names: Vec<HeaderName>,
    encoding: Encoding,
    key: Derived<Arc<Running>>,
    key_id: Id,
}

enum Id {
    None,
    Name(String),
    Secret(Derived<HeaderValue>),
}

/// What a signature is made of besides the request.
struct Moment<'a> {
    timestamp: &'a str,
    nonce: &'a str,
    key_id: &'a [u8],
}

impl Hmac {
    pub(super) fn new(settings: Settings) -> Self {
        let Settings { shape, key, encoding, key_id } = settings;
        Self {
            names: shape.headers.iter().map(|(name, _)| name.clone()).collect(),
            encoding,
            key: Derived::new(key),
            key_id: match key_id {
                None => Id::None,
                Some(KeyId::Name(name)) => Id::Name(name),
                Some(KeyId::Secret(held)) => Id::Secret(Derived::new(held)),
            },
            shape,
        }
    }

    fn running(&self, secret: &[u8]) -> Result<Arc<Running>, Unfit> {
        Running::new(self.shape.algorithm, self.encoding, secret)
    }

    /// The signature over the request, as it is written.
    fn signature(
        &self,
        mut running: Running,
        request: &Outgoing<'_>,
        moment: &Moment<'_>,
    ) -> Result<String, Failure> {
        for piece in self.shape.signed.pieces() {
            match piece {
                Piece::Text(text) => running.update(text.as_bytes()),
                Piece::Field(name) => running.update(&covered(name, request, moment)?),
            }
        }
        Ok(self.shape.digest.write(&running.finish()))
    }

    fn moment(&self, now: SystemTime) -> String {
        // A clock from before that would be a panic for some and nonsense for all.
        let now = now.max(SystemTime::UNIX_EPOCH);
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        match self.shape.timestamp {
            Timestamp::Unix => since.as_secs().to_string(),
            Timestamp::UnixMs => since.as_millis().to_string(),
            Timestamp::Rfc3339 => humantime::format_rfc3339_seconds(now).to_string(),
        }
    }

    /// Sets every header of the scheme.
    fn sign(
        &self,
        request: &mut Request,
        key: &Running,
        (now, nonce, key_id): (SystemTime, &str, &[u8]),
    ) -> Result<(), Failure> {
        let timestamp = self.moment(now);
        let moment = Moment { timestamp: &timestamp, nonce, key_id };
        let signature = self.signature(key.clone(), &Outgoing::new(request), &moment)?;
        for (name, fields) in &self.shape.headers {
            let value = sent(fields, &moment, &signature).ok_or_else(|| {
                let what = format!("the header {name} of --hmac can't be sent as it is made");
                Failure::new(Stage::Credential, what).hint("look at its text, and at the key_id")
            })?;
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }
}

/// What a field of the string to sign stands for.
fn covered<'a>(
    field: &str,
    request: &Outgoing<'a>,
    moment: &Moment<'a>,
) -> Result<Cow<'a, [u8]>, Failure> {
    Ok(match field {
        "method" => request.method().as_bytes().into(),
        "path" => request.path().as_bytes().into(),
        "query" => request.query().unwrap_or_default().as_bytes().into(),
        "host" => request.authority().as_bytes().into(),
        "url" => request.url().into_bytes().into(),
        "timestamp" => moment.timestamp.as_bytes().into(),
        "nonce" => moment.nonce.as_bytes().into(),
        "key_id" => moment.key_id.into(),
        "body" => request.body().into(),
        "body_sha256" => hex(&Sha256::digest(request.body())).into_bytes().into(),
        "body_sha256_base64" => STANDARD.encode(Sha256::digest(request.body())).into_bytes().into(),
        header => covered_header(header, request)?.into(),
    })
}

/// The values of `header:NAME`, joined as RFC 9110, section 5.3, has it. One that is not there is a
/// failure, since who verifies would not know what was signed in its place; `NAME?` allows it.
fn covered_header(field: &str, request: &Outgoing<'_>) -> Result<Vec<u8>, Failure> {
    let name = field.strip_prefix("header:").unwrap_or(field);
    let (name, optional) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
    let values = HeaderName::from_bytes(name.as_bytes()).map(|name| request.header(&name));
    match values {
        Ok(values) if optional || !values.is_empty() => Ok(values.join(&b", "[..])),
        _ => {
            let what = format!("the header {name}, which --hmac signs, is not in this request");
            Err(Failure::new(Stage::Credential, what).hint(format!(
                "write {{header:{name}?}} in string_to_sign to sign nothing in its place"
            )))
        }
    }
}

/// The value of a header that goes out.
fn sent(fields: &Fields, moment: &Moment<'_>, signature: &str) -> Option<HeaderValue> {
    let mut value = Vec::new();
    for piece in fields.pieces() {
        value.extend_from_slice(match piece {
            Piece::Text(text) => text.as_bytes(),
            Piece::Field(name) => match name.as_str() {
                "timestamp" => moment.timestamp.as_bytes(),
                "nonce" => moment.nonce.as_bytes(),
                "key_id" => moment.key_id,
                _ => signature.as_bytes(),
            },
        });
    }
    derived::sensitive(&value)
}

fn nonce() -> Result<String, Failure> {
    let mut bytes = [0; NONCE];
    rand::fill(&mut bytes).map_err(|_| {
        Failure::new(Stage::Credential, "this system gives no random bytes for a nonce")
    })?;
    Ok(hex(&bytes))
}

/// One number for the generations of both secrets.
fn both(key: Generation, key_id: Generation) -> Generation {
    key << 32 | key_id & 0xffff_ffff
}

impl Credential for Hmac {
    fn name(&self) -> &'static str {
        "--hmac"
    }

    fn owns(&self) -> &[HeaderName] {
        &self.names
    }

    fn renewable(&self) -> bool {
        let named = matches!(&self.key_id, Id::Secret(id) if id.renewable());
        self.key.renewable() || named
    }

    fn signs(&self) -> bool {
        true
    }

    fn reads_headers(&self) -> bool {
        true
    }

    fn apply<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Result<Generation, Failure>> {
        Box::pin(async move {
            let (key, generation) = self.key.current(|secret| self.running(secret)).await?;
            let (id, of_id): (Cow<'_, [u8]>, _) = match &self.key_id {
                Id::None => (Cow::Borrowed(&[]), 0),
                Id::Name(name) => (name.as_bytes().into(), 0),
                Id::Secret(id) => {
                    let (id, generation) = id.current(derived::header).await?;
                    (id.as_bytes().to_vec().into(), generation)
                }
            };
            self.sign(request, &key, (SystemTime::now(), &nonce()?, &id))?;
            Ok(both(generation, of_id))
        })
    }

    fn refused<'a>(
        &'a self,
        generation: Generation,
        response: &'a http::response::Parts,
    ) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            if !matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                return false;
            }
            let key = self.key.refused(generation >> 32).await;
            let named = match &self.key_id {
                Id::Secret(id) => id.refused(generation & 0xffff_ffff).await,
                Id::None | Id::Name(_) => false,
            };
            key || named
        })
    }
}

#[cfg(test)]
mod tests;
