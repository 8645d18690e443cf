//! The shape of a scheme: what is signed, and in which headers it goes out. Every company has its
//! own, so all of it is text with fields, and the usual ones are presets.
//!
//! What no upstream could verify is refused here: a nonce or a timestamp that is signed and not sent,
//! a signature that is made and not sent.

use http::HeaderName;

use super::mac::{Algorithm, Digest};
use crate::{
    credentials::{derived::sensitive, headers::free_name},
    failure::{Failure, Stage},
    template::{FieldError, Fields},
};

/// How the moment is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamp {
    /// Seconds since 1970.
    #[default]
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// RFC 3339, in UTC, to the second.
    Rfc3339,
}

/// A scheme as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The hash.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub digest: Digest,
    /// How the moment is written.
    pub timestamp: Timestamp,
    /// What is signed.
    pub string_to_sign: String,
    /// The headers that go out.
    pub headers: Vec<(String, String)>,
}

/// The presets by their names.
pub const PRESETS: [&str; 4] = ["timestamp", "body", "timestamp-body", "slack"];

impl Draft {
    /// A well-known scheme; none for a name that is no preset. `header` takes the place of the
    /// header that its signature is known in.
    #[must_use]
    pub fn preset(name: &str, algorithm: Algorithm, header: Option<&str>) -> Option<Self> {
        let signed_in = |usual: &str| header.unwrap_or(usual).to_owned();
        let (string_to_sign, headers) = match name {
            // The recipe in the documentation of MCP clients.
            "timestamp" => (
                "{timestamp}",
                vec![
                    ("X-Timestamp".to_owned(), "{timestamp}".to_owned()),
                    (signed_in("X-Signature"), "{signature}".to_owned()),
                    ("X-API-Key".to_owned(), "{key_id}".to_owned()),
                ],
            ),
            // As GitHub signs its webhooks.
            "body" => (
                "{body}",
                vec![(
                    signed_in("X-Hub-Signature-256"),
                    format!("{}={{signature}}", algorithm.name()),
                )],
            ),
            // As Stripe signs its webhooks.
            "timestamp-body" => (
                "{timestamp}.{body}",
                vec![(signed_in("Stripe-Signature"), "t={timestamp},v1={signature}".to_owned())],
            ),
            "slack" => (
                "v0:{timestamp}:{body}",
                vec![
                    ("X-Slack-Request-Timestamp".to_owned(), "{timestamp}".to_owned()),
                    (signed_in("X-Slack-Signature"), "v0={signature}".to_owned()),
                ],
            ),
            _ => return None,
        };
        Some(Self {
            algorithm,
            digest: Digest::default(),
            timestamp: Timestamp::default(),
            string_to_sign: string_to_sign.to_owned(),
            headers,
        })
    }
}

/// A scheme that was checked.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) algorithm: Algorithm,
    pub(super) digest: Digest,
    pub(super) timestamp: Timestamp,
    pub(super) signed: Fields,
    pub(super) headers: Vec<(HeaderName, Fields)>,
    pub(super) names_key: bool,
}

/// What can be signed, besides `{header:NAME}` and `{header:NAME?}`.
const SIGNED: [&str; 11] = [
    "method",
    "path",
    "query",
    "host",
    "url",
    "timestamp",
    "nonce",
    "key_id",
    "body",
    "body_sha256",
    "body_sha256_base64",
];
/// What can be sent.
const SENT: [&str; 4] = ["timestamp", "nonce", "signature", "key_id"];

impl Shape {
    /// Checks a draft.
    ///
    /// # Errors
    /// At the configuration stage, with the part at fault.
    pub(super) fn new(draft: &Draft) -> Result<Self, Failure> {
        let mut headers = Vec::with_capacity(draft.headers.len());
        for (name, text) in &draft.headers {
            let fields = Fields::parse(text, |field| SENT.contains(&field))
                .map_err(|error| unreadable(&format!("the header {name}"), &error, &SENT))?;
            let name = free_name(name)?;
            if !is_sendable(text) {
                let what = format!("the header {name} can't be sent as it is written");
                return Err(refused(
                    what,
                    "remove blanks at its ends and control characters, in its variables too",
                ));
            }
            if headers.iter().any(|(known, _)| *known == name) {
                return Err(refused(format!("the header {name} is set twice"), "keep one"));
            }
            headers.push((name, fields));
        }
        let own: Vec<&HeaderName> = headers.iter().map(|(name, _)| name).collect();
        let signed = signed(&draft.string_to_sign, &own)?;
        let sends = |field| headers.iter().any(|(_, fields)| fields.names().any(|it| it == field));
        let signs = |field| signed.names().any(|it| it == field);
        if !sends("signature") {
            return Err(refused(
                "no header holds the {signature}",
                "name one, as in headers = { X-Signature = \"{signature}\" }",
            ));
        }
        for field in ["timestamp", "nonce"] {
            if signs(field) && !sends(field) {
                return Err(refused(
                    format!("the {field} is signed and not sent, so nobody can verify it"),
                    "send it, as in headers = { X-Timestamp = \"{timestamp}\" }",
                ));
            }
        }
        let names_key = sends("key_id") || signs("key_id");
        let Draft { algorithm, digest, timestamp, .. } = *draft;
        Ok(Self { algorithm, digest, timestamp, signed, headers, names_key })
    }
}

