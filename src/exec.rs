//! A local server, started with its credentials in its environment.
//!
//! Everything that it is to have is fetched first; then it takes this process's place, so that
//! its standard streams, signals and exit status are its own, and nobody is left between who
//! holds secrets. Where the system can't do that, it is waited for. Secrets go into its
//! environment and nowhere else; when one can't be had, nothing is started.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::Path,
    process::Command,
};

use futures_util::future::try_join_all;

use crate::{
    failure::{Failure, Stage},
    secret::Held,
};

/// What is started, and with what.
pub struct Settings {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// What is set in its environment.
    pub variables: Vec<Variable>,
    /// Variables that hold secrets for us, and are not passed on under their own names.
    pub withheld: Vec<String>,
}

/// A variable for the program.
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where it was said, for errors.
    pub place: String,
    /// What it is to hold.
    pub value: Value,
}

/// What a variable is to hold.
pub enum Value {
    /// A text that is no secret.
    Text(String),
    /// A secret.
    Secret(Held),
}

impl Settings {
    /// Whether everything is at hand: no program is to be run for it, and nobody asked.
    #[must_use]
    pub fn at_hand(&self) -> bool {
        self.variables.iter().all(|variable| match &variable.value {
            Value::Text(_) => true,
            Value::Secret(secret) => secret.at_hand().is_some(),
        })
    }
}

/// Fetches every secret, all at once.
///
/// # Errors
///
/// At [`Stage::Credential`]: one can't be had, or no variable can hold it.
pub async fn prepare(settings: Settings) -> Result<Command, Failure> {
    let Settings { command, variables, withheld } = settings;
    let values = try_join_all(variables.iter().map(Variable::fetch)).await?;
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| Failure::new(Stage::Configuration, "expected a command, found none"))?;
    let mut prepared = Command::new(program);
    prepared.args(arguments);
    for name in withheld {
        prepared.env_remove(name);
    }
    prepared.envs(variables.iter().map(|variable| &variable.name).zip(values));
    Ok(prepared)
}

impl Variable {
    async fn fetch(&self) -> Result<OsString, Failure> {
        let secret = match &self.value {
            Value::Text(text) => return Ok(text.into()),
            Value::Secret(secret) => secret,
        };
        let (value, _) = secret.current().await.map_err(|error| {
            let failure = Failure::new(Stage::Credential, format!("{}: {error}", self.place));
            match error.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        os_string(value.expose()).ok_or_else(|| {
            let place = &self.place;
            let reference = secret.reference();
            let what = format!("{place}: the secret {reference} can't be held by a variable");
            Failure::new(Stage::Credential, what)
                .hint("it has a NUL in it, or is no text: hand it over as a file")
        })
    }
}

#[cfg(unix)]
fn os_string(value: &[u8]) -> Option<OsString> {
    use std::os::unix::ffi::OsStrExt;

    (!value.contains(&0)).then(|| OsStr::from_bytes(value).to_owned())
}

#[cfg(not(unix))]
fn os_string(value: &[u8]) -> Option<OsString> {
    let text = std::str::from_utf8(value).ok()?;
    (!text.contains('\0')).then(|| OsStr::new(text).to_owned())
}

/// Why the command was not started, and the exit code that says so, as env(1) has it.
pub struct NotStarted {
    /// In words.
    pub failure: Failure,
    /// 127 where there is no such program, else 126.
    pub code: u8,
}

impl NotStarted {
    fn new(command: &Command, error: &io::Error) -> Self {
        let program = Path::new(command.get_program()).display();
        let what = format!("the command {program} could not be started: {error}");
        let failure = Failure::new(Stage::Configuration, what);
        if error.kind() != io::ErrorKind::NotFound {
            return Self { failure: failure.hint("check that it can be executed"), code: 126 };
        }
        let hint = "clients may start programs with a short PATH: give the program's full path";
        Self { failure: failure.hint(hint), code: 127 }
    }
}

/// Runs the command in this process's place. Where the system has no such thing, runs it to its
/// end and returns its exit code.
///
/// # Errors
///
/// The command could not be started.
#[cfg(unix)]
pub fn run(mut command: Command) -> Result<u8, NotStarted> {
    use std::os::unix::process::CommandExt;

    crate::stdio::give_back();
    let error = command.exec();
    Err(NotStarted::new(&command, &error))
}

/// Runs the command in this process's place. Where the system has no such thing, runs it to its
/// end and returns its exit code.
///
/// # Errors
///
/// The command could not be started.
#[cfg(not(unix))]
pub fn run(mut command: Command) -> Result<u8, NotStarted> {
    let status = command.status().map_err(|error| NotStarted::new(&command, &error))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
