//! The names of objects on tokens: PKCS#11 URIs (RFC 7512).
//!
//! An attribute that is not understood is refused, never skipped: it narrows the choice, and
//! without it another key could be the one. So is `pin-value`, since a command line is public.

use std::{fmt, fmt::Write as _, path::PathBuf, str::FromStr};

/// What a PKCS#11 URI begins with.
pub const SCHEME: &str = "pkcs11:";

/// The path of a URI says which token and object, the query how to get at them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    /// The token's label.
    pub token: Option<String>,
    /// The token's manufacturer.
    pub manufacturer: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The number of the slot that the token is in.
    pub slot: Option<u64>,
    /// The object's label.
    pub object: Option<String>,
    /// The object's identifier (`CKA_ID`).
    pub id: Option<Vec<u8>>,
    /// The class of the object.
    pub class: Option<Class>,
    /// The library that knows the token.
    pub module: Option<PathBuf>,
    /// The file that holds the PIN.
    pub pin: Option<PathBuf>,
}

/// The classes of objects that an identity is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A private key.
    Private,
    /// A certificate.
    Certificate,
}

impl Class {
    /// Its value of the attribute `type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Certificate => "cert",
        }
    }
}

/// Why a text is no PKCS#11 URI that is understood. It quotes names, never values.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Malformed {
    /// It is something else.
    #[error("expected a URI that begins with pkcs11:")]
    Scheme,
    /// A part is no `name=value`.
    #[error("expected name=value in each part, found a part without =")]
    Pair,
    /// RFC 7512 section 2.3: each attribute once.
    #[error("the attribute {0} is given twice")]
    Twice(&'static str),
    /// A PIN on the command line.
    #[error("pin-value would show the PIN to everyone on this machine")]
    PinValue,
    /// One that is not understood, or in the wrong half of the URI.
    #[error("the attribute {0} is not supported there")]
    Unknown(String),
    /// An escape that is none, or a value that is not UTF-8.
    #[error("the value of {0} is not UTF-8 with %XX for reserved characters")]
    Escape(&'static str),
    /// Not what the attribute takes.
    #[error("expected {1} for {0}, found something else")]
    Value(&'static str, &'static str),
}

impl Malformed {
    /// The next step, where there is one.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::PinValue => "say where the PIN is: --key-passphrase REF, or pin-source=file:PATH",
            Self::Unknown(_) => {
                "before ? stand token, manufacturer, serial, model, slot-id, object, id and type, \
                 with ; between; after it module-path and pin-source, with & between"
            }
            _ => "as in pkcs11:token=corp;object=agent?module-path=/usr/lib/module.so",
        }
    }
}

impl FromStr for Uri {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let rest = text.strip_prefix(SCHEME).ok_or(Malformed::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        for part in path.split(';').filter(|part| !part.is_empty()) {
            uri.of_path(part.split_once('=').ok_or(Malformed::Pair)?)?;
        }
        for part in query.split('&').filter(|part| !part.is_empty()) {
            uri.of_query(part.split_once('=').ok_or(Malformed::Pair)?)?;
        }
        Ok(uri)
    }
}

impl Uri {
    fn of_path(&mut self, (name, value): (&str, &str)) -> Result<(), Malformed> {
        match name {
            "token" => once(&mut self.token, "token", text("token", value)?),
            "manufacturer" => {
                once(&mut self.manufacturer, "manufacturer", text("manufacturer", value)?)
            }
            "serial" => once(&mut self.serial, "serial", text("serial", value)?),
            "model" => once(&mut self.model, "model", text("model", value)?),
            "slot-id" => {
                let number = value.parse().ok().filter(|_| !value.starts_with('+'));
                let number = number.ok_or(Malformed::Value("slot-id", "a number"))?;
                once(&mut self.slot, "slot-id", number)
            }
            "object" => once(&mut self.object, "object", text("object", value)?),
            "id" => once(&mut self.id, "id", bytes("id", value)?),
            "type" => {
                let class = match value {
                    "private" => Class::Private,
                    "cert" => Class::Certificate,
                    _ => return Err(Malformed::Value("type", "private or cert")),
                };
                once(&mut self.class, "type", class)
            }
            _ => Err(unknown(name)),
        }
    }

    fn of_query(&mut self, (name, value): (&str, &str)) -> Result<(), Malformed> {
        match name {
            "module-path" => {
                let path = absolute("module-path", &text("module-path", value)?)?;
                once(&mut self.module, "module-path", path)
            }
            "pin-source" => {
                let place = text("pin-source", value)?;
                let path = place.strip_prefix("file:").ok_or(NO_PIN_FILE)?;
                // Two slashes more are the empty host of a file URI (RFC 8089).
                let path = path.strip_prefix("//").unwrap_or(path);
                let path = absolute("pin-source", path).map_err(|_| NO_PIN_FILE)?;
                once(&mut self.pin, "pin-source", path)
            }
            "pin-value" => Err(Malformed::PinValue),
            _ => Err(unknown(name)),
        }
    }
}

const NO_PIN_FILE: Malformed = Malformed::Value("pin-source", "file: and an absolute path");

fn once<T>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed::Twice(name)),
    }
}

/// The attribute's name, if it is one: a value with a stray `;` or `&` must not be quoted.
fn unknown(name: &str) -> Malformed {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let known = !name.is_empty() && name.len() <= 24 && name.bytes().all(is_name);
    Malformed::Unknown(if known { name } else { "(not shown)" }.to_owned())
}

