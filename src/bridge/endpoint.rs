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
            let values = query.filter_map(|pair| pair.split_once('=').map(|(_, value)| value));
            // What is shorter is a word, not a session.
            let segments = endpoint.path().split('/').filter(|it| it.len() >= SHORTEST);
            let values = values.chain(segments).filter_map(|it| HeaderValue::try_from(it).ok());
            refusal.carried = refusal.carried.iter().cloned().chain(values).collect();
            End::Refused(refusal)
        }
        (end, _) => end,
    }
}
