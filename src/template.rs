//! The one template language: `${NAME}` and `${NAME:-default}` in values that a user wrote.
//!
//! Only `${` is special, so that `$`, `$$` and a signer's own `{name}` pass as they are. What a
//! variable holds is never read as a template again, and never shown in an error: only names are.

mod fields;

pub use self::fields::{FieldError, Fields, Piece};

use thiserror::Error;

/// Why a template could not be filled in; names variables, never what they hold.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The variable is unset and the template has no default.
    #[error("the variable {name} is not set")]
    Unset {
        /// The variable.
        name: String,
    },
    /// The variable is set to nothing and the template has no default.
    #[error("the variable {name} is empty")]
    Empty {
        /// The variable.
        name: String,
    },
    /// The text ends before the `}`.
    #[error("expected `}}` to close `${{{name}`, found the end of the value")]
    Unclosed {
        /// As much of the variable's name as there is.
        name: String,
    },
    /// What follows `${` is no name, or what follows the name is neither `}` nor `:-`.
    #[error("expected a variable's name and then `}}` or `:-` after `${{{name}`, found {found:?}")]
    BadName {
        /// As much of the variable's name as there is. What comes after it is left out, since
        /// `${TOKEN-abc}` is a slip of the pen that has a value behind it.
        name: String,
        /// The first character that does not belong.
        found: char,
    },
    /// A default that is itself a template.
    #[error("the default of `${{{name}:-...}}` holds another `${{`, expected plain text")]
    Nested {
        /// The variable.
        name: String,
    },
}

impl Error {
    /// The next step for the user.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unset { name } => format!(
                "MCP clients may start servers with a scrubbed environment: set {name} in the \
                 \"env\" of the client's configuration, or give a default: ${{{name}:-...}}"
            ),
            Self::Empty { name } => format!(
                "give {name} a value in the \"env\" of the client's configuration, or a default: \
                 ${{{name}:-...}}"
            ),
            Self::BadName { name, found: ':' } if name == "env" => {
                "write ${NAME}, without the env: in front".to_owned()
            }
            Self::Unclosed { .. } | Self::BadName { .. } | Self::Nested { .. } => {
                "the forms are ${NAME} and ${NAME:-default}; names are of letters, digits and `_`"
                    .to_owned()
            }
        })
    }
}

/// `text` with every `${NAME}` and `${NAME:-default}` replaced by what `lookup` knows.
///
/// As in sh, `:-` takes the default for a variable that is unset or empty. Replaced text is not
/// searched again.
///
/// # Errors
///
/// A variable without value or default, and a template that is malformed.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, Error> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, template)) = rest.split_once("${") {
        expanded.push_str(before);
        let (name, after) = split_name(template);
        let (default, left) = match after.strip_prefix(":-").filter(|_| !name.is_empty()) {
            Some(default) => plain_default(name, default)?,
            None => (None, close(name, after)?),
        };
        let named = || name.to_owned();
        let value = lookup(name).filter(|value| default.is_none() || !value.is_empty());
        match (value, default) {
            (Some(value), _) if value.is_empty() => return Err(Error::Empty { name: named() }),
            (Some(value), _) => expanded.push_str(&value),
            (None, Some(default)) => expanded.push_str(default),
            (None, None) => return Err(Error::Unset { name: named() }),
        }
        rest = left;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The name at the start of `template`, which is empty when it starts with none, and what follows.
fn split_name(template: &str) -> (&str, &str) {
    let end = template
        .bytes()
        .enumerate()
        .position(|(at, byte)| {
            let letter = byte.is_ascii_alphabetic() || byte == b'_';
            !(letter || (at > 0 && byte.is_ascii_digit()))
        })
        .unwrap_or(template.len());
    template.split_at(end)
}

/// The default up to its `}`, and what follows that.
fn plain_default<'a>(name: &str, text: &'a str) -> Result<(Option<&'a str>, &'a str), Error> {
    let (default, left) =
        text.split_once('}').ok_or_else(|| Error::Unclosed { name: name.to_owned() })?;
    if default.contains("${") {
        return Err(Error::Nested { name: name.to_owned() });
    }
    Ok((Some(default), left))
}

