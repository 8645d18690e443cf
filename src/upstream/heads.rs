//! The heads of requests and responses as `--debug` shows them: values redacted unless they are
//! known to be harmless.

use std::{fmt, time::Instant};

use http::{HeaderMap, HeaderValue, Response, header};

use crate::{
    redaction,
    service::{Request, Unshown},
};

/// What a server says of itself and of the body; anything else may be a secret or an echo of one.
const HARMLESS: [header::HeaderName; 8] = [
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::DATE,
    header::RETRY_AFTER,
    header::SERVER,
    header::TRANSFER_ENCODING,
];

/// A request that was shown: what its response may echo, and when it left.
pub(super) struct Shown {
    carried: Vec<HeaderValue>,
    since: Instant,
}

/// Shows a request that is about to leave, if anybody wants to see it.
pub(super) fn request(request: &Request) -> Option<Shown> {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return None;
    }
    tracing::debug!(
        method = %request.method(),
        path = %Path(request),
        bytes = request.body().len(),
        headers = %Ours(request.headers()),
        "request"
    );
    let carried = request.headers().values().filter(|value| value.is_sensitive());
    Some(Shown { carried: carried.cloned().collect(), since: Instant::now() })
}

/// Shows the response that came to it.
pub(super) fn response<B>(response: &Response<B>, request: &Shown) {
    let elapsed = request.since.elapsed();
    tracing::debug!(
        status = response.status().as_u16(),
        version = ?response.version(),
        ?elapsed,
        headers = %Theirs(response.headers(), &request.carried),
        "response"
    );
}

/// Where a request goes: after a redirect, in the upstream's words.
struct Path<'a>(&'a Request);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.extensions().get::<Unshown>().is_some() {
            return f.write_str("<redacted>");
        }
        let secret = self.0.headers().values().filter(|value| value.is_sensitive());
        f.write_str(&redaction::clean(self.0.uri().path(), secret))
    }
}

/// Our own headers: what is secret is marked so.
struct Ours<'a>(&'a HeaderMap);

impl fmt::Display for Ours<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self.0, |_, value| !value.is_sensitive())
    }
}

/// Theirs, with what they may echo even where it is harmless by itself.
struct Theirs<'a>(&'a HeaderMap, &'a [HeaderValue]);

impl fmt::Display for Theirs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self.0, |name, value| {
            let told = String::from_utf8_lossy(value.as_bytes());
            HARMLESS.contains(name) && redaction::clean(&told, self.1) == told
        })
    }
}

fn list(
    f: &mut fmt::Formatter<'_>,
    headers: &HeaderMap,
    shown: impl Fn(&header::HeaderName, &HeaderValue) -> bool,
) -> fmt::Result {
    for (index, (name, value)) in headers.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        match value.to_str() {
            Ok(text) if shown(name, value) => write!(f, "{comma}{name}: {text}")?,
            _ => write!(f, "{comma}{name}: <redacted>")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_values_are_shown() {
        let mut headers = HeaderMap::new();
        let mut secret = HeaderValue::from_static("Bearer s3cret");
        secret.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, secret);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::SET_COOKIE, HeaderValue::from_static("lb=s3cret"));
        assert_eq!(
            Theirs(&headers, &[]).to_string(),
            "authorization: <redacted>, content-type: application/json, set-cookie: <redacted>"
        );
        let carried = [HeaderValue::from_static("application/json")];
        assert!(Theirs(&headers, &carried).to_string().contains("content-type: <redacted>"));
        headers.remove(header::SET_COOKIE);
        assert!(!Ours(&headers).to_string().contains("s3cret"));
    }
}
