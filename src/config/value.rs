//! Values of the TOML file, read as what their key expects.
//!
//! An [`Item`] is a key with its value and the line it stands in. It is asked for one form, and
//! says what it found instead by its type, never by its content.

use std::{path::Path, sync::Arc};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use crate::{credentials::key::Encoding, failure::Failure, secret::Reference};

use super::{
    forms,
    nearest::nearest,
    place::{Login, Place, Stated},
};

const REFERENCE_KEYS: [&str; 5] = ["env", "file", "command", "keyring", "ttl"];

/// Where values stand.
pub(super) enum Source<'t> {
    /// The file, by its name, and its text, for the lines.
    File { file: Arc<Path>, text: &'t str },
    /// A flag that takes pairs.
    Flag(&'static str),
}

impl Source<'_> {
    /// The line of a byte of the text, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        let Self::File { text, .. } = self else { return 1 };
        1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }

    fn place(&self, key: &str, at: usize) -> Place {
        match self {
            Self::File { file, .. } => {
                Place::Key { file: file.clone(), line: self.line(at), key: key.to_owned() }
            }
            Self::Flag(flag) => Place::Flag(format!("{flag} {key}").into()),
        }
    }
}

/// A key, its value, and where it stands.
pub(super) struct Item<'t> {
    pub(super) name: &'t str,
    pub(super) place: Place,
    source: &'t Source<'t>,
    value: &'t DeValue<'t>,
}

impl<'t> Item<'t> {
    /// The items of the whole document.
    pub(super) fn of_document(source: &'t Source<'t>, table: &'t DeTable<'t>) -> Vec<Self> {
        table.iter().map(|(key, value)| Self::new(source, key, value)).collect()
    }

    fn new(
        source: &'t Source<'t>,
        key: &'t Spanned<DeString<'_>>,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Self {
        let name = key.get_ref().as_ref();
        let place = source.place(name, key.span().start);
        Self { name, place, source, value: value.get_ref() }
    }

    /// What a flag says in pairs, as if a profile had said it in a table.
    pub(super) fn of_flag(source: &'t Source<'t>, value: &'t DeValue<'t>) -> Self {
        let name = match source {
            Source::Flag(flag) => flag,
            Source::File { .. } => "",
        };
        Self { name, place: Place::flag(name), source, value }
    }

    /// The items of a table.
    pub(super) fn items(&self) -> Result<Vec<Self>, Failure> {
        match self.value {
            DeValue::Table(table) => Ok(Self::of_document(self.source, table)),
            _ => Err(self.expected("a table")),
        }
    }

    /// Whether this is a table that is a reference rather than a table of them.
    pub(super) fn is_reference(&self) -> bool {
        let DeValue::Table(table) = self.value else { return false };
        REFERENCE_KEYS.iter().any(|key| table.contains_key(*key))
    }

    /// The value itself, for those who take any form.
    pub(super) fn value(&self) -> &'t DeValue<'t> {
        self.value
    }

    /// The text, where the value is a string.
    pub(super) fn text(&self) -> Option<&'t str> {
        match self.value {
            DeValue::String(text) => Some(text.as_ref()),
            _ => None,
        }
    }

    pub(super) fn string(&self) -> Result<Stated<String>, Failure> {
        let text = self.text().ok_or_else(|| self.expected("a string"))?;
        Ok(self.stated(text.to_owned()))
    }

