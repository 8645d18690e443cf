//! Where a secret is: a variable, a file, or what a program prints.
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
}

impl Reference {
    /// Whether it names something at all; a configuration file can say an empty list.
    pub(super) fn complete(self) -> Result<Self, Error> {
        let missing = match &self {
            Self::Env(name) if !is_name(name) => return Err(Error::BadName),
            Self::File(path) if path.as_os_str().is_empty() => "file:PATH",
            Self::Command { argv, .. } if argv.first().is_none_or(String::is_empty) => {
                "command:PROGRAM"
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

    /// Reads `env:NAME`, `file:PATH` or `command:PROGRAM ARGUMENT` (split at blanks).
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
    fn three_forms() {
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
}
