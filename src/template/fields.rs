//! `{name}` in a text: what a signer fills in for each request.
//!
//! Parsed once, at start, so that a name nobody knows is a mistake of the configuration. `{{` and
//! `}}` stand for the braces themselves. What is filled in is bytes, and is not searched again.

use thiserror::Error;

/// Why a text with fields could not be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FieldError {
    /// A `{` without its `}`, or a `}` without its `{`.
    #[error("expected `{{name}}`, found a brace alone")]
    Brace,
    /// A name that the place does not know.
    #[error("the field {{{name}}} is not known here")]
    Unknown {
        /// The name.
        name: String,
    },
}

/// A text with fields, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<Piece>);

/// A part of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// The name of what is filled in.
    Field(String),
}

impl Fields {
    /// Takes `text` apart; `known` says which names can be filled in.
    ///
    /// # Errors
    ///
    /// A brace alone, and a name that is not known.
    pub fn parse(text: &str, known: impl Fn(&str) -> bool) -> Result<Self, FieldError> {
        let (mut pieces, mut plain) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(left) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = left;
                continue;
            }
            let (name, left) = match (brace, after.split_once('}')) {
                ("{", Some((name, left))) if !name.contains('{') => (name, left),
                _ => return Err(FieldError::Brace),
            };
            if !known(name) {
                return Err(FieldError::Unknown { name: name.to_owned() });
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Field(name.to_owned()));
            rest = left;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The names in it, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Field(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text piece by piece, for those who need it in no one place: a body is not copied only
    /// to be hashed.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Hands over the text piece by piece, each field as what `value` makes of its name.
    ///
    /// # Errors
    ///
    /// The first that `value` returns.
    pub fn fill<E>(
        &self,
        out: &mut Vec<u8>,
        mut value: impl FnMut(&str, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Field(name) => value(name, out)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn filled(text: &str) -> Result<String, FieldError> {
        let fields = Fields::parse(text, |name| name != "none")?;
        let mut out = Vec::new();
        fields.fill(&mut out, |name, out| {
            out.extend_from_slice(name.to_uppercase().as_bytes());
            Ok::<(), FieldError>(())
        })?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn fields_are_filled_in_and_braces_stay() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("{method}\n{path}", "METHOD\nPATH"),
            ("t={timestamp},v1={header:X-A}.", "t=TIMESTAMP,v1=HEADER:X-A."),
            ("{{{a}}}", "{A}"),
            ("{{}}", "{}"),
        ] {
            assert_eq!(filled(text).unwrap(), expected, "{text}");
        }
        for text in ["{", "}", "{a", "a}", "{a{b}}", "}}{"] {
            assert_eq!(filled(text), Err(FieldError::Brace), "{text}");
        }
        assert!(filled("{none}").unwrap_err().to_string().contains("{none}"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "([{]|[}]|[a-z]|.){0,40}") {
            let _ = filled(&text);
        }

        #[test]
        fn escaped_text_comes_back(text in ".{0,40}") {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(filled(&escaped), Ok(text));
        }
    }
}