    /// A string or a list of strings.
    pub(super) fn strings(&self) -> Result<Vec<Stated<String>>, Failure> {
        let refused = || self.expected("a string or a list of strings");
        match self.value {
            DeValue::String(text) => Ok(vec![self.stated(text.to_string())]),
            DeValue::Array(list) => list
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => Ok(self.stated(text.to_string())),
                    _ => Err(refused()),
                })
                .collect(),
            _ => Err(refused()),
        }
    }

    /// A string, or a number for what looks like one: a version, seconds, bytes.
    pub(super) fn scalar(&self) -> Result<Stated<String>, Failure> {
        match self.value {
            DeValue::String(text) => Ok(self.stated(text.to_string())),
            DeValue::Integer(number) => Ok(self.stated(number.to_string())),
            DeValue::Float(number) => Ok(self.stated(number.to_string())),
            _ => Err(self.expected("a string or a number")),
        }
    }

    /// A scalar or a list of them.
    pub(super) fn scalars(&self) -> Result<Vec<Stated<String>>, Failure> {
        let DeValue::Array(list) = self.value else { return Ok(vec![self.scalar()?]) };
        let scalar =
            |value| Self { name: self.name, place: self.place.clone(), source: self.source, value };
        list.iter().map(|item| scalar(item.get_ref()).scalar()).collect()
    }

    pub(super) fn boolean(&self) -> Result<bool, Failure> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.expected("true or false")),
        }
    }

    /// One of several words, as what it stands for.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Failure> {
        let found = self.text().and_then(|text| words.iter().find(|(word, _)| *word == text));
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.place.refuse(format_args!("expected one of {}", words.join(", ")))
        })
    }

    /// How a shared secret is written.
    pub(super) fn key_encoding(&self) -> Result<Encoding, Failure> {
        self.one_of(&[("raw", Encoding::Raw), ("hex", Encoding::Hex), ("base64", Encoding::Base64)])
    }

    /// A reference: its text, or a table with `env`, `file`, `command` (and then `ttl`) or
    /// `keyring`.
    pub(super) fn reference(&self) -> Result<Reference, Failure> {
        if let Some(text) = self.text() {
            return forms::reference(&self.place, text);
        }
        let expected =
            || self.expected("a reference such as \"env:NAME\" or { command = [\"prog\"] }");
        let DeValue::Table(_) = self.value else { return Err(expected()) };
        let (mut ttl, mut found) = (None, Vec::new());
        for item in self.items()? {
            match item.name {
                "env" => found.push(Reference::Env(item.string()?.value)),
                "file" => found.push(Reference::File(item.string()?.value.into())),
                // One string is split as in the text form.
                "command" => found.push(match item.text() {
                    Some(line) => forms::reference(&item.place, &format!("command:{line}"))?,
                    None => {
                        let argv = item.strings()?.into_iter().map(|word| word.value).collect();
                        Reference::Command { argv, ttl: None }
                    }
                }),
                "keyring" => {
                    let entry = Reference::keyring(&item.string()?.value);
                    found.push(entry.map_err(|error| item.place.explain(&error, error.hint()))?);
                }
                "ttl" => {
                    let time = item.scalar()?;
                    let time = forms::duration(&time.value).map_err(|e| item.place.refuse(e))?;
                    ttl = Some(time);
                }
                _ => return Err(item.unknown(&REFERENCE_KEYS)),
            }
        }
        match (found.pop(), ttl) {
            (Some(_), _) if !found.is_empty() => Err(self
                .place
                .refuse("expected one of env, file, command and keyring, found several")),
            (Some(Reference::Command { argv, .. }), _) if argv.is_empty() => {
                Err(self.place.refuse("the command is empty"))
            }
            (Some(Reference::Command { argv, .. }), ttl) => Ok(Reference::Command { argv, ttl }),
            (Some(_), Some(_)) => Err(self.place.refuse("ttl belongs to a command")),
            (Some(reference), None) => Ok(reference),
            (None, _) => Err(expected()),
        }
    }

    /// `"USER:REF"`, or a table with `user` and `password`.
    pub(super) fn login(&self) -> Result<Login, Failure> {
        if let Some(text) = self.text() {
            return forms::login(&self.place, text);
        }
        let (mut user, mut password) = (None, None);
        for item in self.items()? {
            match item.name {
                "user" => user = Some(item.string()?.value),
                "password" => password = Some(item.reference()?),
                _ => return Err(item.unknown(&["user", "password"])),
            }
        }
        match (user, password) {
            (Some(user), Some(password)) => Ok(Login { user, password }),
            _ => Err(self.expected("{ user = \"...\", password = \"env:NAME\" }")),
        }
    }

    /// The value of this key with the place it stands in.
    pub(super) fn stated<T>(&self, value: T) -> Stated<T> {
        Stated { value, place: self.place.clone() }
    }

    /// The failure of a key that is none of `known`.
    pub(super) fn unknown(&self, known: &[&str]) -> Failure {
        self.place.refuse("unknown key").hint(match nearest(self.name, known) {
            Some(name) => format!("did you mean {name}?"),
            None => format!("the keys are: {}", known.join(", ")),
        })
    }

    fn expected(&self, what: &str) -> Failure {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.place.refuse(format_args!("expected {what}, found {found}"))
    }
}
