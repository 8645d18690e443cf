//! What a helper printed, read: one JSON object of strings, or one with such an object in it.
//!
//! What is not exactly that is refused whole: half of the headers is not the credential. Errors
//! count keys and name the forms of values; of the output they hold nothing.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{
    super::{
        derived::{self, Unfit},
        headers,
    },
    expiry::Expiry,
};
use crate::secret::Hidden;

const MAXIMUM_HEADERS: usize = 64;

/// What is shorter than this is found in any text.
const SHORTEST_SECRET: usize = 4;

/// Words of a value that are no secret, and likely in what a helper says of its work.
const SCHEMES: [&[u8]; 3] = [b"bearer", b"basic", b"token"];

const EXPECTED: &str = "it must print one JSON object of strings, as in {\"Authorization\": \
                        \"Bearer ...\"}, and nothing else on its standard output: run it by hand";

/// The headers, in the order of their names: in which it printed them is no difference.
#[derive(PartialEq)]
pub(super) struct Printed {
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// The headers that a helper printed, and how long from `now` they are good where it said so.
pub(super) fn read(output: &[u8], now: SystemTime) -> Result<(Printed, Option<Duration>), Unfit> {
    if output.trim_ascii().is_empty() {
        return Err(unfit("printed nothing"));
    }
    let text =
        std::str::from_utf8(output).map_err(|_| unfit("printed something that is not UTF-8"))?;
    let document: Object<'_> = serde_json::from_str(text).map_err(|error| no_object(&error))?;

    let mut expiry = Expiry::default();
    let (mut flat, mut wrapped) = (Vec::new(), None);
    for (key, value) in document.pairs {
        match key.as_str() {
            "expires_at" => expiry.at(value.get(), now)?,
            "expires_in" => expiry.within(value.get())?,
            "headers" if value.get().starts_with('{') => {
                let inner: Object<'_> =
                    serde_json::from_str(value.get()).map_err(|error| no_object(&error))?;
                if wrapped.replace(inner.pairs).is_some() {
                    return Err(unfit("printed headers twice"));
                }
            }
            _ => flat.push((key, value)),
        }
    }
    let pairs = match wrapped {
        Some(_) if !flat.is_empty() => {
            return Err(unfit("printed headers in an object of that name, and more beside it"));
        }
        Some(inner) => inner,
        None => flat,
    };
    Ok((Printed { headers: headers_of(&pairs)? }, expiry.lifetime))
}

fn headers_of(pairs: &[Pair<'_>]) -> Result<Vec<(HeaderName, HeaderValue)>, Unfit> {
    if pairs.is_empty() {
        return Err(unfit("printed no header"));
    }
    if pairs.len() > MAXIMUM_HEADERS {
        return Err(unfit(format!("printed more than {MAXIMUM_HEADERS} headers")));
    }
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(pairs.len());
    for (index, (key, value)) in pairs.iter().enumerate() {
        let number = index + 1;
        let name = headers::free_name(key).map_err(|failure| {
            unfit(format!("printed a header that can't be sent (number {number}): {failure}"))
        })?;
        if headers.iter().any(|(other, _)| *other == name) {
            return Err(unfit(format!("printed a header twice (number {number})")));
        }
        let value = header_value(value.get()).map_err(|what| {
            unfit(format!("printed a header whose value {what} (number {number})"))
        })?;
        headers.push((name, value));
    }
    headers.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    Ok(headers)
}

/// The value, or what is wrong with it.
fn header_value(json: &str) -> Result<HeaderValue, &'static str> {
    let text = text(json)?;
    if text.is_empty() {
        return Err("is empty");
    }
    if text.trim() != *text {
        return Err("has white space at its beginning or end");
    }
    derived::sensitive(text.as_bytes()).ok_or("has a control character in it")
}

/// The string that `json` is.
fn text(json: &str) -> Result<Zeroizing<String>, &'static str> {
    match json.bytes().next() {
        Some(b'"') => serde_json::from_str(json)
            .map(Zeroizing::new)
            .map_err(|_| "is no text that can be read"),
        Some(b'{') => Err("is an object, not a string"),
        Some(b'[') => Err("is a list, not a string"),
        Some(b't' | b'f') => Err("is true or false, not a string"),
        Some(b'n') => Err("is null, not a string"),
        _ => Err("is a number, not a string"),
    }
}

