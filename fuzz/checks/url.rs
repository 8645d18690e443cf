//! What is taken for an upstream is https, or loopback, and its origin is its own and no other's.

use countersign::upstream::url::UpstreamUrl;

pub(super) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(url) = UpstreamUrl::parse(text) else { return };
    assert!(url.is_https() || url.is_loopback(), "{text}");
    assert!(url.is_origin_of(url.uri()));
    assert!(!url.host().is_empty() && !format!("{url:?}").contains('?'), "{text}");
    let again = UpstreamUrl::parse(&url.uri().to_string()).expect("its own spelling is one too");
    // A WebSocket's handshake is a request over HTTP.
    let origin = url.origin().replacen("ws", "http", usize::from(url.origin().starts_with("ws")));
    assert_eq!(again.origin(), origin);
}