/// Whether a header can carry the text, and an upstream gets it as it is (RFC 9110, section 5.5).
fn is_sendable(text: &str) -> bool {
    text.trim_matches([' ', '\t']) == text && sensitive(text.as_bytes()).is_some()
}

/// The string to sign, taken apart.
fn signed(text: &str, own: &[&HeaderName]) -> Result<Fields, Failure> {
    let header = |field: &str| field.strip_prefix("header:").map(str::to_owned);
    let fields = Fields::parse(text, |field| SIGNED.contains(&field) || header(field).is_some())
        .map_err(|error| unreadable("string_to_sign", &error, &SIGNED))?;
    if fields.names().next().is_none() {
        return Err(refused(
            "string_to_sign has no field, so every request would have the same signature",
            "sign what makes a request: \"{timestamp}.{body}\"",
        ));
    }
    for name in fields.names().filter_map(header) {
        let plain = name.strip_suffix('?').unwrap_or(&name);
        let Ok(name) = HeaderName::from_bytes(plain.as_bytes()) else {
            return Err(refused("{header:...} in string_to_sign names no header", "name one"));
        };
        if name == http::header::COOKIE {
            return Err(refused(
                "cookies can't be signed: they are added to each connection's requests later",
                "leave {header:cookie} out of string_to_sign",
            ));
        }
        if own.contains(&&name) {
            let what = format!("string_to_sign covers {name}, which is set once it is signed");
            return Err(refused(what, "sign what it is made of: {timestamp}, {nonce}, {key_id}"));
        }
    }
    Ok(fields)
}

fn unreadable(place: &str, error: &FieldError, known: &[&str]) -> Failure {
    let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
    refused(
        format!("{place}: {error}"),
        &format!("the fields are {}; a brace itself is written twice", known.join(" ")),
    )
}

fn refused(what: impl Into<std::borrow::Cow<'static, str>>, hint: &str) -> Failure {
    Failure::new(Stage::Configuration, what).hint(hint.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn draft(string_to_sign: &str, headers: &[(&str, &str)]) -> Draft {
        let headers = headers.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Draft {
            string_to_sign: string_to_sign.to_owned(),
            headers: headers.collect(),
            ..Draft::preset("body", Algorithm::Sha256, None).unwrap()
        }
    }

    #[test]
    fn every_preset_holds() {
        for name in PRESETS {
            let draft = Draft::preset(name, Algorithm::Sha512, Some("X-Mine")).unwrap();
            let shape = Shape::new(&draft).unwrap();
            assert!(shape.headers.iter().any(|(name, _)| name == "x-mine"), "{name}");
        }
        assert!(Draft::preset("none", Algorithm::Sha256, None).is_none());
    }

    #[test]
    fn what_nobody_could_verify_is_refused() {
        let sent = ("X-S", "{signature}");
        for (text, headers, expected) in [
            ("{body}", &[][..], "no header holds the {signature}"),
            ("{body}", &[("X-S", "{timestamp}")], "no header holds the {signature}"),
            ("{timestamp}", &[sent], "the timestamp is signed and not sent"),
            ("{nonce}", &[sent], "the nonce is signed and not sent"),
            ("fixed", &[sent], "has no field"),
            ("{bdy}", &[sent], "{bdy} is not known here"),
            ("{signature}", &[sent], "{signature} is not known here"),
            ("{body", &[sent], "a brace alone"),
            ("{body}", &[("X-S", "{signature}{body}")], "{body} is not known here"),
            ("{body}", &[sent, ("x-s", "{signature}")], "x-s is set twice"),
            ("{body}", &[("Host", "{signature}")], "host can't be set"),
            ("{header:cookie}", &[sent], "cookies can't be signed"),
            ("{header:x-s?}", &[sent], "covers x-s"),
            ("{header:}", &[sent], "names no header"),
            ("{body}", &[("X-S", " {signature}")], "x-s can't be sent"),
            ("{body}", &[("X-S", "{signature}\n")], "x-s can't be sent"),
        ] {
            let failure = Shape::new(&draft(text, headers)).unwrap_err();
            assert_eq!(failure.stage(), Stage::Configuration);
            assert!(failure.what().contains(expected), "{text}: {failure}");
            assert!(failure.next_step().is_some());
        }
    }
}
