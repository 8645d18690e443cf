//! The keys that AWS gives out, and those of them that references hold.
//!
//! What has the wrong form is refused here, in words that hold no part of it: signed with it, a
//! request would come back with a 403 that explains nothing.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;

use super::super::{
    Generation,
    derived::{self, Derived, Unfit},
};
use crate::{
    failure::{Failure, Stage},
    secret::{Held, Secret},
};

/// An access key, and the token that goes with one that is temporary. Cheap to clone.
#[derive(Clone, PartialEq)]
pub(super) struct Keys {
    pub(super) access_key_id: Arc<str>,
    pub(super) secret_access_key: Arc<Secret>,
    pub(super) session_token: Option<HeaderValue>,
}

impl Keys {
    pub(super) fn new(id: &[u8], secret: &[u8], token: Option<&[u8]>) -> Result<Self, Unfit> {
        Ok(Self {
            access_key_id: access_key_id(id)?,
            secret_access_key: secret_access_key(secret)?,
            session_token: token.map(derived::header).transpose()?,
        })
    }
}

/// An access key id is sent with every request, and so is no secret.
fn access_key_id(text: &[u8]) -> Result<Arc<str>, Unfit> {
    let letters = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    match std::str::from_utf8(text) {
        Ok(id) if !id.is_empty() && text.iter().all(letters) => Ok(id.into()),
        _ => Err(Unfit::new(
            "is not an access key id, which is letters and digits alone",
            "it is about 20 characters long and starts with AKIA or ASIA",
        )),
    }
}

fn secret_access_key(text: &[u8]) -> Result<Arc<Secret>, Unfit> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
        return Err(Unfit::new(
            "is not a secret access key, which has no blank and no line break in it",
            "check that it is the secret access key alone, of about 40 characters",
        ));
    }
    Ok(Arc::new(Secret::new(text)))
}

/// Where an access key id is.
#[derive(Clone, Debug)]
pub enum AccessKeyId {
    /// It was written down as it is.
    Plain(String),
    /// It is kept where secrets are.
    Held(Held),
}

/// Keys that references hold, each kept current by itself.
#[derive(Clone, Debug)]
pub struct Given {
    /// Which key it is.
    pub access_key_id: AccessKeyId,
    /// The key.
    pub secret_access_key: Held,
    /// The token of a key that is temporary.
    pub session_token: Option<Held>,
}

/// The keys of [`Given`], as they are now.
pub(super) struct Live {
    id: Id,
    secret: Derived<Arc<Secret>>,
    token: Option<Derived<HeaderValue>>,
    /// What was last handed out, of which generation each part was.
    last: Mutex<Generations>,
}

enum Id {
    Plain(Arc<str>),
    Held(Derived<Arc<str>>),
}

type Generations = [Generation; 3];

impl Live {
    pub(super) fn new(given: Given) -> Self {
        let id = match given.access_key_id {
            AccessKeyId::Plain(text) => Id::Plain(text.into()),
            AccessKeyId::Held(held) => Id::Held(Derived::new(held)),
        };
        let secret = Derived::new(given.secret_access_key);
        let token = given.session_token.map(Derived::new);
        Self { id, secret, token, last: Mutex::default() }
    }

    /// Fails, at [`Stage::Configuration`], when what is at hand has the wrong form.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match &self.id {
            Id::Plain(text) => {
                let id = access_key_id(text.as_bytes()).map(drop);
                id.map_err(|Unfit { what, hint }| {
                    let what = format!("the text of access_key_id {what}");
                    Failure::new(Stage::Configuration, what).hint(hint)
                })?;
            }
            Id::Held(id) => id.check(access_key_id)?,
        }
        self.secret.check(secret_access_key)?;
        self.token.as_ref().map_or(Ok(()), |token| token.check(derived::header))
    }

    pub(super) async fn current(&self) -> Result<(Keys, Generation), Failure> {
        let (access_key_id, first) = match &self.id {
            Id::Plain(id) => (Arc::clone(id), 0),
            Id::Held(id) => id.current(access_key_id).await?,
        };
        let (secret_access_key, second) = self.secret.current(secret_access_key).await?;
        let (session_token, third) = match &self.token {
            None => (None, 0),
            Some(token) => {
                let (token, generation) = token.current(derived::header).await?;
                (Some(token), generation)
            }
        };
        let generations = [first, second, third];
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = generations;
        Ok((Keys { access_key_id, secret_access_key, session_token }, together(generations)))
    }

    pub(super) fn renewable(&self) -> bool {
        matches!(&self.id, Id::Held(id) if id.renewable())
            || self.secret.renewable()
            || self.token.as_ref().is_some_and(Derived::renewable)
    }

    pub(super) async fn refused(&self, generation: Generation) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if together(last) != generation {
            return true;
        }
        // All of them are looked at: a new id without its new key is refused as well.
        let mut renewed = self.secret.refused(last[1]).await;
        if let Id::Held(id) = &self.id {
            renewed |= id.refused(last[0]).await;
        }
        if let Some(token) = &self.token {
            renewed |= token.refused(last[2]).await;
        }
        renewed
    }
}

/// One number that changes when one of them does: they only ever grow.
fn together(generations: Generations) -> Generation {
    generations.iter().sum()
}
