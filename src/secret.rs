//! Where secrets come from, and how they are kept.
//!
//! A secret is never written in a configuration: a [`Reference`] says where it is, a [`Held`]
//! reads it, keeps it current and reads it again when it was refused. Values live in memory that
//! is wiped, print as `<redacted>`, and no error of this module contains one, or a part of one.

pub mod cached;
mod command;
pub mod environment;
mod error;
mod file;
mod held;
mod keyring;
mod program;
mod reference;

pub use error::Error;
pub use file::{contents, warn_of_others};
pub use held::Held;
pub use program::{Hidden, Program};
pub use reference::Reference;

use std::fmt;

use zeroize::Zeroizing;

/// No token, key or passphrase is longer; what is longer is the wrong file.
const MAXIMUM_LENGTH: usize = 64 * 1024;

/// The longest secret, the newline after it, and one byte that shows that there is more.
const READ_AT_MOST: usize = MAXIMUM_LENGTH + 3;

/// A secret's bytes, wiped from memory when dropped. `Debug` prints `<redacted>`.
///
/// Two are compared in a time that depends on their lengths only.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over as they are.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The value, to be written where it is used and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret in what a file or a program's output holds: everybody's files end with a
    /// newline, so one is taken off; any other white space at the ends is a mistake that would
    /// come back as a puzzling 401.
    fn from_text(text: &[u8], reference: &Reference) -> Result<Self, Error> {
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        let line = line.strip_suffix(b"\r").filter(|_| line.len() < text.len()).unwrap_or(line);
        Self::from_value(line, reference)
    }

    /// The secret that is exactly `value`. A key in PEM says itself where it ends: blank lines
    /// behind it mean nothing.
    fn from_value(value: &[u8], reference: &Reference) -> Result<Self, Error> {
        let pem = value.starts_with(b"-----BEGIN ");
        let value = if pem { value.trim_ascii_end() } else { value };
        let place = || reference.to_string();
        let (Some(first), Some(last)) = (value.first(), value.last()) else {
            return Err(Error::Empty { reference: place() });
        };
        if value.len() > MAXIMUM_LENGTH {
            return Err(Error::TooLong { reference: place(), maximum: MAXIMUM_LENGTH });
        }
        if value.starts_with(b"\xef\xbb\xbf") {
            return Err(Error::ByteOrderMark { reference: place() });
        }
        if first.is_ascii_whitespace() || last.is_ascii_whitespace() {
            return Err(Error::Blank { reference: place() });
        }
        Ok(Self::new(value))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let differences = self.0.iter().zip(other.0.iter()).fold(0, |seen, (a, b)| seen | (a ^ b));
        self.0.len() == other.0.len() && std::hint::black_box(differences) == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// Everything that is logged on this thread while the guard lives, at every level.
    pub(super) fn capture() -> (tracing::subscriber::DefaultGuard, Arc<Mutex<Vec<u8>>>) {
        struct Lines(Arc<Mutex<Vec<u8>>>);

        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&lines);
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || Lines(Arc::clone(&writer)))
            .finish();
        (tracing::subscriber::set_default(subscriber), lines)
    }

    fn read(text: &[u8]) -> Result<Vec<u8>, Error> {
        let reference = Reference::File("/run/token".into());
        Secret::from_text(text, &reference).map(|secret| secret.expose().to_vec())
    }

    #[test]
    fn one_newline_at_the_end_is_not_part_of_it() {
        assert_eq!(read(b"canary\n").unwrap(), b"canary");
        assert_eq!(read(b"canary\r\n").unwrap(), b"canary");
        assert_eq!(read(b"canary").unwrap(), b"canary");
        assert_eq!(read(b"two\nlines\n").unwrap(), b"two\nlines");
        assert_eq!(read(b"-----BEGIN X-----\n\n \n").unwrap(), b"-----BEGIN X-----");
    }

    #[test]
    fn nothing_and_white_space_at_the_ends_are_mistakes_told_without_the_value() {
        assert!(matches!(read(b""), Err(Error::Empty { .. })));
        assert!(matches!(read(b"\r\n"), Err(Error::Empty { .. })));
        for text in [&b" canary"[..], b"canary ", b"canary\n\n", b"canary\r", b"\tcanary\n"] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, Error::Blank { .. }), "{error:?}");
            assert!(error.to_string().contains("/run/token"));
            assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("canary"));
        }
        assert!(matches!(read(b"\xef\xbb\xbfcanary"), Err(Error::ByteOrderMark { .. })));
        assert!(matches!(read(&[b'a'; MAXIMUM_LENGTH + 1]), Err(Error::TooLong { .. })));
    }

    #[test]
    fn debug_is_redacted_and_equality_is_by_value() {
        assert_eq!(format!("{:?}", Secret::new("canary")), "<redacted>");
        assert!(Secret::new("a") == Secret::new("a"));
        assert!(Secret::new("a") != Secret::new("b"));
        assert!(Secret::new("a") != Secret::new("ab"));
    }
}
