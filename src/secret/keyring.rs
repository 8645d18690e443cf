//! A secret in the desktop's keyring: Secret Service, macOS keychain, Windows credential manager.
//!
//! Asking blocks, on an unlock prompt for as long as nobody answers it: it is done on a thread of
//! the pool, never twice at once for one entry, and waited for with a deadline. A prompt that is
//! answered later serves whoever asks next. Nothing is ever written to a keyring.

#[cfg(feature = "keyring")]
pub(super) use built_in::Entry;
#[cfg(not(feature = "keyring"))]
pub(super) use left_out::Entry;

#[cfg(feature = "keyring")]
mod built_in {
    use std::{
        borrow::Cow,
        sync::{Arc, Mutex, PoisonError},
        time::Duration,
    };

    use tokio::{task::JoinHandle, time::timeout};
    use zeroize::Zeroizing;

    use crate::secret::{Error, Reference, Secret, cached::Interrupted};

    /// How long the keyring may take: as long as a program.
    const DEADLINE: Duration = Duration::from_secs(10);

    type Answer = Result<Secret, Error>;

    /// An entry of the keyring.
    pub(in crate::secret) struct Entry {
        reference: Reference,
        service: String,
        account: String,
        /// A question that outlived its deadline, and may be answered yet.
        asking: Mutex<Option<JoinHandle<Answer>>>,
    }

    impl Entry {
        pub(in crate::secret) fn open(
            reference: &Reference,
            service: &str,
            account: &str,
        ) -> Result<Arc<Self>, Error> {
            Ok(Arc::new(Self {
                reference: reference.clone(),
                service: service.to_owned(),
                account: account.to_owned(),
                asking: Mutex::new(None),
            }))
        }

        /// Asks the keyring, or waits on for what it was asked before.
        pub(in crate::secret) async fn read(self: Arc<Self>) -> Answer {
            let mut asked = self.asking().take().unwrap_or_else(|| {
                tracing::debug!("asking the keyring for {}", self.reference);
                let this = Arc::clone(&self);
                tokio::task::spawn_blocking(move || this.ask())
            });
            match timeout(DEADLINE, &mut asked).await {
                Ok(answer) => answer.unwrap_or_else(|_| Err(Interrupted.into())),
                Err(_elapsed) => {
                    *self.asking() = Some(asked);
                    let reference = self.reference.to_string();
                    Err(Error::Locked { reference, after: DEADLINE })
                }
            }
        }

        fn asking(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<Answer>>> {
            self.asking.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn ask(&self) -> Answer {
            let refused = |error: &keyring::Error| self.explain(error);
            keyring::Entry::store_status().as_ref().map_err(refused)?;
            let entry = keyring::Entry::new(&self.service, &self.account);
            let secret = entry.and_then(|entry| entry.get_secret());
            let secret = Zeroizing::new(secret.map_err(|error| self.explain(&error))?);
            Secret::from_text(&secret, &self.reference)
        }

        /// The error in our words: some of theirs have what the keyring holds in them.
        fn explain(&self, error: &keyring::Error) -> Error {
            let reference = self.reference.to_string();
            let why = match error {
                keyring::Error::NoEntry => return Error::NoEntry { reference },
                keyring::Error::PlatformFailure(system)
                | keyring::Error::NoStorageAccess(system) => Cow::Owned(system.to_string()),
                keyring::Error::Ambiguous(_) => "it has several entries of that name".into(),
                keyring::Error::TooLong(..) | keyring::Error::Invalid(..) => {
                    "it takes no such name".into()
                }
                keyring::Error::NoDefaultStore => "there is none".into(),
                _ => "what it holds there is no secret".into(),
            };
            Error::Keyring { reference, why }
        }
    }

    #[cfg(test)]
    mod tests {
        #![allow(clippy::unwrap_used, clippy::expect_used)]

        use super::*;

        #[test]
        fn what_the_keyring_says_is_told_without_what_it_holds() {
            let reference: Reference = "keyring:mcp/alice".parse().unwrap();
            let entry = Entry::open(&reference, "mcp", "alice").unwrap();
            let failure = || std::io::Error::other("no bus").into();
            for (error, expected) in [
                (keyring::Error::NoEntry, "the keyring has no entry keyring:mcp/alice"),
                (keyring::Error::PlatformFailure(failure()), "for keyring:mcp/alice: no bus"),
                (keyring::Error::BadEncoding(b"canary".to_vec()), "there is no secret"),
                (keyring::Error::BadDataFormat(b"canary".to_vec(), failure()), "is no secret"),
                (keyring::Error::NoDefaultStore, "there is none"),
            ] {
                let told = entry.explain(&error);
                assert!(told.to_string().contains(expected), "{told}");
                assert!(told.hint().is_some());
                assert!(!format!("{told:?}").contains("canary"));
            }
        }
    }
}

#[cfg(not(feature = "keyring"))]
mod left_out {
    use std::{convert::Infallible, sync::Arc};

    use crate::secret::{Error, Reference, Secret};

    /// There is none.
    pub(in crate::secret) struct Entry(Infallible);

    impl Entry {
        pub(in crate::secret) fn open(
            reference: &Reference,
            _service: &str,
            _account: &str,
        ) -> Result<Arc<Self>, Error> {
            Err(Error::NoKeyring { reference: reference.to_string() })
        }

        pub(in crate::secret) async fn read(self: Arc<Self>) -> Result<Secret, Error> {
            match self.0 {}
        }
    }
}
