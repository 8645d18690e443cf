//! A token minted here (RFC 7519), signed with a key that never leaves the machine.
//!
//! One token serves many requests for most of its life, or each request gets its own, bound to it
//! by claims. A token that is over is never sent, and none is sent whose certificate is not that of
//! its key. The tokens of others are not read here, and `none` is no algorithm.

mod algorithm;
mod certificate;
mod claims;
mod pair;
mod signer;
#[cfg(test)]
mod tests;
mod token;
#[cfg(test)]
mod vectors;

pub use self::{
    algorithm::Algorithm,
    certificate::Certificate,
    claims::{Claim, RESERVED, Text},
};

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::{BoxFuture, FutureExt, ready};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::{
    claims::{Bound, Stamp, Whole},
    pair::Pair,
    signer::Signer,
    token::{BACKDATED, Now, Token},
};
use super::{Credential, Generation, derived, headers, key::Encoding, outgoing::Outgoing};
use crate::{
    failure::{Failure, Stage},
    secret::Held,
    service::Request,
};

/// How it is made. `Debug` shows no claim: a variable may have brought it.
#[derive(Clone)]
pub struct Settings {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The private key in PEM, or the shared secret.
    pub key: Held,
    /// How what `key` holds is written.
    pub encoding: Encoding,
    /// The certificate of the key, where tokens show it.
    pub certificate: Option<Certificate>,
    /// The name of the key.
    pub kid: Option<String>,
    /// The type of the token.
    pub typ: String,
    /// The claims, each once and none of [`RESERVED`].
    pub claims: Vec<(String, Claim)>,
    /// From `iat` to `exp`.
    pub lifetime: Duration,
    /// Whether each request has a token of its own.
    pub per_request: bool,
    /// Where it is sent.
    pub carrier: Carrier,
}

impl Settings {
    /// The type of a token that names none.
    pub const DEFAULT_TYPE: &str = "JWT";
    /// The life of a token that names none.
    pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);
    /// A shorter one would be over on the way, since a token begins a few seconds ago.
    pub const SHORTEST_LIFETIME: Duration = Duration::from_secs(10);
    /// A longer one would be a password: whoever finds the token has it for good.
    pub const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

    /// Tries the key and the certificate now, where that takes no program to run.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: the key does not fit the algorithm, or the certificate not the
    /// key.
    pub fn check(&self) -> Result<(), Failure> {
        Pair::new(self.clone()).check(Instant::now())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("algorithm", &self.algorithm)
            .field("key", &self.key)
            .field("header", &self.carrier.name)
            .finish_non_exhaustive()
    }
}

/// The header that carries the token.
#[derive(Clone, Debug)]
pub struct Carrier {
    name: HeaderName,
    /// With the blank behind it, or nothing.
    prefix: String,
}

impl Carrier {
    /// The header `name`, or `Authorization`; with `prefix` before the token, or with `Bearer`
    /// where the header is not named. An empty prefix is none.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: the name is not one, or belongs to the connection or the
    /// protocol; the prefix is none that a header can have.
    pub fn new(name: Option<&str>, prefix: Option<&str>) -> Result<Self, Failure> {
        let name = name.map_or(Ok(header::AUTHORIZATION), headers::free_name)?;
        let bearer = if name == header::AUTHORIZATION { "Bearer" } else { "" };
        let prefix = prefix.unwrap_or(bearer);
        if !prefix.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(Failure::new(
                Stage::Configuration,
                "the prefix has a character that is not allowed in a header",
            )
            .hint("it is a word such as Bearer or DPoP"));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix} ") };
        Ok(Self { name, prefix })
    }

    /// The header.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }
}

/// The credential.
pub(super) struct Jwt {
    settings: Settings,
    names: [HeaderName; 1],
    pair: Pair,
    minted: Mutex<Minted>,
}

/// The token that is shared, and how many there were.
#[derive(Default)]
struct Minted {
    token: Option<Token>,
    count: Generation,
}

