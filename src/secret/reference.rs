//! Where a secret is: a variable, a file, what a program prints, or the desktop's keyring.
//!
//! Literals are refused without being repeated: what was written in the place of a reference is
//! in all likelihood the secret itself.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use super::Error;

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum Reference {
    /// `env:NAME`, a variable of our own environment.
    Env(String),
    /// `file:PATH`, the whole file but for the newline at its end.
    File(PathBuf),
    /// `command:PROGRAM ARGUMENT`, what a program prints; it is started without a shell.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
        /// How long what it printed is good for; without it, until the value is refused.
        ttl: Option<Duration>,
    },
    /// `keyring:SERVICE/ACCOUNT`, an entry of the desktop's keyring.
    Keyring {
        /// What the secret is for; it may have slashes in it, as a URL has.
        service: String,
        /// Whose it is.
        account: String,
    },
}

impl Reference {
    /// The keyring's entry `SERVICE/ACCOUNT`. The last slash parts the two.
    ///
    /// # Errors
    ///
    /// One of the two is missing.
    pub fn keyring(entry: &str) -> Result<Self, Error> {
        let (service, account) = entry.rsplit_once('/').unwrap_or_default();
        Self::Keyring { service: service.to_owned(), account: account.to_owned() }.complete()
    }

    /// Whether it names something at all; a configuration file can say an empty list.
    pub(super) fn complete(self) -> Result<Self, Error> {
        let missing = match &self {
            Self::Env(name) if !is_name(name) => return Err(Error::BadName),
            Self::File(path) if path.as_os_str().is_empty() => "file:PATH",
            Self::Command { argv, .. } if argv.first().is_none_or(String::is_empty) => {
                "command:PROGRAM"
            }
            Self::Keyring { service, account } if service.is_empty() || account.is_empty() => {
                return Err(Error::BadEntry);
            }
            _ => return Ok(self),
        };
        Err(Error::Incomplete { form: missing })
    }
}

/// A name that a shell can set. Anything else is rather the value: `env:$TOKEN` in double quotes
/// arrives as `env:` and the token.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl FromStr for Reference {
    type Err = Error;

    /// Reads `env:NAME`, `file:PATH`, `command:PROGRAM ARGUMENT` (split at blanks) or
    /// `keyring:SERVICE/ACCOUNT`.
    ///
    /// # Errors
    ///
    /// Anything else is taken for a literal secret and not repeated. Quotes in a command are an
    /// error too: there is no shell that would take them off.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (scheme, rest) = text.split_once(':').ok_or(Error::Literal)?;
        match scheme {
            "env" => Self::Env(rest.to_owned()),
            "file" => Self::File(rest.into()),
            "command" if rest.contains(['"', '\'']) => return Err(Error::Quotes),
            "command" => Self::Command {
                argv: rest.split_ascii_whitespace().map(str::to_owned).collect(),
                ttl: None,
            },
            "keyring" => return Self::keyring(rest),
            _ => return Err(Error::Literal),
        }
        .complete()
    }
}

/// For error texts. A command's arguments are left out: they may be nobody's business.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Command { argv, .. } => {
                f.write_str("command:")?;
                f.write_str(argv.first().map_or("", String::as_str))?;
                f.write_str(if argv.len() > 1 { " ..." } else { "" })
            }
            Self::Keyring { service, account } => write!(f, "keyring:{service}/{account}"),
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_forms() {
        assert_eq!("env:TOKEN".parse::<Reference>().unwrap(), Reference::Env("TOKEN".into()));
        assert_eq!(
            "file:/run/a b".parse::<Reference>().unwrap(),
            Reference::File("/run/a b".into())
        );
        let command = "command:vault read  -field=x path".parse::<Reference>().unwrap();
        let argv = ["vault", "read", "-field=x", "path"].map(str::to_owned).to_vec();
        assert_eq!(command, Reference::Command { argv, ttl: None });
        assert_eq!(command.to_string(), "command:vault ...");
        assert_eq!(format!("{command:?}"), "command:vault ...");
    }

    #[test]
    fn a_literal_is_refused_and_not_repeated() {
        for literal in ["canary", "canary:x", "Bearer canary", "ENV:canary", "env:canary.e-y"] {
            let error = literal.parse::<Reference>().unwrap_err();
            let said = format!("{error} {error:?} {:?}", error.hint());
            assert!(!said.contains("canary"), "{said}");
            assert!(error.hint().unwrap().contains("env:"), "{said}");
        }
    }

    #[test]
    fn a_reference_to_nothing_is_refused() {
        assert!(matches!("env:".parse::<Reference>(), Err(Error::BadName)));
        assert!(matches!("file:".parse::<Reference>(), Err(Error::Incomplete { .. })));
        assert!(matches!("command:  ".parse::<Reference>(), Err(Error::Incomplete { .. })));
        assert!(matches!("command:sh -c 'x y'".parse::<Reference>(), Err(Error::Quotes)));
    }

    #[test]
    fn an_entry_of_the_keyring_has_a_service_and_an_account() {
        for (text, service, account) in [
            ("keyring:mcp/alice", "mcp", "alice"),
            ("keyring:https://mcp.example.com/mcp/alice", "https://mcp.example.com/mcp", "alice"),
            ("keyring:corp mcp/alice@example.com", "corp mcp", "alice@example.com"),
        ] {
            let read = text.parse::<Reference>().unwrap();
            let expected =
                Reference::Keyring { service: service.to_owned(), account: account.to_owned() };
            assert_eq!(read, expected);
            assert_eq!(read.to_string(), text);
        }
        for text in
            ["keyring:", "keyring:/", "keyring:canary", "keyring:canary/", "keyring:/canary"]
        {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(matches!(error, Error::BadEntry), "{error:?}");
            assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("canary"));
        }
    }
}