fn no_object(error: &serde_json::Error) -> Unfit {
    if error.is_eof() {
        return unfit("printed JSON that breaks off in the middle");
    }
    if error.is_data() {
        return unfit("printed JSON that is no object");
    }
    // The position alone: the words of the parser may quote what stands there.
    let (line, column) = (error.line(), error.column());
    unfit(format!("printed something that is not JSON from line {line}, column {column} on"))
}

fn unfit(what: impl Into<std::borrow::Cow<'static, str>>) -> Unfit {
    Unfit::new(what, EXPECTED)
}

/// Everything in an output that may be a secret, by itself: values, and the words in them. What
/// can't be read is taken apart as it is.
pub(super) fn secrets(output: &[u8]) -> Vec<Hidden> {
    let mut found = Vec::new();
    let document =
        std::str::from_utf8(output).ok().and_then(|text| serde_json::from_str(text).ok());
    match document {
        Some(document) => of_object(&document, DEEPEST, &mut found),
        None => words(output, &mut found),
    }
    found
}

/// Headers stand in one object, or in one within it.
const DEEPEST: usize = 2;

fn of_object(object: &Object<'_>, depth: usize, found: &mut Vec<Hidden>) {
    for (_, value) in &object.pairs {
        if let Ok(text) = text(value.get()) {
            found.push(Zeroizing::new(text.trim().as_bytes().to_vec()));
            words(text.as_bytes(), found);
        } else if depth > 0
            && let Ok(inner) = serde_json::from_str(value.get())
        {
            of_object(&inner, depth - 1, found);
        } else {
            words(value.get().as_bytes(), found);
        }
    }
}

fn words(text: &[u8], found: &mut Vec<Hidden>) {
    let between = |byte: &u8| byte.is_ascii_whitespace() || b"\"'=;,:{}".contains(byte);
    let secret = |word: &&[u8]| {
        word.len() >= SHORTEST_SECRET && !SCHEMES.iter().any(|it| it.eq_ignore_ascii_case(word))
    };
    found.extend(text.split(between).filter(secret).map(|word| Zeroizing::new(word.to_vec())));
}

/// A key and its value, which is not looked at yet, nor copied.
type Pair<'a> = (String, &'a RawValue);

