//! W3C Trace Context (Level 1): the trace that a request belongs to, carried as it comes or begun.
//!
//! What holds goes on unchanged: this hop is no span of its own. What does not hold is not passed on,
//! and with it goes the `tracestate`, which is about a trace that nobody knows.

use http::{HeaderMap, HeaderName, HeaderValue};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-` trace id `-` parent id `-` flags (section 3.2.2).
const LENGTH: usize = 55;
/// Where the ids and the flags stand in it.
const TRACE: std::ops::Range<usize> = 3..35;
const PARENT_ID: std::ops::Range<usize> = 36..52;
const FLAGS: std::ops::Range<usize> = 53..55;
/// The request may have been recorded, as it is in the access log; without it, upstreams that follow
/// their callers would stop recording.
const SAMPLED: &[u8] = b"01";

/// The random part of a trace that is begun: its id, and that of its first parent.
pub(super) type Fresh = [u8; 24];

/// A trace's id, in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceId([u8; 32]);

impl TraceId {
    pub(super) fn as_str(&self) -> &str {
        // Nothing but hexadecimal digits is ever put in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Sees to it that a request belongs to a trace, and says to which; none if there are no random
/// numbers to begin one with.
pub(super) fn carry(
    headers: &mut HeaderMap,
    fresh: impl FnOnce() -> Option<Fresh>,
) -> Option<TraceId> {
    if let Some(carried) = stated(headers) {
        return Some(carried);
    }
    headers.remove(PARENT);
    headers.remove(STATE);
    let parent = begun(fresh()?);
    headers.insert(PARENT, HeaderValue::from_bytes(&parent).ok()?);
    parent[TRACE].try_into().ok().map(TraceId)
}

fn begun(fresh: Fresh) -> [u8; LENGTH] {
    let mut parent = *b"00-................................-................-..";
    let digits = fresh.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    for (place, digit) in TRACE.chain(PARENT_ID).zip(digits) {
        parent[place] = b"0123456789abcdef"[usize::from(digit)];
    }
    parent[FLAGS].copy_from_slice(SAMPLED);
    parent
}

/// The trace that a request says it belongs to.
fn stated(headers: &HeaderMap) -> Option<TraceId> {
    let mut values = headers.get_all(PARENT).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => parse(value.as_bytes()),
        _ => None,
    }
}

/// Section 3.2.2; of later versions what they have in common with this one (section 3.2.4).
fn parse(text: &[u8]) -> Option<TraceId> {
    let digits = |part: &[u8]| part.iter().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    let named = |part: &[u8]| digits(part) && part.iter().any(|it| *it != b'0');
    if text.len() < LENGTH || [2, 35, 52].iter().any(|place| text[*place] != b'-') {
        return None;
    }
    let whole = match (&text[..2], text.get(LENGTH)) {
        (b"ff", _) => false,
        (b"00", more) => more.is_none(),
        (version, more) => digits(version) && more.is_none_or(|it| *it == b'-'),
    };
    if !whole || !digits(&text[FLAGS]) || !named(&text[TRACE]) || !named(&text[PARENT_ID]) {
        return None;
    }
    text[TRACE].try_into().ok().map(TraceId)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example of section 3.2.
    const SPEC: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const STATE_OF_SPEC: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";

    fn with(parents: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(PARENT, HeaderValue::try_from(*parent).unwrap());
        }
        headers.append(STATE, HeaderValue::from_static(STATE_OF_SPEC));
        headers
    }

    fn fresh() -> Option<Fresh> {
        Some(std::array::from_fn(|at| u8::try_from(at).unwrap() + 0xa0))
    }

    #[test]
    fn what_holds_is_carried_as_it_is() {
        let mut headers = with(&[SPEC]);
        headers.append(STATE, HeaderValue::from_static("more=1"));
        let before = headers.clone();
        let trace = carry(&mut headers, || panic!("nothing is begun")).unwrap();
        assert_eq!(trace.as_str(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(headers, before);
    }

    #[test]
    fn a_trace_is_begun_where_there_is_none() {
        let mut headers = HeaderMap::new();
        let trace = carry(&mut headers, fresh).unwrap();
        assert_eq!(trace.as_str(), "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
        let begun = "00-a0a1a2a3a4a5a6a7a8a9aaabacadaeaf-b0b1b2b3b4b5b6b7-01";
        assert_eq!(headers[PARENT], begun);
        assert_eq!(stated(&headers), Some(trace));
    }

    #[test]
    fn what_does_not_hold_is_replaced_with_its_state() {
        for parents in [
            &["00-00000000000000000000000000000000-b7ad6b7169203331-01"][..],
            &["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
            &["00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"],
            &["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            &["0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            &["01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more"],
            &["00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01"],
            &[""],
            &[SPEC, SPEC],
        ] {
            let mut headers = with(parents);
            let trace = carry(&mut headers, fresh).unwrap();
            assert!(trace.as_str().starts_with("a0a1"), "{parents:?}");
            assert_eq!(headers.get_all(PARENT).iter().count(), 1, "{parents:?}");
            assert!(!headers.contains_key(STATE), "{parents:?}");
        }
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        for later in [
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes",
        ] {
            let mut headers = with(&[later]);
            assert!(carry(&mut headers, || None).is_some(), "{later}");
            assert_eq!(headers[PARENT], later);
        }
    }

    #[test]
    fn without_random_numbers_there_is_no_trace_and_no_failure() {
        let mut headers = with(&["nonsense"]);
        assert_eq!(carry(&mut headers, || None), None);
        assert!(headers.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_not(text in proptest::collection::vec(0x20_u8..0x7f, 0..70)) {
            let _ = parse(&text);
        }
    }
}
