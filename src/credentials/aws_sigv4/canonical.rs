//! The canonical request: the one form in which both sides write a request down before they sign
//! or check it.
//!
//! What is sent stays as it is; here it is only described. The names are AWS's own ("Create a
//! signed AWS API request").

use std::borrow::Cow;

use http::HeaderName;

/// A header that is signed, with each of its values.
pub(super) type Header<'a> = (HeaderName, Vec<Cow<'a, [u8]>>);

/// How a service reads the path of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paths {
    /// Dots and empty segments taken out, then encoded once more than on the wire: all but S3.
    Normalized,
    /// As it is, since to S3 it is the name of an object.
    AsIs,
}

/// What is described.
pub(super) struct Parts<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    /// In any order.
    pub(super) headers: Vec<Header<'a>>,
    /// The SHA-256 of the body, in hexadecimal digits.
    pub(super) payload: &'a str,
}

/// A canonical request.
pub(super) struct Canonical {
    pub(super) text: Vec<u8>,
    /// The names in it, as `Authorization` lists them.
    pub(super) signed_headers: String,
}

impl Canonical {
    pub(super) fn new(mut parts: Parts<'_>, paths: Paths) -> Self {
        parts.headers.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        let names: Vec<&str> = parts.headers.iter().map(|(name, _)| name.as_str()).collect();
        let signed_headers = names.join(";");

        let mut text = Vec::with_capacity(512);
        let mut line = |part: &[u8]| {
            text.extend_from_slice(part);
            text.push(b'\n');
        };
        line(parts.method.as_bytes());
        line(path(parts.path, paths).as_bytes());
        line(query(parts.query.unwrap_or_default()).as_bytes());
        for (name, values) in &parts.headers {
            line(&header(name, values));
        }
        line(b"");
        line(signed_headers.as_bytes());
        text.extend_from_slice(parts.payload.as_bytes());
        Self { text, signed_headers }
    }
}

fn path(path: &str, paths: Paths) -> String {
    let segments = path.split('/');
    let encoded: Vec<String> = match paths {
        Paths::AsIs => segments.map(|segment| encode(&decode(segment))).collect(),
        Paths::Normalized => {
            let mut kept: Vec<&str> = Vec::new();
            for segment in segments {
                match segment {
                    "" | "." => {}
                    ".." => drop(kept.pop()),
                    segment => kept.push(segment),
                }
            }
            let encoded = kept.iter().map(|segment| encode(segment.as_bytes()));
            let ends = (path.ends_with('/') && !kept.is_empty()).then(String::new);
            std::iter::once(String::new()).chain(encoded).chain(ends).collect()
        }
    };
    match encoded.join("/") {
        empty if empty.is_empty() => "/".to_owned(),
        path => path,
    }
}

fn query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        // A `+` stays one: that it means a blank is a habit of forms, and not of AWS.
        .map(|(name, value)| (encode(&decode(name)), encode(&decode(value))))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// `name:value,value`; of white space within a value one blank is left, at its ends none.
fn header(name: &HeaderName, values: &[Cow<'_, [u8]>]) -> Vec<u8> {
    let mut line = format!("{name}:").into_bytes();
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        for (at, word) in words.enumerate() {
            if at > 0 {
                line.push(b' ');
            }
            line.extend_from_slice(word);
        }
    }
    line
}

/// Percent-encodes all but the unreserved characters of RFC 3986, section 2.3.
fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                encoded.push('%');
                encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
                encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    encoded
}

/// What a percent-encoded text stands for; a `%` that encodes nothing stands for itself.
fn decode(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = (digit(bytes.get(at + 1)), digit(bytes.get(at + 2)));
        if let (b'%', (Some(high), Some(low))) = (byte, pair) {
            decoded.extend(u8::try_from(high << 4 | low));
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn to_s3_a_path_is_a_name_and_is_encoded_once() {
        for (sent, expected) in [
            ("/a%20b/../c//d", "/a%20b/../c//d"),
            ("/a+b@c", "/a%2Bb%40c"),
            ("/a%2fb", "/a%2Fb"),
            ("/", "/"),
            ("", "/"),
        ] {
            assert_eq!(path(sent, Paths::AsIs), expected);
        }
        assert_eq!(path("/a%20b/./c", Paths::Normalized), "/a%2520b/c");
        assert_eq!(path("/../..", Paths::Normalized), "/");
    }

    #[test]
    fn a_query_is_sorted_as_it_is_encoded() {
        for (sent, expected) in [
            ("", ""),
            ("&&", ""),
            ("b=2&a=1&a=0&a", "a=&a=0&a=1&b=2"),
            ("a=b=c", "a=b%3Dc"),
            ("a=x%2Fy%zz%4", "a=x%2Fy%25zz%254"),
            ("a+b=%2b&a=%2f", "a=%2F&a%2Bb=%2B"),
        ] {
            assert_eq!(query(sent), expected, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_to_itself(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            prop_assert_eq!(decode(&encode(&bytes)), bytes);
        }

        #[test]
        fn a_canonical_query_is_its_own(text in "[a-c=&%+2f ]{0,24}") {
            let once = query(&text);
            prop_assert_eq!(query(&once), once);
        }

        #[test]
        fn any_path_is_answered_from_its_root(text in ".{0,24}") {
            prop_assert!(path(&text, Paths::Normalized).starts_with('/'));
        }
    }
}
