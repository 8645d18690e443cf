//! Words of an upstream, cleaned of the secrets that it was sent: some gateways echo what they
//! dislike.
//!
//! A secret that comes back as it went is cut out. Text that holds one in another encoding, where
//! its ends can't be told, is not shown at all.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;
use zeroize::Zeroizing;

/// What stands in place of a secret.
const REDACTED: &str = "<redacted>";
/// Very short values are no secrets, and would redact half of any sentence.
const SHORTEST: usize = 4;
/// The same for the pieces of a value, most of which are no secrets.
const SHORTEST_PIECE: usize = 8;
/// And for what stands between dots: the labels of a host name are shorter, the segments of a
/// token longer.
const SHORTEST_SEGMENT: usize = 16;
/// A base64 text of the shortest prefix that is looked for.
const SHORTEST_ENCODED: usize = 8;

/// `text` without what is in the header values `carried`, which went to the upstream; all of it
/// is `<redacted>` where it holds one in another encoding.
#[must_use]
pub fn clean<'a>(text: &str, carried: impl IntoIterator<Item = &'a HeaderValue>) -> String {
    let mut secrets: Vec<_> = carried.into_iter().flat_map(spellings).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut cleaned = text.to_owned();
    for secret in &secrets {
        cleaned = cleaned.replace(secret.as_str(), REDACTED);
    }
    let plain = cleaned.replace('\\', "");
    let decoded = percent_decoded(&plain);
    let hidden = secrets.iter().any(|secret| {
        let secret = secret.as_str();
        plain.contains(secret)
            || memchr::memmem::find(&decoded, secret.as_bytes()).is_some()
            || in_base64(&plain, secret)
    });
    if hidden { REDACTED.to_owned() } else { cleaned }
}

/// The ways in which a value that was sent may come back: whole, without its scheme, as the user
/// and password inside Basic, and in pieces, one of which may be all of it that is secret.
fn spellings(value: &HeaderValue) -> Vec<Zeroizing<String>> {
    let whole = Zeroizing::new(String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut all = Vec::new();
    if let Some((_, token)) = whole.split_once(' ') {
        all.push(Zeroizing::new(token.to_owned()));
        let decoded = BASE64_STANDARD.decode(token).ok().and_then(|b| String::from_utf8(b).ok());
        if let Some(pair) = decoded.map(Zeroizing::new) {
            all.extend(pair.split_once(':').map(|(_, it)| Zeroizing::new(it.to_owned())));
            all.push(pair);
        }
    }
    let pieces = whole.split([' ', '\t', ',', ';', ':', '=', '"', '\'']);
    for piece in pieces.filter(|piece| piece.len() >= SHORTEST_PIECE) {
        let segments = piece.split('.').filter(|it| it.len() >= SHORTEST_SEGMENT);
        all.extend(segments.map(|segment| Zeroizing::new(segment.to_owned())));
        all.push(Zeroizing::new(piece.to_owned()));
    }
    all.push(whole);
    all.retain(|secret| secret.len() >= SHORTEST);
    all
}

/// `text` with each `%XX` decoded; a `%` of another kind stays.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if byte == b'%' => {
                decoded.push(value);
                rest = &after[2..];
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

/// Whether `secret` stands in `text` in base64, by itself or within something longer: that has
/// three spellings, one a place of its first byte among three.
fn in_base64(text: &str, secret: &str) -> bool {
    let text = text.replace('-', "+").replace('_', "/");
    (0..3).any(|before| {
        let within = Zeroizing::new(format!("{}{secret}", &"  "[..before]));
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(within.as_bytes()));
        // Characters that only its own bits make.
        let own = (before * 8).div_ceil(6)..within.len() * 8 / 6;
        own.len() >= SHORTEST_ENCODED && text.contains(&encoded[own])
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn carried(value: &'static str) -> [HeaderValue; 1] {
        [HeaderValue::from_static(value)]
    }

    #[test]
    fn what_comes_back_as_it_went_is_cut_out() {
        let basic = "Basic dXNlcjpodW50ZXIyMg==";
        for (value, said, shown) in [
            ("Bearer s3cr3t", "no Bearer s3cr3t", "no <redacted>"),
            ("Bearer s3cr3t", "no s3cr3t here", "no <redacted> here"),
            (basic, "user:hunter22, hunter22", "<redacted>, <redacted>"),
            (basic, "dXNlcjpodW50ZXIyMg==", "<redacted>"),
            ("v=1; key=\"s3cr3t-key\", x", "no s3cr3t-key", "no <redacted>"),
            ("Bearer eyJhIjoi.bTIzNDU2Nzg5MDEyMzQ1", "no bTIzNDU2Nzg5MDEyMzQ1", "no <redacted>"),
            ("Host mcp.example.com", "no example here", "no example here"),
            ("abc", "abc is short", "abc is short"),
        ] {
            assert_eq!(clean(said, &carried(value)), shown);
        }
    }

    #[test]
    fn what_comes_back_encoded_is_not_shown() {
        let carried = carried("Bearer s3/cr+3t?x");
        for said in [
            "no s3%2Fcr%2b3t%3Fx",
            "no %733/cr+3t?x",
            r"no s3\/cr+3t?x",
            &BASE64_STANDARD.encode("s3/cr+3t?x"),
            &BASE64_STANDARD.encode("user:s3/cr+3t?x!"),
            &base64::prelude::BASE64_URL_SAFE.encode("a user:s3/cr+3t?x!"),
        ] {
            assert_eq!(clean(said, &carried), REDACTED, "{said}");
        }
        assert_eq!(clean("100% of s3 %zz %", &carried), "100% of s3 %zz %");
    }
}
