//! The key and the certificate of it, as one: a token never shows a certificate that its signature
//! does not fit.
//!
//! The two are two files, and a rotation replaces one after the other. Until both fit again, the
//! last pair that did stays in use. Without a certificate, the key alone is the pair.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::{
        Generation,
        derived::{Derived, Unfit},
    },
    Settings,
    certificate::Watched,
    signer::{Key, Signer},
};
use crate::failure::{Failure, Stage};

/// For how long the two may not fit before it is remarked on: that is how rotations look.
const PATIENCE: Duration = Duration::from_secs(5);

/// What signs, kept current.
pub(super) struct Pair {
    settings: Settings,
    key: Derived<Arc<Key>>,
    certificate: Option<Watched>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    good: Option<Good>,
    /// The last generation of the key that was looked at, whether it fitted or not.
    looked_at: Generation,
    /// Since when the two do not fit, and whether that was said.
    misfit: Option<(Instant, bool)>,
}

impl State {
    /// The two do not fit at `now`. Whether they have not for long, and no one has said it.
    fn is_to_be_said(&mut self, now: Instant) -> bool {
        let (since, said) = self.misfit.get_or_insert((now, false));
        now.saturating_duration_since(*since) >= PATIENCE && !std::mem::replace(said, true)
    }
}

struct Good {
    signer: Arc<Signer>,
    generation: Generation,
    /// The generations of the key and of the certificate.
    made_of: (Generation, Generation),
}

impl Pair {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            key: Derived::new(settings.key.clone()),
            certificate: settings.certificate.as_ref().map(|it| Watched::new(it.path.clone())),
            settings,
            state: Mutex::default(),
        }
    }

    /// Tries both now, the key where that takes no program to run.
    pub(super) fn check(&self, now: Instant) -> Result<(), Failure> {
        let stage = Stage::Configuration;
        let chain = self.certificate.as_ref().map(|it| it.current(now, stage)).transpose()?;
        let mut fits = true;
        self.key.check(|secret| {
            let key = self.read(secret)?;
            fits = chain.is_none_or(|(chain, _)| key.is_of(&chain));
            Ok(key)
        })?;
        match &self.certificate {
            Some(certificate) if !fits => Err(self.misfit(stage, certificate.path())),
            _ => Ok(()),
        }
    }

    /// Whether what was refused can be followed by another.
    pub(super) fn renewable(&self) -> bool {
        self.certificate.is_some() || self.key.renewable()
    }

    /// The signer there is now, and its generation.
    ///
    /// Fails, at [`Stage::Credential`], when there is none, and none was ever good.
    pub(super) async fn current(&self, now: Instant) -> Result<(Arc<Signer>, Generation), Failure> {
        let (key, key_generation) = self.key.current(|secret| self.read(secret)).await?;
        let chain = self.certificate.as_ref().map(|it| it.current(now, Stage::Credential));
        let (chain, chain_generation) = chain.transpose()?.unzip();
        let made_of = (key_generation, chain_generation.unwrap_or_default());

        let mut state = self.lock();
        state.looked_at = key_generation;
        if let Some(good) = &state.good
            && good.made_of == made_of
        {
            let current = (Arc::clone(&good.signer), good.generation);
            state.misfit = None;
            return Ok(current);
        }
        match &self.certificate {
            Some(certificate) if chain.as_ref().is_some_and(|chain| !key.is_of(chain)) => {
                self.keep(&mut state, now, certificate.path())
            }
            _ => {
                self.remark(&key);
                let signer = Arc::new(Signer::new(&self.settings, key, chain.as_deref())?);
                let generation = state.good.as_ref().map_or(1, |good| good.generation + 1);
                state.good = Some(Good { signer: Arc::clone(&signer), generation, made_of });
                state.misfit = None;
                Ok((signer, generation))
            }
        }
    }

    /// What was signed with `generation` was refused: looks at both again. Whether there is
    /// something different to try.
    pub(super) async fn refused(&self, generation: Generation, now: Instant) -> bool {
        let looked_at = {
            let state = self.lock();
            if state.good.as_ref().is_some_and(|good| good.generation != generation) {
                return true;
            }
            state.looked_at
        };
        self.key.refused(looked_at).await;
        if let Some(certificate) = &self.certificate {
            certificate.doubt();
        }
        self.current(now).await.is_ok_and(|(_, current)| current != generation)
    }

    /// The last pair that fitted, where there was one.
    fn keep(
        &self,
        state: &mut State,
        now: Instant,
        path: &Path,
    ) -> Result<(Arc<Signer>, Generation), Failure> {
        let misfit = self.misfit(Stage::Credential, path);
        let Some(good) = &state.good else { return Err(misfit) };
        let kept = (Arc::clone(&good.signer), good.generation);
        if state.is_to_be_said(now) {
            tracing::warn!("{misfit}; the last pair stays in use");
        }
        Ok(kept)
    }

    fn misfit(&self, stage: Stage, path: &Path) -> Failure {
        let reference = self.settings.key.reference();
        let what =
            format!("the certificate {} does not belong to the key {reference}", path.display());
        Failure::new(stage, what)
            .hint("the first certificate of the file has to be that of the key; replace both")
    }

    fn read(&self, secret: &[u8]) -> Result<Arc<Key>, Unfit> {
        Key::read(self.settings.algorithm, self.settings.encoding, secret).map(Arc::new)
    }

    /// Gateways with short secrets exist, and who is behind one can't change it from here: so it
    /// is said, and no more.
    fn remark(&self, key: &Key) {
        if let Some(bytes) = key.too_short_for {
            tracing::warn!(
                "the secret {} has less than the {bytes} bytes that {} should have (RFC 7518, \
                 section 3.2): who sees a token can try to guess it",
                self.settings.key.reference(),
                self.settings.algorithm,
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_for_long_is_said_once() {
        let (start, mut state) = (Instant::now(), State::default());
        let said = [0, 4, 5, 6, 60]
            .map(|seconds| state.is_to_be_said(start + Duration::from_secs(seconds)));
        assert_eq!(said, [false, false, true, false, false]);
        state.misfit = None;
        assert!(!state.is_to_be_said(start + Duration::from_secs(61)), "another rotation");
    }
}
