//! What one source said, be it the flags or a profile: texts, each with the place it came from.
//!
//! Both sources are read into the same shape, so that precedence is a matter of two [`Layer`]s.
//! Nothing here is expanded, opened or checked against anything else.

use std::{borrow::Cow, fmt, path::Path, sync::Arc};

use crate::{
    failure::{Failure, Stage},
    secret::Reference,
};

use super::sent::Sent;

/// Where a value was given, the way its error text names it.
#[derive(Clone)]
pub(super) enum Place {
    /// A flag, a repeatable one with the header it is about, or the URL argument.
    Flag(Cow<'static, str>),
    /// A key of the file.
    Key {
        /// The file.
        file: Arc<Path>,
        /// Its line, from 1.
        line: usize,
        /// The key, dotted.
        key: String,
    },
    /// A variable of the environment.
    Variable(&'static str),
}

impl Place {
    /// A flag that can be given once.
    pub(super) const fn flag(name: &'static str) -> Self {
        Self::Flag(Cow::Borrowed(name))
    }

    /// The folder that relative paths given here are relative to, where that is not the current.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Key { file, .. } => file.parent(),
            Self::Flag(_) | Self::Variable(_) => None,
        }
    }

    /// A failure of the value given here.
    pub(super) fn refuse(&self, what: impl fmt::Display) -> Failure {
        Failure::new(Stage::Configuration, format!("{self}: {what}"))
    }

    /// The same with the next step, where there is one.
    pub(super) fn explain(&self, what: impl fmt::Display, hint: Option<String>) -> Failure {
        let refused = self.refuse(what);
        match hint {
            Some(hint) => refused.hint(hint),
            None => refused,
        }
    }

    /// What another module said of the value given here, with the place in front.
    pub(super) fn blame(&self, failure: &Failure) -> Failure {
        self.explain(failure, failure.next_step().map(str::to_owned))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => f.write_str(name),
            Self::Variable(name) => f.write_str(name),
            Self::Key { file, line, key } => write!(f, "{}:{line}: {key}", file.display()),
        }
    }
}

/// A value and where it was given.
pub(super) struct Stated<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A user, and the reference to the password.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Reference,
}

/// A variable for a command.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: VariableValue,
}

/// What a variable is to hold: a text that is no secret, or a secret.
pub(super) enum VariableValue {
    Text(String),
    Secret(Reference),
}

/// What one source said.
#[derive(Default)]
pub(super) struct Layer {
    pub(super) url: Option<Stated<String>>,
    pub(super) cert: Option<Stated<String>>,
    pub(super) key: Option<Stated<String>>,
    pub(super) key_passphrase: Option<Stated<Reference>>,
    pub(super) cacert: Vec<Stated<String>>,
    pub(super) system_roots: Option<bool>,
    pub(super) pinnedpubkey: Option<Stated<String>>,
    pub(super) server_name: Option<Stated<String>>,
    pub(super) tls_min: Option<Stated<String>>,
    pub(super) http: Option<Stated<String>>,
    pub(super) sent: Vec<Stated<Sent>>,
    pub(super) proxy: Option<Stated<String>>,
    pub(super) proxy_user: Option<Stated<Login>>,
    pub(super) connect_timeout: Option<Stated<String>>,
    pub(super) idle_timeout: Option<Stated<String>>,
    pub(super) max_message: Option<Stated<String>>,
    pub(super) env_file: Option<Stated<String>>,
    pub(super) env: Option<Vec<Stated<Variable>>>,
}

/// All that was said, in the order of precedence.
pub(super) struct Layers {
    pub(super) flags: Layer,
    pub(super) profile: Layer,
}

impl Layers {
    /// The flag's value, else the profile's.
    pub(super) fn first<T>(&self, of: impl Fn(&Layer) -> &Option<T>) -> Option<&T> {
        of(&self.flags).as_ref().or(of(&self.profile).as_ref())
    }
}
