//! What is taken for an upstream is https or loopback, has a host, and shows no query.
#![no_main]

use countersign::upstream::url::UpstreamUrl;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(url) = UpstreamUrl::parse(text) else { return };
    assert!(url.is_https() || url.is_loopback());
    assert!(!url.host().is_empty());
    assert!(url.is_origin_of(url.uri()));
    assert!(!format!("{url:?}").contains('?'));
});
