//! Keys from the files that the AWS tools share, read again when they change.
//!
//! A look at both files is due once a second at most, when someone asks, and when keys were
//! refused. Files that turned bad are complained of once, and the last good keys stay in use. What
//! needs AWS to be asked first (roles, single sign-on, the metadata of an instance) is not done
//! here: a `credential_process` does it.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{
    super::{Generation, derived::Unfit},
    ini::{self, Kind, Malformed, Profile},
    keys::Keys,
    process::{self, Process},
};
use crate::{
    failure::{Failure, Stage},
    secret,
};

/// How long keys are handed out before the files are looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Larger ones are not what they are taken for.
const MAXIMUM_LENGTH: u64 = 1024 * 1024;

/// How far the generations of the files are above those of a program that they name.
const ABOVE_THE_PROGRAM: u32 = 32;

/// Settings of a profile that need more than its keys, and come before them.
const ELSEWHERE: [&str; 4] = ["role_arn", "sso_session", "sso_start_url", "login_session"];

/// Where the files are, and which profile is meant.
#[derive(Clone, Debug)]
pub struct SharedFiles {
    /// The file of keys.
    pub credentials: PathBuf,
    /// The file of everything else.
    pub config: PathBuf,
    /// The profile.
    pub profile: String,
    /// Whether the environment was asked for keys before; for the error text.
    pub after_environment: bool,
}

/// What the files say.
#[derive(PartialEq)]
enum Found {
    Keys(Keys),
    Process(Vec<String>),
}

impl SharedFiles {
    /// The region of the profile, where it has one.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: a file can't be read.
    pub fn region(&self) -> Result<Option<String>, Failure> {
        let read = || {
            let config = self.profile_of(Kind::Config)?;
            let credentials = self.profile_of(Kind::Credentials)?;
            Ok(credentials.get("region").or(config.get("region")).map(|region| region.to_string()))
        };
        read().map_err(|unfit| failure(Stage::Configuration, unfit))
    }

    /// Reads the files once, so that a mistake is said at start; no program is run.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for path in [&self.credentials, &self.config] {
            if let Ok(metadata) = path.metadata() {
                secret::warn_of_others(path, &metadata);
            }
        }
        self.find().map(drop).map_err(|unfit| failure(Stage::Configuration, unfit))
    }

    fn find(&self) -> Result<Found, Unfit> {
        let credentials = self.profile_of(Kind::Credentials)?;
        let config = self.profile_of(Kind::Config)?;
        let either = |name: &str| credentials.get(name).or(config.get(name));
        if let Some(name) = ELSEWHERE.into_iter().find(|name| either(name).is_some()) {
            let what =
                format!("the AWS profile {} has {name}, which is not done here", self.profile);
            return Err(Unfit::new(what, self.ask_the_tools()));
        }
        if let Some(keys) = self.keys(&credentials, &self.credentials)? {
            return Ok(Found::Keys(keys));
        }
        if let Some(line) = either("credential_process") {
            return match process::words(line) {
                Some(argv) => Ok(Found::Process(argv)),
                None => Err(Unfit::new(
                    format!(
                        "the credential_process of the AWS profile {} names no program, or has \
                             a quote that does not end",
                        self.profile
                    ),
                    "write the program and its arguments; it is run without a shell",
                )),
            };
        }
        match self.keys(&config, &self.config)? {
            Some(keys) => Ok(Found::Keys(keys)),
            None => Err(self.nothing()),
        }
    }

    fn keys(&self, profile: &Profile, file: &Path) -> Result<Option<Keys>, Unfit> {
        let get = |name: &str| profile.get(name).map(|value| value.as_bytes());
        let keys = match (get("aws_access_key_id"), get("aws_secret_access_key")) {
            (None, None) => return Ok(None),
            (Some(id), Some(secret)) => Keys::new(id, secret, get("aws_session_token")),
            (Some(_), None) => Err(Unfit::new(
                "is there, but no aws_secret_access_key",
                "add the key; both are in the same profile of the same file",
            )),
            (None, Some(_)) => Err(Unfit::new(
                "is not there, but an aws_secret_access_key",
                "add the id; both are in the same profile of the same file",
            )),
        };
        keys.map(Some).map_err(|Unfit { what, hint }| {
            let (profile, file) = (&self.profile, file.display());
            Unfit::new(
                format!("the access key of the AWS profile {profile} in {file} {what}"),
                hint,
            )
        })
    }

    fn profile_of(&self, kind: Kind) -> Result<Profile, Unfit> {
        let path = match kind {
            Kind::Credentials => &self.credentials,
            Kind::Config => &self.config,
        };
        let refused = |what: String, hint: &'static str| {
            Unfit::new(format!("the file {} {what}", path.display()), hint)
        };
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Profile::new()),
            Err(error) => {
                let hint = "the user that countersign runs as must be able to read it";
                return Err(refused(format!("could not be read: {error}"), hint));
            }
        };
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| refused("is not UTF-8".to_owned(), "write it as aws configure does"))?;
        ini::profile(text, kind, &self.profile).map_err(|Malformed(line)| {
            let what = format!("could not be read: line {line} is no section and no setting");
            refused(what, "each line is [SECTION], NAME = VALUE or a # comment")
        })
    }

    fn nothing(&self) -> Unfit {
        let (credentials, config) = (self.credentials.display(), self.config.display());
        let environment =
            if self.after_environment { "AWS_ACCESS_KEY_ID is not set, and " } else { "" };
        let profile = &self.profile;
        let what = format!(
            "found no AWS credentials: {environment}neither {credentials} nor {config} has keys or \
             a credential_process for the profile {profile}"
        );
        Unfit::new(what, self.ask_the_tools())
    }

    fn ask_the_tools(&self) -> String {
        format!(
            "for roles, single sign-on and instance metadata, let the AWS CLI do it: in {}, under a \
             profile of its own that you name here, write credential_process = aws configure \
             export-credentials --profile {} --format process",
            self.config.display(),
            self.profile
        )
    }
}