fn text(name: &'static str, value: &str) -> Result<String, Malformed> {
    String::from_utf8(bytes(name, value)?).map_err(|_| Malformed::Escape(name))
}

fn bytes(name: &'static str, value: &str) -> Result<Vec<u8>, Malformed> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(if byte == b'%' {
            let mut digit = || (rest.next()? as char).to_digit(16);
            let value = digit().zip(digit()).map(|(high, low)| high * 16 + low);
            value.and_then(|value| u8::try_from(value).ok()).ok_or(Malformed::Escape(name))?
        } else {
            byte
        });
    }
    Ok(decoded)
}

fn absolute(name: &'static str, path: &str) -> Result<PathBuf, Malformed> {
    let path = PathBuf::from(path);
    let found = path.is_absolute().then_some(path);
    found.ok_or(Malformed::Value(name, "an absolute path"))
}

/// Its path, without what only says how to get there.
impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = self.slot.map(|slot| slot.to_string());
        let attributes = [
            ("token", self.token.as_deref().map(str::as_bytes)),
            ("manufacturer", self.manufacturer.as_deref().map(str::as_bytes)),
            ("serial", self.serial.as_deref().map(str::as_bytes)),
            ("model", self.model.as_deref().map(str::as_bytes)),
            ("slot-id", slot.as_deref().map(str::as_bytes)),
            ("object", self.object.as_deref().map(str::as_bytes)),
            ("id", self.id.as_deref()),
            ("type", self.class.map(|class| class.name().as_bytes())),
        ];
        f.write_str(SCHEME)?;
        let given = attributes.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        for (index, (name, value)) in given.enumerate() {
            write!(f, "{}{name}=", if index > 0 { ";" } else { "" })?;
            for byte in value {
                // Identifiers are bytes and no text: RFC 7512 section 2.3 escapes all of them.
                if *name != "id" && (byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
                    f.write_char(char::from(*byte))?;
                } else {
                    write!(f, "%{byte:02X}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attributes_are_read_in_any_order() {
        let uri: Uri = "pkcs11:object=my%20key;type=private;token=Corp;id=%01%fF;slot-id=7\
                        ?pin-source=file:/etc/pin&module-path=/usr/lib/a%3Bb.so"
            .parse()
            .unwrap();
        let expected = Uri {
            token: Some("Corp".to_owned()),
            object: Some("my key".to_owned()),
            id: Some(vec![1, 255]),
            slot: Some(7),
            class: Some(Class::Private),
            module: Some("/usr/lib/a;b.so".into()),
            pin: Some("/etc/pin".into()),
            ..Uri::default()
        };
        assert_eq!(uri, expected);
        let shown = "pkcs11:token=Corp;slot-id=7;object=my%20key;id=%01%FF;type=private";
        assert_eq!(uri.to_string(), shown);
        let of_host: Uri = "pkcs11:?pin-source=file:///etc/pin".parse().unwrap();
        assert_eq!(of_host.pin, expected.pin);
        assert_eq!("pkcs11:".parse(), Ok(Uri::default()));
    }

    /// RFC 7512 section 3, as far as the examples speak of keys and certificates.
    #[test]
    fn the_examples_of_the_standard() {
        for text in [
            "pkcs11:object=my-pubkey;type=cert",
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;\
             manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;type=cert;\
             id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin",
        ] {
            text.parse::<Uri>().unwrap();
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_without_its_value() {
        for (text, expected) in [
            ("pkcs12:token=a", Malformed::Scheme),
            ("pkcs11:token", Malformed::Pair),
            ("pkcs11:token=a;token=canary", Malformed::Twice("token")),
            ("pkcs11:token=a?pin-value=canary", Malformed::PinValue),
            ("pkcs11:token=a?module-name=canary", Malformed::Unknown("module-name".to_owned())),
            ("pkcs11:pin-source=canary", Malformed::Unknown("pin-source".to_owned())),
            ("pkcs11:token=a;CANARY=", Malformed::Unknown("(not shown)".to_owned())),
            ("pkcs11:token=%4", Malformed::Escape("token")),
            ("pkcs11:token=%FF", Malformed::Escape("token")),
            ("pkcs11:type=public", Malformed::Value("type", "private or cert")),
            ("pkcs11:slot-id=+1", Malformed::Value("slot-id", "a number")),
            ("pkcs11:?pin-source=canary", NO_PIN_FILE),
            ("pkcs11:?pin-source=file:canary", NO_PIN_FILE),
            ("pkcs11:?module-path=canary.so", Malformed::Value("module-path", "an absolute path")),
        ] {
            let error = text.parse::<Uri>().unwrap_err();
            assert_eq!(error, expected);
            assert!(!format!("{error} {}", error.hint()).to_lowercase().contains("canary"));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let _ = text.parse::<Uri>();
            let _ = format!("pkcs11:{text}").parse::<Uri>();
        }

        #[test]
        fn what_is_shown_reads_as_it_was(
            token in proptest::option::of(".{0,12}"),
            object in proptest::option::of(".{0,12}"),
            id in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
            slot in any::<Option<u64>>(),
        ) {
            let uri = Uri { token, object, id, slot, ..Uri::default() };
            let shown = uri.to_string();
            prop_assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(shown.parse(), Ok(uri));
        }
    }
}