/// What follows the `}` that has to come right after `name`.
fn close<'a>(name: &str, after: &'a str) -> Result<&'a str, Error> {
    let mut characters = after.chars();
    match characters.next() {
        Some('}') if !name.is_empty() => Ok(characters.as_str()),
        Some(found) => Err(Error::BadName { name: name.to_owned(), found }),
        None => Err(Error::Unclosed { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "TENANT" => Some("acme".to_owned()),
            "EMPTY" => Some(String::new()),
            "SLY" => Some("${TENANT}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn templates_are_filled_in() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("${TENANT}", "acme"),
            ("https://${TENANT}.example.com/${TENANT}?x", "https://acme.example.com/acme?x"),
            ("${NONE:-fallback}", "fallback"),
            ("${NONE:-}", ""),
            ("${EMPTY:-fallback}", "fallback"),
            ("${TENANT:-fallback}", "acme"),
            ("${NONE:-a:-b}", "a:-b"),
            ("$TENANT $$ $ {TENANT} {timestamp}", "$TENANT $$ $ {TENANT} {timestamp}"),
            ("$${TENANT}", "$acme"),
            ("é${TENANT}é", "éacmeé"),
            ("}${TENANT}}", "}acme}"),
        ] {
            assert_eq!(expand(text, &lookup).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_a_variable_holds_is_no_template() {
        assert_eq!(expand("${SLY}", &lookup).as_deref(), Ok("${TENANT}"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let name = |name: &str| name.to_owned();
        for (text, expected) in [
            ("${NONE}", Error::Unset { name: name("NONE") }),
            ("${EMPTY}", Error::Empty { name: name("EMPTY") }),
            ("${TENANT", Error::Unclosed { name: name("TENANT") }),
            ("${", Error::Unclosed { name: name("") }),
            ("${NONE:-x", Error::Unclosed { name: name("NONE") }),
            ("${}", Error::BadName { name: name(""), found: '}' }),
            ("${:-x}", Error::BadName { name: name(""), found: ':' }),
            ("${1A}", Error::BadName { name: name(""), found: '1' }),
            ("${A B}", Error::BadName { name: name("A"), found: ' ' }),
            ("${TOKEN-sk-1}", Error::BadName { name: name("TOKEN"), found: '-' }),
            ("${env:TOKEN}", Error::BadName { name: name("env"), found: ':' }),
            ("${É}", Error::BadName { name: name(""), found: 'É' }),
            ("${A:-${B}}", Error::Nested { name: name("A") }),
        ] {
            assert_eq!(expand(text, &lookup), Err(expected), "{text}");
        }
    }

    #[test]
    fn nothing_behind_the_name_is_shown() {
        for text in ["${TOKEN-canary}", "${TOKEN:?canary}", "${TOKEN canary", "${TOKEN:-canary"] {
            let error = expand(text, &lookup).unwrap_err();
            let shown = format!("{error} {error:?} {:?}", error.hint());
            assert!(!shown.contains("canary"), "{shown}");
            assert!(shown.contains("TOKEN"), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn text_without_templates_is_left_alone(text in "[^$]*|[$][^{]*") {
            prop_assert_eq!(expand(&text, &|_| None), Ok(text));
        }

        #[test]
        fn any_text_is_answered(text in "([$][{]|[}]|:-|[A-Z]|.){0,40}") {
            let _ = expand(&text, &|name| Some(name.to_lowercase()));
        }

        #[test]
        fn parts_expand_as_the_whole(
            parts in prop::collection::vec(("[a-z/.{}]{0,8}", "[A-Z_][A-Z0-9_]{0,8}", ".{0,8}"), 0..6),
        ) {
            let (mut text, mut expected) = (String::new(), String::new());
            for (plain, name, _) in &parts {
                text.push_str(&format!("{plain}${{{name}:-none}}"));
                let value = parts.iter().find(|(_, other, value)| other == name && !value.is_empty());
                let value = value.map_or("none", |(_, _, value)| value);
                expected.push_str(plain);
                expected.push_str(value);
            }
            let known = |wanted: &str| {
                let named = parts.iter().find(|(_, name, value)| name == wanted && !value.is_empty());
                named.map(|(_, _, value)| value.clone())
            };
            prop_assert_eq!(expand(&text, &known), Ok(expected));
        }
    }
}
