//! What is made of a secret for use: a header's value, a key that signs.
//!
//! It is made once for each of the secret's generations. A secret that turned bad while we run (a
//! file replaced by rubbish) is complained of once, and what the last good one gave stays in use.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
};

use http::HeaderValue;

use super::{Generation, unsent};
use crate::{
    failure::{Failure, Stage},
    secret::Held,
};

/// Why a secret that is there can't be used. Holds no part of it.
pub(super) struct Unfit {
    /// Completes "the secret file:/x ...".
    pub(super) what: Cow<'static, str>,
    pub(super) hint: Cow<'static, str>,
}

impl Unfit {
    pub(super) fn new(
        what: impl Into<Cow<'static, str>>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// A secret, and what was last made of it. `T` is cheap to clone: a header value, an `Arc`.
pub(super) struct Derived<T> {
    held: Held,
    last: Mutex<Last<T>>,
}

struct Last<T> {
    good: Option<(T, Generation)>,
    /// The generation that was complained of.
    bad: Option<Generation>,
}

impl<T: Clone> Derived<T> {
    pub(super) fn new(held: Held) -> Self {
        Self { held, last: Mutex::new(Last { good: None, bad: None }) }
    }

    /// What the secret there is now gives; `make` makes it from a secret it has not seen.
    ///
    /// Fails, at [`Stage::Credential`], when there is no secret, or none was ever good.
    pub(super) async fn current(
        &self,
        make: impl FnOnce(&[u8]) -> Result<T, Unfit>,
    ) -> Result<(T, Generation), Failure> {
        let (mut secret, mut generation) = self.held.current().await.map_err(unsent)?;
        if self.was_never_good(generation) {
            // Nothing was sent with it, so no refusal of the upstream's would ever renew it.
            self.held.refresh(generation).await.map_err(unsent)?;
            (secret, generation) = self.held.current().await.map_err(unsent)?;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.bad == Some(generation);
        if let Some((value, made_of)) = &last.good
            && (*made_of == generation || known)
        {
            return Ok((value.clone(), *made_of));
        }
        match (make(secret.expose()), &last.good) {
            (Ok(value), _) => {
                *last = Last { good: Some((value.clone(), generation)), bad: None };
                Ok((value, generation))
            }
            (Err(unfit), Some((value, made_of))) => {
                let kept = (value.clone(), *made_of);
                let what = unfit.what;
                tracing::warn!(
                    "the secret {} {what}; the last stays in use",
                    self.held.reference()
                );
                last.bad = Some(generation);
                Ok(kept)
            }
            (Err(unfit), None) => {
                last.bad = Some(generation);
                Err(self.unfit(Stage::Credential, unfit))
            }
        }
    }

    /// Whether the secret of `generation` can't be used, and there was none before that could.
    fn was_never_good(&self, generation: Generation) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.good.is_none() && last.bad == Some(generation)
    }

    /// Tries `make` on the secret now, where that takes no program to run.
    ///
    /// Fails at [`Stage::Configuration`]: it can't be made.
    pub(super) fn check(
        &self,
        make: impl FnOnce(&[u8]) -> Result<T, Unfit>,
    ) -> Result<(), Failure> {
        let Some(secret) = self.held.at_hand() else { return Ok(()) };
        let made = make(secret.expose()).map(drop);
        made.map_err(|unfit| self.unfit(Stage::Configuration, unfit))
    }

    /// Whether a refused value can be followed by another.
    pub(super) fn renewable(&self) -> bool {
        self.held.renewable()
    }

    /// The value of `generation` was refused: looks again. Whether there is something different
    /// to try.
    pub(super) async fn refused(&self, generation: Generation) -> bool {
        // What could not be used is what has to be replaced; without that, the refused one would
        // be tried again.
        let bad = {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.good.as_ref().is_some_and(|(_, made_of)| *made_of != generation) {
                return true;
            }
            last.bad
        };
        self.held.refresh(bad.unwrap_or(generation)).await.unwrap_or_else(|error| {
            tracing::debug!("refused, and not renewed: {error}");
            false
        })
    }

    fn unfit(&self, stage: Stage, Unfit { what, hint }: Unfit) -> Failure {
        let what = format!("the secret {} {what}", self.held.reference());
        Failure::new(stage, what).hint(hint)
    }
}

/// The only way to a header value in this folder; none when there is a control character in it.
pub(super) fn sensitive(bytes: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The header value that is exactly `bytes`, marked sensitive.
pub(super) fn header(bytes: &[u8]) -> Result<HeaderValue, Unfit> {
    sensitive(bytes).ok_or_else(|| {
        Unfit::new(
            "has a line break or another control character in it, which no header can carry",
            "check that it is the token alone",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::{fs, time::Duration};

    use tokio::time::advance;

    use super::*;
    use crate::credentials::tests::held;

    fn upper(secret: &[u8]) -> Result<String, Unfit> {
        let text = String::from_utf8(secret.to_vec()).unwrap();
        if text.starts_with("bad") {
            return Err(Unfit::new("is bad", "mend it"));
        }
        Ok(text.to_uppercase())
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_replacement_keeps_what_the_last_good_one_gave() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let derived = Derived::new(held(&path, "one"));
        derived.check(upper).ok().unwrap();
        let now = async || {
            advance(Duration::from_secs(1)).await;
            derived.current(upper).await.unwrap()
        };
        assert_eq!(now().await, ("ONE".to_owned(), 1));
        fs::write(&path, "bad").unwrap();
        assert_eq!(now().await, ("ONE".to_owned(), 1));
        assert!(!derived.refused(1).await, "it would be the refused one again");
        fs::write(&path, "two").unwrap();
        assert!(derived.refused(1).await);
        assert_eq!(now().await, ("TWO".to_owned(), 3));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn one_that_was_never_good_is_looked_at_again_without_a_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "bad").unwrap();
        let argv = vec!["cat".to_owned(), path.to_str().unwrap().to_owned()];
        let held = Held::open(crate::secret::Reference::Command { argv, ttl: None }).unwrap();
        let derived = Derived::new(held);
        assert!(derived.current(upper).await.is_err());
        fs::write(&path, "good").unwrap();
        assert_eq!(derived.current(upper).await.unwrap().0, "GOOD");
    }

    #[tokio::test]
    async fn one_that_was_never_good_fails_and_is_found_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let derived = Derived::new(held(&folder.path().join("key"), "bad"));
        let failure = derived.check(upper).unwrap_err();
        assert_eq!(failure.stage(), Stage::Configuration);
        assert!(failure.what().ends_with("key is bad"), "{failure}");
        let failure = derived.current(upper).await.unwrap_err();
        assert_eq!((failure.stage(), failure.next_step()), (Stage::Credential, Some("mend it")));
    }
}
