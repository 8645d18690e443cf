//! Paths of requests: which are refused because two programs could read them differently.
//!
//! Nothing is rewritten: what passes goes on as its bytes. What could mean another place to the
//! upstream than to the guard does not pass.

/// Decodings that are looked through: some servers decode what a proxy before them has decoded.
const LAYERS: usize = 3;

/// Whether `path` (RFC 3986, section 3.3) means the same to everyone: it is absolute, has no dot
/// segments in any encoding, no backslash and no control character.
#[must_use]
pub(super) fn is_plain(path: &str) -> bool {
    if !path.starts_with('/') {
        return false;
    }
    // Nearly all of them.
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_');
    if path.bytes().all(ordinary) {
        return true;
    }
    let mut current = path.as_bytes().to_vec();
    for _ in 0..LAYERS {
        if !is_plain_as_it_is(&current) {
            return false;
        }
        let decoded = decoded(&current);
        if decoded == current {
            return true;
        }
        current = decoded;
    }
    is_plain_as_it_is(&current)
}

fn is_plain_as_it_is(path: &[u8]) -> bool {
    let odd = |byte: &u8| *byte == b'\\' || byte.is_ascii_control();
    let dots = |segment: &[u8]| {
        // Some servers cut off what follows a `;` before they look at the dots.
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        name == b"." || name == b".."
    };
    !path.iter().any(odd) && !path.split(|byte| *byte == b'/').any(dots)
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
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

/// What follows `prefix` in `path`, if `path` is below it; `/a` is below `/a`, `/ab` is not.
/// `prefix` has no slash at its end.
#[must_use]
pub(super) fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_may_mean_another_place_is_refused() {
        for path in [
            "/mcp/../admin",
            "/mcp/..",
            "/..",
            "/mcp/./x",
            "/mcp/%2e%2e/admin",
            "/mcp/%2E./admin",
            "/mcp%2f..%2fadmin",
            "/mcp/..%2fadmin",
            "/mcp/..%5cadmin",
            "/mcp/%252e%252e/admin",
            "/mcp/%25252e%25252e/admin",
            "/mcp/..;/admin",
            "/mcp/..;x=y/admin",
            "/mcp\\..\\admin",
            "/mcp/%00",
            "/mcp/%0d%0aX: y",
            "mcp",
            "*",
            "",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn what_is_plain_passes() {
        for path in [
            "/",
            "/mcp",
            "/mcp/",
            "/mcp//x",
            "/projects/group%2Fname/issues",
            "/a/...",
            "/a/..b/c..",
            "/100%",
            "/%zz",
            "/a;v=1/b",
            "/%C3%A9",
        ] {
            assert!(is_plain(path), "{path}");
        }
    }

    #[test]
    fn below_is_by_segment() {
        assert_eq!(below("/a", "/a"), Some(""));
        assert_eq!(below("/a/b", "/a"), Some("/b"));
        assert_eq!(below("/ab", "/a"), None);
        assert_eq!(below("/b", "/a"), None);
        assert_eq!(below("/b", ""), Some("/b"));
    }

    proptest! {
        #[test]
        fn no_encoding_of_dots_passes(
            before in "(/[a-z]{1,3}){0,2}", dots in "(\\.|%2e|%2E|%252e){1,2}", after in "(/[a-z]*)?",
        ) {
            let path = format!("{before}/{dots}{after}");
            prop_assert!(!is_plain(&path));
        }
    }
}
