//! W3C Trace Context (Level 1): the trace that a request belongs to, carried as it comes or begun.
//!
//! What holds goes on unchanged, unless spans are exported: then this hop is a span of its own, and the
//! upstream's parent. What does not hold is not passed on, and with it goes the `tracestate`, which is
//! about a trace that nobody knows.

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

/// A span's id, in hexadecimal.
type SpanId = [u8; 16];

/// A trace's id, in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceId([u8; 32]);

impl TraceId {
    pub(super) fn as_str(&self) -> &str {
        // Nothing but hexadecimal digits is ever put in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A span of ours, which stands between the caller's and those of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) trace: TraceId,
    pub(super) id: SpanId,
    /// The caller's; none if the trace begins here.
    pub(super) parent: Option<SpanId>,
}

/// Sees to it that a request belongs to a trace, and says to which; none if there are no random
/// numbers to begin one with.
pub(super) fn carry(
    headers: &mut HeaderMap,
    fresh: impl FnOnce() -> Option<Fresh>,
) -> Option<TraceId> {
    let parent = stated(headers).or_else(|| begin(headers, fresh()));
    parent.map(|parent| parent.trace)
}

/// The same, with a span of ours that becomes the parent of the upstream's; none where the caller
/// says that nobody records the trace, which then goes on unchanged.
pub(super) fn enter(
    headers: &mut HeaderMap,
    fresh: impl FnOnce() -> Option<Fresh>,
) -> (Option<TraceId>, Option<Span>) {
    let Some(caller) = stated(headers) else {
        let begun = begin(headers, fresh());
        let span = begun.map(|it| Span { trace: it.trace, id: it.id, parent: None });
        return (span.map(|it| it.trace), span);
    };
    let follow = |fresh| follow(headers, &caller, fresh);
    (Some(caller.trace), caller.sampled().then(fresh).flatten().and_then(follow))
}

/// Puts a trace that begins here in the place of whatever there is.
fn begin(headers: &mut HeaderMap, fresh: Option<Fresh>) -> Option<Parent> {
    headers.remove(PARENT);
    headers.remove(STATE);
    let fresh = fresh?;
    let mut parent = *b"00-................................-................-..";
    for (place, digit) in TRACE.chain(PARENT_ID).zip(hexadecimal(&fresh)) {
        parent[place] = digit;
    }
    parent[FLAGS].copy_from_slice(SAMPLED);
    headers.insert(PARENT, HeaderValue::from_bytes(&parent).ok()?);
    parse(&parent)
}

/// Puts a span of ours in the place of the caller's.
fn follow(headers: &mut HeaderMap, caller: &Parent, fresh: Fresh) -> Option<Span> {
    let mut text = [0; LENGTH];
    text.copy_from_slice(headers.get(PARENT)?.as_bytes().get(..LENGTH)?);
    for (place, digit) in PARENT_ID.zip(hexadecimal(&fresh)) {
        text[place] = digit;
    }
    if !text.starts_with(b"00") {
        // Who writes it anew writes it in the version that he knows (section 3.2.4).
        text[..2].copy_from_slice(b"00");
        text[FLAGS].copy_from_slice(SAMPLED);
    }
    let id = text[PARENT_ID].try_into().ok()?;
    headers.insert(PARENT, HeaderValue::from_bytes(&text).ok()?);
    Some(Span { trace: caller.trace, id, parent: Some(caller.id) })
}

fn hexadecimal(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| b"0123456789abcdef"[usize::from(digit)])
}

/// What a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parent {
    trace: TraceId,
    id: SpanId,
    flags: [u8; 2],
}

impl Parent {
    /// Whether the caller may have recorded it (section 3.2.2.5).
    fn sampled(&self) -> bool {
        char::from(self.flags[1]).to_digit(16).is_some_and(|digit| digit & 1 == 1)
    }
}

/// What a request says it belongs to.
fn stated(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(PARENT).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => parse(value.as_bytes()),
        _ => None,
    }
}

/// Section 3.2.2; of later versions what they have in common with this one (section 3.2.4).
fn parse(text: &[u8]) -> Option<Parent> {
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
    Some(Parent {
        trace: text[TRACE].try_into().ok().map(TraceId)?,
        id: text[PARENT_ID].try_into().ok()?,
        flags: text[FLAGS].try_into().ok()?,
    })
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
        assert_eq!(stated(&headers).map(|it| it.trace), Some(trace));
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

    #[test]
    fn a_span_of_ours_stands_between_the_callers_and_the_upstreams() {
        let mut headers = with(&[SPEC]);
        let (trace, span) = enter(&mut headers, fresh);
        let span = span.unwrap();
        assert_eq!(trace, Some(span.trace));
        assert_eq!(span.trace.as_str(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.parent.as_ref(), Some(b"b7ad6b7169203331"));
        assert_eq!(&span.id, b"a0a1a2a3a4a5a6a7");
        assert_eq!(headers[PARENT], "00-0af7651916cd43dd8448eb211c80319c-a0a1a2a3a4a5a6a7-01");
        assert_eq!(headers[STATE], STATE_OF_SPEC);
    }

    #[test]
    fn a_trace_that_begins_here_has_our_span_as_its_root() {
        let mut headers = HeaderMap::new();
        let (trace, span) = enter(&mut headers, fresh);
        let span = span.unwrap();
        assert_eq!((trace, span.parent), (Some(span.trace), None));
        let parent = stated(&headers).unwrap();
        assert_eq!((parent.trace, parent.id), (span.trace, span.id));
    }

    #[test]
    fn what_nobody_records_goes_on_unchanged() {
        for flags in ["00", "02", "fe"] {
            let mut headers = with(&[&format!("{}{flags}", &SPEC[..53])]);
            let before = headers.clone();
            let (trace, span) = enter(&mut headers, || panic!("there is no span"));
            assert!(trace.is_some() && span.is_none(), "{flags}");
            assert_eq!(headers, before);
        }
    }

    #[test]
    fn other_flags_stay_and_later_versions_are_written_in_ours() {
        for (caller, flags) in [("00", "03"), ("cc", "01")] {
            let mut headers = with(&[&format!("{caller}{}03", &SPEC[2..53])]);
            assert!(enter(&mut headers, fresh).1.is_some());
            let parent = headers[PARENT].to_str().unwrap();
            assert!(parent.starts_with("00-0af7") && parent.ends_with(&format!("-{flags}")));
        }
    }

    #[test]
    fn without_random_numbers_there_is_no_span() {
        let mut headers = with(&[SPEC]);
        let (trace, span) = enter(&mut headers, || None);
        assert!(trace.is_some() && span.is_none());
        assert_eq!(headers[PARENT], SPEC);
        assert_eq!(enter(&mut HeaderMap::new(), || None), (None, None));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_not(text in proptest::collection::vec(0x20_u8..0x7f, 0..70)) {
            let _ = parse(&text);
        }
    }
}
