//! Why a secret could not be had, in words for the person who has to mend it.
//!
//! Names variables, files, programs and entries; never a value, nor what was found in its place.

use std::{borrow::Cow, io, path::PathBuf, sync::Arc, time::Duration};

use super::cached::Interrupted;

/// Why a secret could not be had. Cheap to clone: one failed read answers all who waited for it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A value, or something unknown, where a reference was expected.
    #[error("expected a reference to a secret, found something else")]
    Literal,
    /// `env:` and something that is not a variable's name.
    #[error("expected env:NAME, found something after env: that is not a variable's name")]
    BadName,
    /// A reference that names nothing.
    #[error("expected {form}, found nothing after the colon")]
    Incomplete {
        /// What was expected.
        form: &'static str,
    },
    /// `keyring:` and something that is not a service and an account.
    #[error("expected keyring:SERVICE/ACCOUNT, found no slash with something on both sides")]
    BadEntry,
    /// A command with quotes in it.
    #[error(
        "found quotes in a command: reference, which is split at blanks and run without a shell"
    )]
    Quotes,
    /// The variable does not exist.
    #[error("the variable {name} is not set")]
    Unset {
        /// Its name.
        name: String,
    },
    /// The file could not be read.
    #[error("the file {} could not be read: {source}", path.display())]
    File {
        /// Its path, as configured.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The file is no longer one that can be read twice.
    #[error("the file {} was replaced by something that is not a file", path.display())]
    NotAFile {
        /// Its path, as configured.
        path: PathBuf,
    },
    /// There is nothing in it.
    #[error("the secret {reference} is empty")]
    Empty {
        /// Where it is.
        reference: String,
    },
    /// It begins or ends with white space.
    #[error("the secret {reference} has white space at its beginning or end")]
    Blank {
        /// Where it is.
        reference: String,
    },
    /// It begins with the mark some editors write.
    #[error("the secret {reference} begins with a byte order mark")]
    ByteOrderMark {
        /// Where it is.
        reference: String,
    },
    /// It is longer than any secret.
    #[error("the secret {reference} is longer than {maximum} bytes")]
    TooLong {
        /// Where it is.
        reference: String,
        /// The limit, in bytes.
        maximum: usize,
    },
    /// The program could not be started, or its output not be read.
    #[error("{program} could not be run: {source}")]
    Program {
        /// Which one.
        program: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The program said that it failed.
    #[error("{program} failed with {status}")]
    Exit {
        /// Which one.
        program: String,
        /// Its exit status or signal.
        status: std::process::ExitStatus,
    },
    /// The program did not finish in time and was killed.
    #[error("{program} was not done after {} s and was killed", after.as_secs())]
    Deadline {
        /// Which one.
        program: String,
        /// How long it was given.
        after: Duration,
    },
    /// The program printed more than anyone wants, and was killed.
    #[error("{program} printed more than {} KiB and was killed", maximum / 1024)]
    Flood {
        /// Which one.
        program: String,
        /// The limit, in bytes.
        maximum: usize,
    },
    /// This program can't read keyrings at all.
    #[error("{reference} can't be read: this countersign was built without keyring support")]
    NoKeyring {
        /// The entry.
        reference: String,
    },
    /// The keyring could not be asked, or gave an answer that is no secret.
    #[error("the keyring could not be asked for {reference}: {why}")]
    Keyring {
        /// The entry.
        reference: String,
        /// What the system said.
        why: Cow<'static, str>,
    },
    /// The keyring has no such entry.
    #[error("the keyring has no entry {reference}")]
    NoEntry {
        /// The entry.
        reference: String,
    },
    /// The keyring did not answer in time.
    #[error("the keyring gave no answer for {reference} in {} s", after.as_secs())]
    Locked {
        /// The entry.
        reference: String,
        /// How long it was given.
        after: Duration,
    },
    /// The program's run was given up before its end.
    #[error("{0}")]
    Interrupted(#[from] Interrupted),
}

impl Error {
    /// The next step, where there is one to name.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Literal => {
                "secrets are not written on the command line, where every process can read them: \
                 give env:NAME, file:PATH, command:PROGRAM or keyring:SERVICE/ACCOUNT"
            }
            Self::BadName => "write the name without a $, as in env:API_TOKEN",
            Self::Incomplete { .. } => "give env:NAME, file:PATH or command:PROGRAM",
            Self::BadEntry => "the last slash parts the two, as in keyring:mcp.example.com/alice",
            Self::Quotes => {
                "give the command as a list in the configuration file, one argument an item"
            }
            Self::Unset { name } => {
                return Some(format!(
                    "clients may start programs without your shell's variables: give {name} in \
                     the \"env\" of the client's configuration"
                ));
            }
            Self::File { path, source } => return file_hint(path, source),
            Self::NotAFile { .. } => "put the file back",
            Self::Empty { .. } => "write the secret there, or remove the flag that refers to it",
            Self::Blank { .. } => "remove it; one newline at the end of a file is fine",
            Self::ByteOrderMark { .. } => "save the file as UTF-8 without a byte order mark",
            Self::TooLong { .. } => "check that it is the right one",
            Self::Program { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "clients may start programs with a short PATH: give the program's full path"
            }
            Self::Program { .. } => "check that the program can be executed",
            Self::Exit { .. } => "run it by hand, or see with --debug what it wrote",
            Self::Deadline { .. } => {
                "it has no terminal to ask on and must end by itself; see with --debug what it wrote"
            }
            Self::Flood { .. } => {
                "its standard output is for what it is asked for alone: send the rest to stderr"
            }
            Self::NoKeyring { .. } => {
                "build it with cargo build --release --features keyring, or keep the secret where \
                 file:PATH or command:PROGRAM finds it"
            }
            Self::Keyring { .. } => {
                "a machine without a desktop session has no keyring: use file:PATH or \
                 command:PROGRAM there; on a desktop, clients may have to pass on \
                 DBUS_SESSION_BUS_ADDRESS in the \"env\" of their configuration"
            }
            Self::NoEntry { .. } if cfg!(target_os = "macos") => {
                "put it there: security add-generic-password -s SERVICE -a ACCOUNT -w"
            }
            Self::NoEntry { .. } if cfg!(windows) => {
                "put it there: cmdkey /generic:ACCOUNT.SERVICE /user:ACCOUNT /pass"
            }
            Self::NoEntry { .. } => {
                "put it there: secret-tool store --label=LABEL service SERVICE username ACCOUNT"
            }
            Self::Locked { .. } => {
                "it may be asking to be unlocked where nobody looks: unlock it, and try again"
            }
            Self::Interrupted(_) => return None,
        };
        Some(hint.to_owned())
    }
}

fn file_hint(path: &std::path::Path, source: &io::Error) -> Option<String> {
    let hint = match source.kind() {
        io::ErrorKind::NotFound if path.starts_with("~") => {
            "no shell expands ~ here: give the full path"
        }
        io::ErrorKind::NotFound if path.is_relative() => {
            "a relative path begins where the client started countersign: give the full path"
        }
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => {
            "the user that countersign runs as must be able to read it"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}
