//! A secret in use: its value now, its generation, and another look when it was refused.
//!
//! A variable can't change and is read once. A file is read now, so that a mistake is said at
//! start, and again when it changes. A program is run, and the keyring asked, when the secret is
//! first needed: start-up has no side effects.

use std::{
    env, fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Error, Reference, Secret,
    cached::{Cached, Fetched},
    command::Printer,
    environment,
    file::Tracked,
    keyring,
};

/// A secret kept current. Cheap to clone; the clones share one value.
#[derive(Clone)]
pub struct Held(Arc<Inner>);

struct Inner {
    reference: Reference,
    source: Source,
}

enum Source {
    Fixed(Arc<Secret>),
    File(Mutex<Tracked>),
    /// What a program prints, or the keyring holds.
    Fetched(Cached<Secret, Error>),
}

impl Held {
    /// Reads the secret of an `env:` or `file:` reference; a program is not run yet, nor the
    /// keyring asked.
    ///
    /// # Errors
    ///
    /// The variable is not set, the file can't be read, the value is empty, has white space at
    /// its ends or is too long; the keyring is not supported by this build.
    pub fn open(reference: Reference) -> Result<Self, Error> {
        let reference = reference.complete()?;
        let source = match &reference {
            Reference::Env(name) => {
                environment::withhold(name);
                #[expect(clippy::disallowed_methods, reason = "it is what an env: reference is")]
                let value =
                    env::var_os(name).ok_or_else(|| Error::Unset { name: name.to_owned() })?;
                return Self::found(reference, &Secret::new(value.into_encoded_bytes()));
            }
            Reference::File(path) => Source::File(Mutex::new(Tracked::open(path)?)),
            Reference::Command { argv, ttl } => {
                let (printer, ttl) = (Printer::new(reference.clone(), argv.clone()), *ttl);
                Source::Fetched(Cached::new(reference.to_string(), move || {
                    let printer = printer.clone();
                    async move { Ok(Fetched { value: printer.run().await?, lifetime: ttl }) }
                }))
            }
            Reference::Keyring { service, account } => {
                let entry = keyring::Entry::open(&reference, service, account)?;
                Source::Fetched(Cached::new(reference.to_string(), move || {
                    let read = Arc::clone(&entry).read();
                    async move { Ok(Fetched { value: read.await?, lifetime: None }) }
                }))
            }
        };
        Ok(Self(Arc::new(Inner { reference, source })))
    }

    /// A secret that was found elsewhere than its reference says, in a file of variables: held to
    /// the same rules as all.
    ///
    /// # Errors
    ///
    /// The value is empty, has white space at its ends or is too long.
    pub fn found(reference: Reference, value: &Secret) -> Result<Self, Error> {
        let value = Secret::from_value(value.expose(), &reference)?;
        Ok(Self::given(reference, value))
    }

    /// A secret that is at hand already; `reference` is where it would be otherwise.
    #[must_use]
    pub fn given(reference: Reference, value: Secret) -> Self {
        Self(Arc::new(Inner { reference, source: Source::Fixed(Arc::new(value)) }))
    }

