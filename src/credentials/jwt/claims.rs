//! The claims of a token: what the configuration says of them, and how they are written out.
//!
//! Texts were expanded before; the fields that are left in them are filled in for each request.
//! When a token was made, and which it is, no one says but us.

use std::{cell::OnceCell, fmt};

use aws_lc_rs::digest::{Digest, SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
use zeroize::Zeroizing;

use super::super::outgoing::Outgoing;
use crate::{
    failure::{Failure, Stage},
    template::{FieldError, Fields},
};

/// What can be filled in for each request.
const FIELDS: [&str; 6] = ["method", "url", "path", "host", "body_sha256", "body_sha256_base64url"];

/// The claims that are set here, and by no one else.
pub const RESERVED: [&str; 4] = ["iat", "nbf", "exp", "jti"];

/// The value of a claim. `Debug` does not show it: a variable may have brought it.
#[derive(Clone)]
pub enum Claim {
    /// A text.
    Text(Text),
    /// A number.
    Number(serde_json::Number),
    /// True or false.
    Truth(bool),
    /// A list.
    List(Vec<Claim>),
    /// An object, its names each once.
    Table(Vec<(String, Claim)>),
}

/// A text with the fields that are filled in for each request.
#[derive(Clone)]
pub struct Text(Fields);

impl Text {
    /// Reads a text in which `{{` and `}}` are braces; `per_request` says whether it may have
    /// fields.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: a brace alone, a field that does not exist, or one in a token
    /// that many requests share.
    pub fn new(text: &str, per_request: bool) -> Result<Self, Failure> {
        let known = |name: &str| FIELDS.contains(&name);
        let refused = |error: FieldError| {
            let hint = match error {
                FieldError::Brace => "write {{ and }} for the braces themselves".to_owned(),
                FieldError::Unknown { .. } => {
                    let names = FIELDS.map(|name| format!("{{{name}}}"));
                    format!("the fields are {}; write {{{{ for a brace", names.join(", "))
                }
            };
            Failure::new(Stage::Configuration, error.to_string()).hint(hint)
        };
        let fields = Fields::parse(text, known).map_err(refused)?;
        if let Some(name) = fields.names().next().filter(|_| !per_request) {
            let what =
                format!("the field {{{name}}} is a part of one request, and the token is for many");
            return Err(Failure::new(Stage::Configuration, what)
                .hint("add per_request = true, for a token of its own for each request"));
        }
        Ok(Self(fields))
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// The request that a token is bound to.
pub(super) struct Bound<'a> {
    request: Outgoing<'a>,
    /// Of the body, which may be long.
    digest: OnceCell<Digest>,
}

impl<'a> Bound<'a> {
    pub(super) fn to(request: Outgoing<'a>) -> Self {
        Self { request, digest: OnceCell::new() }
    }

    fn digest(&self) -> &[u8] {
        self.digest.get_or_init(|| digest(&SHA256, self.request.body())).as_ref()
    }

    fn fill(&self, name: &str, out: &mut Vec<u8>) {
        match name {
            "method" => out.extend_from_slice(self.request.method().as_bytes()),
            "url" => out.extend_from_slice(self.request.url().as_bytes()),
            "path" => out.extend_from_slice(self.request.path().as_bytes()),
            "host" => out.extend_from_slice(self.request.authority().as_bytes()),
            "body_sha256" => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let digits =
                    |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
                out.extend(self.digest().iter().flat_map(digits));
            }
            _ => out.extend_from_slice(URL_SAFE_NO_PAD.encode(self.digest()).as_bytes()),
        }
    }
}

/// What is different in each token.
pub(super) struct Stamp {
    /// When it was issued, and is good from: seconds since 1970.
    pub(super) issued: u64,
    /// When it is over.
    pub(super) expires: u64,
    /// Which one it is.
    pub(super) id: String,
}

/// All the claims of one token.
pub(super) struct Whole<'a> {
    pub(super) claims: &'a [(String, Claim)],
    pub(super) stamp: &'a Stamp,
    pub(super) bound: Option<&'a Bound<'a>>,
}

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.claims.len() + RESERVED.len()))?;
        for (name, claim) in self.claims {
            map.serialize_entry(name, &Filled { claim, bound: self.bound })?;
        }
        let Stamp { issued, expires, id } = self.stamp;
        map.serialize_entry("iat", issued)?;
        map.serialize_entry("nbf", issued)?;
        map.serialize_entry("exp", expires)?;
        map.serialize_entry("jti", id)?;
        map.end()
    }
}

