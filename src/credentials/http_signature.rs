//! HTTP Message Signatures (RFC 9421): a request leaves with a signature over the parts of it that
//! were chosen, and with `Content-Digest` (RFC 9530) where the body is one of them.
//!
//! What can't be covered can't be sent. Other signatures of a request are not looked at, and
//! responses are not verified.

mod algorithm;
mod base;
mod component;
mod digest;
#[cfg(test)]
mod rfc;
#[cfg(test)]
mod tests;
mod value;

pub use self::{
    algorithm::Algorithm,
    component::{Component, Components},
    digest::Digest,
};

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::{BoxFuture, FutureExt, ready};
use http::{HeaderName, StatusCode};
use sfv::{DictSerializer, Integer};

use self::{
    algorithm::Key,
    base::{Base, Parameters},
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
};

const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// How it is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The private key in PEM, or the shared secret.
    pub key: Held,
    /// How a shared secret is written.
    pub encoding: Encoding,
    /// What is covered.
    pub components: Components,
    /// How the body is digested, where that is covered.
    pub digest: Digest,
    /// What tells this signature from others in the request.
    pub label: Label,
    /// The name of the key.
    pub keyid: Option<Text>,
    /// What the signature is for.
    pub tag: Option<Text>,
    /// Whether it says when it was made.
    pub created: bool,
    /// How long it is good for, where it says so.
    pub lifetime: Option<Duration>,
    /// Whether it has a value of its own, by which a second use is noticed.
    pub nonce: bool,
    /// Whether it names its algorithm.
    pub names_algorithm: bool,
}

impl Settings {
    /// Tries the key now, where that takes no program to run.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: the key does not fit the algorithm.
    pub fn check(&self) -> Result<(), Failure> {
        Derived::new(self.key.clone()).check(|secret| self.make(secret))
    }

    /// Refuses what those that are applied after it add: it can't be covered.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: `name` sets a header that is covered.
    pub fn precedes(&self, name: &str, headers: &[HeaderName]) -> Result<(), Failure> {
        match self.components.headers().find(|covered| headers.contains(covered)) {
            None => Ok(()),
            Some(header) => {
                let what = format!(
                    "--http-signature can't cover the header {header}, which {name} adds after it"
                );
                Err(Failure::new(Stage::Configuration, what)
                    .hint(format!("remove {header} from the components")))
            }
        }
    }

    fn make(&self, secret: &[u8]) -> Result<Arc<Key>, Unfit> {
        Key::new(self.algorithm, self.encoding, secret).map(Arc::new)
    }
}

/// The label of a signature, a key of a dictionary.
#[derive(Clone, Debug)]
pub struct Label(sfv::Key);

impl Label {
    /// The label of a signature that was given none.
    pub const DEFAULT: &str = "sig1";

    /// Reads a label.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: it can't be one.
    pub fn new(text: &str) -> Result<Self, Failure> {
        sfv::Key::from_string(text.to_owned()).map(Self).map_err(|_| {
            Failure::new(Stage::Configuration, "the label is not of the form that labels have")
                .hint("it is of small letters, digits, _, -, . and *, and a letter comes first")
        })
    }
}

/// Text in a signature's parameters.
#[derive(Clone, Debug)]
pub struct Text(sfv::String);

impl Text {
    /// Takes a text.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: it has a character that can't be in one.
    pub fn new(text: &str) -> Result<Self, Failure> {
        sfv::String::from_string(text.to_owned()).map(Self).map_err(|_| {
            Failure::new(Stage::Configuration, "the text has a character that is not allowed in it")
                .hint("it can be of letters, digits and the signs of ASCII")
        })
    }
}

/// The credential.
pub(super) struct HttpSignature {
    settings: Settings,
    key: Derived<Arc<Key>>,
    owned: Vec<HeaderName>,
}

impl HttpSignature {
    pub(super) fn new(settings: Settings) -> Self {
        let mut owned = vec![SIGNATURE_INPUT, SIGNATURE];
        owned.extend(settings.components.cover_digest().then_some(CONTENT_DIGEST));
        Self { key: Derived::new(settings.key.clone()), settings, owned }
    }
}

impl Credential for HttpSignature {
    fn name(&self) -> &'static str {
        "--http-signature"
    }

    fn owns(&self) -> &[HeaderName] {
        &self.owned
    }

    fn renewable(&self) -> bool {
        self.key.renewable()
    }

    fn signs(&self) -> bool {
        true
    }

    fn reads_headers(&self) -> bool {
        true
    }

    fn apply<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Result<Generation, Failure>> {
        Box::pin(async move {
            let (key, generation) = self.key.current(|secret| self.settings.make(secret)).await?;
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let nonce = if self.settings.nonce { Some(nonce()?) } else { None };
            self.settings.sign(request, &key, now, nonce.as_deref())?;
            Ok(generation)
        })
    }

    fn refused<'a>(
        &'a self,
        generation: Generation,
        response: &'a http::response::Parts,
    ) -> BoxFuture<'a, bool> {
        // Gateways answer a signature that they can't verify with either.
        if !matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return ready(false).boxed();
        }
        self.key.refused(generation).boxed()
    }
}

impl Settings {
    /// Sets the headers; `now` is since 1970.
    fn sign(
        &self,
        request: &mut Request,
        key: &Key,
        now: Duration,
        nonce: Option<&sfv::StringRef>,
    ) -> Result<(), Failure> {
        if self.components.need_digest(request.body()) {
            let digest = self.digest.of(request.body());
            set(request, CONTENT_DIGEST, &digest)?;
        }
        let seconds = |time: Duration| Integer::try_from(time.as_secs()).unwrap_or(Integer::MAX);
        let parameters = Parameters {
            created: self.created.then(|| seconds(now)),
            keyid: self.keyid.as_ref().map(|keyid| &*keyid.0),
            alg: self.names_algorithm.then_some(self.algorithm),
            expires: self.lifetime.map(|lifetime| seconds(now.saturating_add(lifetime))),
            nonce,
            tag: self.tag.as_ref().map(|tag| &*tag.0),
        };
        let base = Base::new(&Outgoing::new(request), &self.components, &parameters)?;
        let signature = key.sign(base.text.as_bytes()).ok_or_else(|| failed("could not sign"))?;
        let mut carried = DictSerializer::new();
        carried.bare_item(&self.label.0, signature.as_slice());
        set(request, SIGNATURE_INPUT, &format!("{}={}", self.label.0.as_str(), base.input))?;
        set(request, SIGNATURE, &carried.finish().unwrap_or_default())
    }
}

/// 128 bits that were never used before.
fn nonce() -> Result<sfv::String, Failure> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| failed("could not draw a nonce"))?;
    let text = URL_SAFE_NO_PAD.encode(bytes);
    sfv::String::from_string(text).map_err(|_| failed("could not draw a nonce"))
}

fn set(request: &mut Request, name: HeaderName, value: &str) -> Result<(), Failure> {
    let value = derived::header(value.as_bytes()).map_err(|_| failed("made no header"))?;
    request.headers_mut().insert(name, value);
    Ok(())
}

fn failed(what: &str) -> Failure {
    Failure::new(Stage::Credential, format!("the request can't be signed: the provider {what}"))
}
