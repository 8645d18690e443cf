//! The endpoint of HTTP+SSE: what is reported of it, and what in it is nobody's business.
//!
//! A session hangs on it as on `Mcp-Session-Id`, so an upstream that quotes it is cut short.

use http::{HeaderValue, Uri};

use crate::{
    mcp::exchange::{End, Endpoint},
    service::{Carried, Secrets},
};

/// The shortest part of a path that may be a session.
const SHORTEST: usize = 16;

/// What the stream of `head` named with `reference`.
pub(super) fn named(reference: bytes::Bytes, extensions: &http::Extensions) -> Endpoint {
    let carried = extensions.get::<Carried>().map(|carried| carried.0.clone());
    let secrets = extensions.get::<Secrets>().map(|secrets| secrets.0.clone());
    Endpoint {
        reference,
        carried: carried.unwrap_or_default(),
        secrets: secrets.unwrap_or_default(),
    }
}

/// `end` of a POST to `endpoint`, which no words of the upstream's will show.
pub(super) fn concealed(end: End, endpoint: Option<&Uri>) -> End {
    match (end, endpoint) {
        (End::Refused(mut refusal), Some(endpoint)) => {
            let query = endpoint.query().unwrap_or_default().split('&');
            let (named, bare): (Vec<_>, Vec<_>) = query.partition(|pair| pair.contains('='));
            let values = named.into_iter().filter_map(|pair| Some(pair.split_once('=')?.1));
            // What is shorter is a word, not a session.
            let parts = endpoint.path().split('/').chain(bare).filter(|it| it.len() >= SHORTEST);
            let values = values.chain(parts).filter_map(|it| HeaderValue::try_from(it).ok());
            refusal.carried = refusal.carried.iter().cloned().chain(values).collect();
            End::Refused(refusal)
        }
        (end, _) => end,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::Arc;

    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::mcp::refusal::Refusal;

    #[test]
    fn what_a_session_hangs_on_is_not_repeated() {
        for endpoint in [
            "https://gw/messages?session=canary-0123456789",
            "https://gw/messages?canary-0123456789",
            "https://gw/messages/canary-0123456789?a=b",
        ] {
            let refusal = End::Refused(Box::new(Refusal {
                status: StatusCode::BAD_REQUEST,
                headers: HeaderMap::new(),
                body: "no canary-0123456789 in messages".into(),
                carried: Arc::new([]),
                presented: None,
            }));
            let endpoint: Uri = endpoint.parse().unwrap();
            let End::Refused(refusal) = concealed(refusal, Some(&endpoint)) else { panic!() };
            let failure = refusal.explain("https://gw");
            assert!(failure.what().contains("no <redacted> in messages"), "{failure}");
        }
    }
}