    /// Where the secret is, for error texts.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.0.reference
    }

    /// Whether a refused value can be followed by another: not that of a variable.
    #[must_use]
    pub fn renewable(&self) -> bool {
        !matches!(self.0.source, Source::Fixed(_))
    }

    /// The value, where it takes no program and no keyring to have it: for checks at start.
    #[must_use]
    pub fn at_hand(&self) -> Option<Arc<Secret>> {
        match &self.0.source {
            Source::Fixed(value) => Some(Arc::clone(value)),
            Source::File(file) => {
                Some(file.lock().unwrap_or_else(PoisonError::into_inner).current().0)
            }
            Source::Fetched(_) => None,
        }
    }

    /// The value and its generation, which changes when the value does.
    ///
    /// # Errors
    ///
    /// The program of a `command:` reference or the keyring failed, and there is no value that is
    /// still good.
    pub async fn current(&self) -> Result<(Arc<Secret>, u64), Error> {
        match &self.0.source {
            Source::Fixed(value) => Ok((Arc::clone(value), 0)),
            Source::File(file) => Ok(file.lock().unwrap_or_else(PoisonError::into_inner).current()),
            Source::Fetched(cached) => cached.current().await,
        }
    }

    /// The value of `generation` was refused: looks again. Whether a different value is there
    /// now; of many callers with one generation, the first looks for all.
    ///
    /// # Errors
    ///
    /// The file, the program or the keyring gave none; the last value stays.
    pub async fn refresh(&self, generation: u64) -> Result<bool, Error> {
        match &self.0.source {
            Source::Fixed(_) => Ok(false),
            Source::File(file) => {
                file.lock().unwrap_or_else(PoisonError::into_inner).refresh(generation)
            }
            Source::Fetched(cached) => cached.refresh(generation).await,
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({})", self.0.reference)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::{fs, path::Path, time::Duration};

    use tokio::time::advance;

    use super::*;

    fn file(path: &Path) -> Result<Held, Error> {
        Held::open(Reference::File(path.to_owned()))
    }

    async fn value(held: &Held) -> (Vec<u8>, u64) {
        let (secret, generation) = held.current().await.unwrap();
        (secret.expose().to_vec(), generation)
    }

    #[tokio::test]
    async fn a_variable_is_read_once_and_never_renewed() {
        let held = Held::open("env:CARGO_PKG_NAME".parse().unwrap()).unwrap();
        let (read, generation) = value(&held).await;
        assert_eq!(read, b"countersign");
        assert!(!held.renewable());
        assert!(!held.refresh(generation).await.unwrap());
        let unset = Held::open("env:COUNTERSIGN_NO_SUCH_VARIABLE".parse().unwrap()).unwrap_err();
        assert_eq!(unset.to_string(), "the variable COUNTERSIGN_NO_SUCH_VARIABLE is not set");
        assert!(unset.hint().unwrap().contains("\"env\""));
    }

    #[cfg(not(feature = "keyring"))]
    #[tokio::test]
    async fn a_build_without_the_keyring_says_so_at_once() {
        let missing = Held::open("keyring:mcp/alice".parse().unwrap()).unwrap_err();
        assert!(missing.to_string().contains("keyring:mcp/alice can't be read"), "{missing}");
        let hint = missing.hint().unwrap();
        assert!(hint.contains("--features keyring") && hint.contains("file:PATH"), "{hint}");
    }

    #[tokio::test]
    async fn what_was_found_elsewhere_is_held_to_the_same_rules() {
        let reference = || Reference::Env("TOKEN".to_owned());
        let held = Held::found(reference(), &Secret::new("canary")).unwrap();
        assert_eq!(value(&held).await, (b"canary".to_vec(), 0));
        for bad in ["", " canary", "canary\n"] {
            let error = Held::found(reference(), &Secret::new(bad)).unwrap_err();
            assert!(error.to_string().contains("env:TOKEN"), "{error}");
            assert!(!format!("{error:?}").contains("canary"));
        }
    }

    #[tokio::test]
    async fn a_mistake_in_a_file_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let missing = file(&path).unwrap_err();
        assert!(missing.to_string().contains(path.to_str().unwrap()));
        assert_eq!(missing.hint().unwrap(), "check the path");
        assert!(file(Path::new("~/t")).unwrap_err().hint().unwrap().contains('~'));
        assert!(file(folder.path()).is_err());
        fs::write(&path, "\n").unwrap();
        assert!(matches!(file(&path), Err(Error::Empty { .. })));
        fs::write(&path, "canary \n").unwrap();
        assert!(matches!(file(&path), Err(Error::Blank { .. })));
        fs::write(&path, vec![b'a'; 100_000]).unwrap();
        assert!(matches!(file(&path), Err(Error::TooLong { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_read_again_without_a_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first\n").unwrap();
        let held = file(&path).unwrap();
        let clone = held.clone();
        fs::write(&path, "other\n").unwrap();
        assert_eq!(value(&held).await, (b"first".to_vec(), 1), "looked at once a second at most");
        advance(Duration::from_secs(1)).await;
        assert_eq!(value(&held).await, (b"other".to_vec(), 2));
        assert_eq!(value(&clone).await, (b"other".to_vec(), 2));
    }

    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn a_symbolic_link_that_is_swapped_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, token) in [("1", "first"), ("2", "other")] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("token"), token).unwrap();
        }
        std::os::unix::fs::symlink("1", path("data")).unwrap();
        let held = file(&path("data").join("token")).unwrap();
        std::os::unix::fs::symlink("2", path("next")).unwrap();
        fs::rename(path("next"), path("data")).unwrap();
        advance(Duration::from_secs(1)).await;
        assert_eq!(value(&held).await, (b"other".to_vec(), 2));
    }

    #[tokio::test]
    async fn a_refused_file_is_read_at_once_and_once_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first").unwrap();
        let held = file(&path).unwrap();
        assert!(!held.refresh(1).await.unwrap(), "it is still the same");
        fs::write(&path, "other").unwrap();
        assert!(held.refresh(1).await.unwrap());
        fs::write(&path, "third").unwrap();
        assert!(held.refresh(1).await.unwrap());
        assert_eq!(value(&held).await, (b"other".to_vec(), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_file_keeps_the_last_good_value_and_is_complained_of_once() {
        let (log, lines) = crate::secret::tests::capture();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "first").unwrap();
        let held = file(&path).unwrap();
        for broken in [Some(""), Some(" canary"), None] {
            match broken {
                Some(text) => fs::write(&path, text).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            advance(Duration::from_secs(1)).await;
            assert_eq!(value(&held).await, (b"first".to_vec(), 1));
            assert!(held.refresh(1).await.is_err());
        }
        fs::write(&path, "other").unwrap();
        advance(Duration::from_secs(1)).await;
        assert_eq!(value(&held).await, (b"other".to_vec(), 2));
        drop(log);
        let lines = lines.lock().unwrap();
        let lines = std::str::from_utf8(&lines).unwrap();
        assert_eq!(lines.matches("stays in use").count(), 1, "{lines}");
        assert!(!lines.contains("canary"), "{lines}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_that_others_can_read_is_remarked_on_once_with_its_mode() {
        use std::os::unix::fs::PermissionsExt;

        let (log, lines) = crate::secret::tests::capture();
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [("private", 0o600), ("shared", 0o640), ("open", 0o644)] {
            let path = folder.path().join(name);
            fs::write(&path, "canary").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let held = file(&path).unwrap();
            let _ = held.refresh(1).await;
        }
        drop(log);
        let lines = lines.lock().unwrap();
        let lines = std::str::from_utf8(&lines).unwrap();
        assert_eq!(lines.matches("mode").count(), 1, "{lines}");
        assert!(lines.contains("open is open to all users of this machine (mode 0644)"), "{lines}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_program_is_run_when_first_needed_and_again_when_refused() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let script = format!("echo >>'{0}'; wc -l <'{0}' | tr -d ' '", runs.display());
        let argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let held = Held::open(Reference::Command { argv, ttl: None }).unwrap();
        assert!(!runs.exists(), "start-up has no side effects");
        assert_eq!(value(&held).await, (b"1".to_vec(), 1));
        assert_eq!(value(&held).await, (b"1".to_vec(), 1));
        assert!(held.refresh(1).await.unwrap());
        assert_eq!(value(&held).await, (b"2".to_vec(), 2));
        assert!(!format!("{held:?}").contains("echo"));
    }
}