fn failure(stage: Stage, Unfit { what, hint }: Unfit) -> Failure {
    Failure::new(stage, what).hint(hint)
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    if path == Path::new("/dev/null") {
        // How people tell the AWS tools that there is no such file.
        return Ok(Zeroizing::default());
    }
    let metadata = path.metadata()?;
    // Opening a pipe would wait for a writer, and with it everyone.
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if metadata.len() > MAXIMUM_LENGTH {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    // Room for all there may be: a buffer that grows leaves copies behind that nobody wipes.
    let room = usize::try_from(metadata.len()).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    File::open(path)?.take(MAXIMUM_LENGTH).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The keys in the files, as they are now.
pub(super) struct Live {
    files: SharedFiles,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    source: Option<Source>,
    generation: Generation,
    failing: bool,
}

#[derive(Clone)]
enum Source {
    Keys(Keys),
    Process(Arc<Process>),
}

impl Live {
    pub(super) fn new(files: SharedFiles) -> Self {
        Self { files, state: Mutex::default() }
    }

    pub(super) async fn current(&self) -> Result<(Keys, Generation), Failure> {
        let (source, generation) = self.source()?;
        match source {
            Source::Keys(keys) => Ok((keys, generation)),
            Source::Process(process) => {
                let (keys, of_program) = process.current().await?;
                Ok((Keys::clone(&keys), generation | of_program))
            }
        }
    }

    /// Whether something else is there now, be it in the files or printed by their program.
    pub(super) async fn refused(&self, generation: Generation) -> bool {
        let of_files = generation >> ABOVE_THE_PROGRAM << ABOVE_THE_PROGRAM;
        let process = {
            let mut state = self.state();
            if state.generation == of_files
                && let Err(failure) = self.look(&mut state)
            {
                tracing::debug!("refused, and not renewed: {failure}");
            }
            if state.generation != of_files {
                return true;
            }
            match &state.source {
                Some(Source::Process(process)) => Arc::clone(process),
                _ => return false,
            }
        };
        process.refused(generation - of_files).await
    }

    fn source(&self) -> Result<(Source, Generation), Failure> {
        let mut state = self.state();
        let due = state.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY);
        let looked = if due || state.source.is_none() { self.look(&mut state) } else { Ok(()) };
        match (&state.source, looked) {
            (Some(source), _) => Ok((source.clone(), state.generation)),
            (None, Err(failure)) => Err(failure),
            (None, Ok(())) => Err(failure(Stage::Credential, self.files.nothing())),
        }
    }

    fn look(&self, state: &mut State) -> Result<(), Failure> {
        state.looked = Some(Instant::now());
        let found = match self.files.find() {
            Ok(found) => found,
            Err(unfit) => {
                let failure = failure(Stage::Credential, unfit);
                let first = !std::mem::replace(&mut state.failing, true);
                if first && state.source.is_some() {
                    tracing::warn!("{}; the last keys stay in use", failure.what());
                }
                return Err(failure);
            }
        };
        state.failing = false;
        let same = match (&state.source, &found) {
            (Some(Source::Keys(keys)), Found::Keys(found)) => keys == found,
            (Some(Source::Process(process)), Found::Process(argv)) => process.runs(argv),
            _ => false,
        };
        if !same {
            let profile = &self.files.profile;
            if state.source.is_some() {
                tracing::info!("the keys of the AWS profile {profile} were read again");
            }
            state.generation += 1 << ABOVE_THE_PROGRAM;
            state.source = Some(match found {
                Found::Keys(keys) => Source::Keys(keys),
                Found::Process(argv) => Source::Process(Arc::new(Process::new(profile, argv))),
            });
        }
        Ok(())
    }

    /// Nothing that holds the lock can panic half-way through a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