/// A JSON object with its keys as they stand there, twice if need be.
struct Object<'a> {
    pairs: Vec<Pair<'a>>,
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object { pairs })
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    type Headers = Vec<(String, String)>;

    fn printed(output: &str) -> Result<(Headers, Option<Duration>), Unfit> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200);
        let (printed, lifetime) = read(output.as_bytes(), now)?;
        let text = |value: &HeaderValue| {
            assert!(value.is_sensitive());
            String::from_utf8(value.as_bytes().to_vec()).unwrap()
        };
        let headers = printed.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
        Ok((headers.collect(), lifetime))
    }

    #[test]
    fn an_object_of_strings_is_headers() {
        let expected = [("authorization", "Bearer x"), ("x-tenant", "J\u{fc}rgen")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        for (output, seconds) in [
            ("{\"X-Tenant\": \"J\\u00fcrgen\", \"Authorization\": \"Bearer x\"}\n", None),
            (
                "{\"Authorization\":\"Bearer x\",\"expires_in\":300,\"X-Tenant\":\"J\u{fc}rgen\"}",
                Some(300),
            ),
            (
                "{\"headers\": {\"Authorization\": \"Bearer x\", \"X-Tenant\": \"J\u{fc}rgen\"},
                  \"expires_at\": \"2026-11-23T12:05:00Z\"}",
                Some(300),
            ),
        ] {
            let (headers, lifetime) = printed(output).ok().unwrap();
            assert_eq!(headers, expected, "{output}");
            assert_eq!(lifetime, seconds.map(Duration::from_secs), "{output}");
        }
        let (headers, _) = printed("{\"headers\": \"x\"}").ok().unwrap();
        assert_eq!(headers, [("headers".to_owned(), "x".to_owned())], "a string is a header");
    }

    #[test]
    fn anything_else_is_refused_and_nothing_of_it_repeated() {
        let many: Vec<String> = (0..65).map(|n| format!("\"X-{n}\": \"x\"")).collect();
        for (output, what) in [
            ("", "printed nothing"),
            (" \n", "printed nothing"),
            ("{\"Authorization\": \"canary", "breaks off in the middle"),
            ("canary", "not JSON from line 1, column 1"),
            ("\"canary\"", "is no object"),
            ("[\"canary\"]", "is no object"),
            ("{\"X-A\": \"canary\"} canary", "not JSON from line 1"),
            ("{}", "printed no header"),
            ("{\"expires_in\": 300}", "printed no header"),
            ("{\"headers\": {}}", "printed no header"),
            ("{\"X-A\": \"x\", \"canary\": 5}", "is a number, not a string (number 2)"),
            ("{\"canary\": [\"canary\"]}", "is a list"),
            ("{\"canary\": {\"X-A\": \"canary\"}}", "is an object"),
            ("{\"canary\": true}", "is true or false"),
            ("{\"canary\": null}", "is null"),
            ("{\"canary\": \"\"}", "is empty"),
            ("{\"X-A\": \" canary\"}", "has white space"),
            ("{\"X-A\": \"canary\\n\"}", "has white space"),
            ("{\"X-A\": \"canary\\r\\nX-B: canary\"}", "has a control character"),
            ("{\"X-A\": \"canary\\ud800\"}", "is no text"),
            ("{\"Bearer canary\": \"x\"}", "not allowed in one"),
            ("{\"Host\": \"canary\"}", "the header host can't be set"),
            ("{\"MCP-Session-Id\": \"canary\"}", "the header mcp-session-id can't be set"),
            ("{\"X-A\": \"canary\", \"x-a\": \"canary\"}", "twice (number 2)"),
            ("{\"headers\": {\"X-A\": \"canary\"}, \"canary\": \"x\"}", "and more beside it"),
            ("{\"headers\": {\"X-A\": \"x\"}, \"headers\": {\"X-B\": \"x\"}}", "headers twice"),
            (&format!("{{{}}}", many.join(",")), "more than 64 headers"),
        ] {
            let refused = printed(output).err().unwrap();
            assert!(refused.what.contains(what), "{output}: {}", refused.what);
            let said = format!("{} {}", refused.what, refused.hint);
            assert!(!said.contains("canary"), "{said}");
        }
        assert!(read(b"{\"X-A\": \"\xff\"}", SystemTime::now()).is_err());
    }

    #[test]
    fn values_and_their_words_are_secrets() {
        let found = |output: &str| {
            let secrets = secrets(output.as_bytes());
            secrets.iter().map(|it| String::from_utf8(it.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(found("{\"Authorization\": \"Bearer abcd\"}"), ["Bearer abcd", "abcd"]);
        assert_eq!(found("{\"headers\": {\"X-A\": \"abcd\"}}"), ["abcd", "abcd"]);
        assert_eq!(found("{\"X-A\": \"ab"), [] as [&str; 0]);
        assert_eq!(found("{\"X-A\": \"Bearer abcd"), ["abcd"]);
    }

    proptest! {
        #[test]
        fn any_output_is_answered(output in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (read(&output, SystemTime::now()).is_ok(), secrets(&output));
        }

        #[test]
        fn any_object_of_texts_is_answered_without_repeating_them(
            pairs in prop::collection::btree_map("canary[ -~]{0,8}|expires_(in|at)", "canary.{0,8}", 1..4)
        ) {
            let output = serde_json::to_string(&pairs).unwrap();
            match printed(&output) {
                Ok((headers, _)) => prop_assert_eq!(headers.len(), pairs.len()),
                Err(refused) => prop_assert!(!refused.what.contains("canary")),
            }
        }
    }
}