/// A claim with its fields filled in.
struct Filled<'a> {
    claim: &'a Claim,
    bound: Option<&'a Bound<'a>>,
}

impl Serialize for Filled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let filled = |claim| Filled { claim, bound: self.bound };
        match self.claim {
            Claim::Number(number) => number.serialize(serializer),
            Claim::Truth(truth) => serializer.serialize_bool(*truth),
            Claim::List(list) => serializer.collect_seq(list.iter().map(filled)),
            Claim::Table(table) => {
                serializer.collect_map(table.iter().map(|(name, claim)| (name, filled(claim))))
            }
            Claim::Text(Text(fields)) => {
                let mut text = Zeroizing::new(Vec::new());
                fields.fill(&mut text, |name, out| match self.bound {
                    Some(bound) => {
                        bound.fill(name, out);
                        Ok(())
                    }
                    None => Err(S::Error::custom("a field without a request")),
                })?;
                let text = std::str::from_utf8(&text).map_err(S::Error::custom)?;
                serializer.serialize_str(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn text(text: &str) -> Claim {
        Claim::Text(Text::new(text, true).unwrap())
    }

    fn written(claims: &[(String, Claim)], body: &'static [u8]) -> Value {
        let request = http::Request::builder()
            .method("POST")
            .uri("https://mcp.example.com:8443/mcp?tenant=a")
            .body(Bytes::from_static(body))
            .unwrap();
        let bound = Bound::to(Outgoing::new(&request));
        let stamp = Stamp { issued: 1_795_392_000, expires: 1_795_392_300, id: "id".to_owned() };
        let whole = Whole { claims, stamp: &stamp, bound: Some(&bound) };
        serde_json::to_value(whole).unwrap()
    }

    #[test]
    fn claims_are_written_as_what_they_are() {
        let table = vec![("on".to_owned(), Claim::Truth(true)), ("who".to_owned(), text("ada"))];
        let claims = [
            ("level".to_owned(), Claim::Number(3.into())),
            ("roles".to_owned(), Claim::List(vec![text("a"), Claim::Number(1.into())])),
            ("tenant".to_owned(), Claim::Table(table)),
        ];
        let expected = json!({
            "level": 3, "roles": ["a", 1], "tenant": {"on": true, "who": "ada"},
            "iat": 1_795_392_000, "nbf": 1_795_392_000, "exp": 1_795_392_300, "jti": "id",
        });
        assert_eq!(written(&claims, b""), expected);
    }

    #[test]
    fn fields_are_of_the_request() {
        for (template, expected) in [
            ("{method} {url}", "POST https://mcp.example.com:8443/mcp?tenant=a"),
            ("{host}{path}", "mcp.example.com:8443/mcp"),
            (
                "{body_sha256}",
                // FIPS 180-2, appendix B.1: "abc".
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            ("{body_sha256_base64url}", "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"),
            ("{{\"a\": 1}}", "{\"a\": 1}"),
        ] {
            let claims = [("bound".to_owned(), text(template))];
            assert_eq!(written(&claims, b"abc")["bound"], expected, "{template}");
        }
    }

    #[test]
    fn a_field_needs_a_token_of_its_own() {
        let failure = Text::new("x {method}", false).err().unwrap();
        assert!(failure.what().contains("{method}"), "{failure}");
        assert!(failure.next_step().unwrap().contains("per_request = true"));
        Text::new("{{method}}", false).ok().unwrap();
        let failure = Text::new("{nonce}", true).err().unwrap();
        assert!(failure.next_step().unwrap().contains("{body_sha256}"), "{failure:?}");
        assert!(Text::new("{", true).is_err());
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", text("canary")), "<redacted>");
    }

    proptest! {
        #[test]
        fn any_text_is_answered_and_any_claim_is_json(said in "([{]|[}]|\\PC){0,30}") {
            let escaped = said.replace('{', "{{").replace('}', "}}");
            let claims = [("said".to_owned(), text(&escaped))];
            let written = written(&claims, b"");
            prop_assert_eq!(written["said"].as_str(), Some(said.as_str()));
            let _ = (Text::new(&said, true).is_ok(), Text::new(&said, false).is_ok());
        }
    }
}