impl Jwt {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            names: [settings.carrier.name.clone()],
            pair: Pair::new(settings.clone()),
            minted: Mutex::default(),
            settings,
        }
    }

    async fn value(
        &self,
        request: &Request,
        now: Now,
    ) -> Result<(HeaderValue, Generation), Failure> {
        let (signer, generation) = self.pair.current(now.steady).await?;
        if self.settings.per_request {
            let bound = Bound::to(Outgoing::new(request));
            Ok((self.mint(&signer, now.wall, Some(&bound))?, generation))
        } else {
            self.shared(&signer, generation, now)
        }
    }

    /// The token that is shared, a new one where it is over or signed by what is no longer used.
    fn shared(
        &self,
        signer: &Signer,
        signed: Generation,
        now: Now,
    ) -> Result<(HeaderValue, Generation), Failure> {
        // Minting takes no await, so of many that need a new one, the first mints it for all.
        let mut minted = self.lock();
        if let Some(token) = &minted.token
            && token.signer == signed
            && token.is_fresh(now)
        {
            return Ok((token.value.clone(), token.generation));
        }
        let value = self.mint(signer, now.wall, None)?;
        minted.count += 1;
        let generation = minted.count;
        minted.token = Some(Token {
            value: value.clone(),
            generation,
            signer: signed,
            minted: now,
            lifetime: self.settings.lifetime,
            refused_young: false,
        });
        Ok((value, generation))
    }

    fn mint(
        &self,
        signer: &Signer,
        now: SystemTime,
        bound: Option<&Bound<'_>>,
    ) -> Result<HeaderValue, Failure> {
        let token = mint(&self.settings, signer, now, random()?, bound)?;
        derived::sensitive(&token).ok_or_else(|| {
            Failure::new(Stage::Credential, "the token can't be carried by a header")
        })
    }

    /// The shared token `generation` was refused. Whether there is another, or one that is minted
    /// now can do better.
    async fn replaced(&self, generation: Generation, now: Now) -> bool {
        let is_refused = |token: &Token| token.generation == generation;
        // Twenty who were refused together have it replaced once.
        let Some(signed) =
            self.lock().token.as_ref().filter(|it| is_refused(it)).map(|it| it.signer)
        else {
            return true;
        };
        let resigned = self.pair.refused(signed, now.steady).await;
        let mut minted = self.lock();
        if let Some(token) = minted.token.as_mut().filter(|it| is_refused(it)) {
            if !token.is_worth_another(now) && !resigned {
                return false;
            }
            minted.token = None;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Minted> {
        self.minted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Credential for Jwt {
    fn name(&self) -> &'static str {
        "--jwt"
    }

    fn owns(&self) -> &[HeaderName] {
        &self.names
    }

    fn renewable(&self) -> bool {
        // Even with a key that can't change, a shared token can be minted anew.
        !self.settings.per_request || self.pair.renewable()
    }

    fn signs(&self) -> bool {
        self.settings.per_request
    }

    fn apply<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Result<Generation, Failure>> {
        Box::pin(async move {
            let (value, generation) = self.value(request, Now::read()).await?;
            request.headers_mut().insert(&self.names[0], value);
            Ok(generation)
        })
    }

    fn refused<'a>(
        &'a self,
        generation: Generation,
        response: &'a http::response::Parts,
    ) -> BoxFuture<'a, bool> {
        if !matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return ready(false).boxed();
        }
        let now = Now::read();
        if self.settings.per_request {
            // It was minted for that very request: only another key makes another one better.
            self.pair.refused(generation, now.steady).boxed()
        } else {
            self.replaced(generation, now).boxed()
        }
    }
}

/// The value of the header: a token of `now`, known by `id`.
fn mint(
    settings: &Settings,
    signer: &Signer,
    now: SystemTime,
    id: [u8; 16],
    bound: Option<&Bound<'_>>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let issued = seconds.saturating_sub(BACKDATED.as_secs());
    // Of `iat`: gateways that limit the life of a token compare its two ends.
    let expires = issued.saturating_add(settings.lifetime.as_secs());
    let stamp = Stamp { issued, expires, id: URL_SAFE_NO_PAD.encode(id) };
    let whole = Whole { claims: &settings.claims, stamp: &stamp, bound };
    signer.mint(&settings.carrier.prefix, &whole)
}

fn random() -> Result<[u8; 16], Failure> {
    let mut id = [0; 16];
    let filled = SystemRandom::new().fill(&mut id);
    filled.map(|()| id).map_err(|_| Failure::new(Stage::Credential, "the system has no randomness"))
}
