//! HTTP+SSE (2024-11-05 transports, "HTTP with SSE"): the endpoint that its stream names.
//!
//! It is resolved as any reference is (RFC 3986, section 5), and must stay on the origin of the URL
//! that was configured: messages carry the credentials. Nothing of its path or query is repeated,
//! since a session hangs on it.

use http::Uri;
use url::Url;

use crate::{
    failure::{Failure, Stage},
    mcp::exchange::Endpoint,
    redaction,
};

/// Where messages are to be posted, if that may be `named` to a client of `url`.
pub(super) fn endpoint(upstream: &str, url: &Uri, named: &Endpoint) -> Result<Uri, Failure> {
    let unreadable = || {
        let what = format!("{upstream} named an endpoint for messages that is no URL");
        Failure::new(Stage::Protocol, what).hint("check the URL's path, which often ends in /sse")
    };
    let said = std::str::from_utf8(&named.reference).map_err(|_| unreadable())?;
    // No part of a URL wherever they stand (URL Standard, "URL parsing"), but they would hide what is.
    let said = &*said.replace(['\t', '\n', '\r'], "");
    if redaction::clean(said, &*named.secrets) != said {
        // Used, it would put them into a URL, which everyone on the way writes down.
        let what =
            format!("{upstream} named an endpoint for messages that repeats what it was sent");
        return Err(Failure::new(Stage::Protocol, what).hint("its operator should know of this"));
    }
    let base = Url::parse(&url.to_string()).map_err(|_| unreadable())?;
    let mut there = base.join(said).map_err(|_| unreadable())?;
    there.set_fragment(None);
    let stays = there.origin() == base.origin()
        && there.username().is_empty()
        && there.password().is_none();
    if !stays {
        let (here, there) = (shown(&base), redaction::clean(&shown(&there), &*named.carried));
        let what = format!(
            "{here} wants messages posted to {there}: not done, it would take the credentials to \
             another origin"
        );
        return Err(Failure::new(Stage::Protocol, what).hint(
            "if it stands behind a gateway, have its operator make the endpoint that it names \
             relative, or let it know its public URL",
        ));
    }
    there.as_str().parse().map_err(|_| unreadable())
}

/// What is told when the server takes neither what it was sent nor a GET.
pub(super) fn refused_twice(first: &Failure, second: &Failure) -> Failure {
    let what = format!(
        "{}; the older transport (HTTP+SSE of 2024-11-05) was tried as well, by GET: {}",
        first.what(),
        second.what()
    );
    let failure = Failure::new(first.stage(), what);
    match first.next_step().or(second.next_step()) {
        Some(hint) => failure.hint(hint.to_owned()),
        None => failure,
    }
}

/// An origin for people: no user, path or query.
fn shown(url: &Url) -> String {
    const HOST_AT_MOST: usize = 255;
    let host: String = url.host_str().unwrap_or_default().chars().take(HOST_AT_MOST).collect();
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}", url.scheme())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;

    const URL: &str = "https://gw.example/team/sse?tenant=7";

    fn named(said: &[u8]) -> Endpoint {
        let secret = HeaderValue::from_static("Bearer s3cr3t-token");
        Endpoint {
            reference: Bytes::copy_from_slice(said),
            carried: Arc::new([secret.clone(), HeaderValue::from_static("acme-tenant")]),
            secrets: Arc::new([secret]),
        }
    }

    fn resolved(said: &str) -> Result<String, Failure> {
        let resolved = endpoint("the upstream", &URL.parse().unwrap(), &named(said.as_bytes()));
        resolved.map(|uri| uri.to_string())
    }

    #[test]
    fn what_was_sent_is_neither_posted_to_nor_told() {
        for said in [
            "/m?token=s3cr3t-token",
            "https://s3cr3t-token.example/",
            "/s3cr3t%2Dtoken",
            "/s3cr3t\t-token",
        ] {
            let failure = resolved(said).unwrap_err();
            assert!(failure.what().contains("repeats"), "{failure}");
            assert!(!format!("{failure:?}").contains("s3cr3t"), "{failure:?}");
        }
        assert!(resolved("/acme-tenant/m").is_ok(), "which may be a tenant's name");
        let failure = resolved("https://acme-tenant.example/m").unwrap_err();
        assert!(!failure.what().contains("acme"), "{failure}");
    }

    #[test]
    fn an_endpoint_is_resolved_against_the_url() {
        for (said, uri) in [
            ("/messages?sessionId=a%2Fb", "https://gw.example/messages?sessionId=a%2Fb"),
            ("messages/?s=1", "https://gw.example/team/messages/?s=1"),
            ("?s=1", "https://gw.example/team/sse?s=1"),
            ("https://gw.example/m", "https://gw.example/m"),
            ("https://GW.example:443/m#f", "https://gw.example/m"),
            ("//gw.example/m", "https://gw.example/m"),
            (" /m ", "https://gw.example/m"),
        ] {
            assert_eq!(resolved(said).unwrap(), uri, "{said}");
        }
    }

    #[test]
    fn an_endpoint_elsewhere_is_refused_and_both_origins_named_without_their_paths() {
        for (said, there) in [
            ("https://evil.example/canary", "https://evil.example"),
            ("//evil.example/canary", "https://evil.example"),
            ("\\\\evil.example/canary", "https://evil.example"),
            ("http://gw.example/canary", "http://gw.example"),
            ("https://gw.example:8443/canary", "https://gw.example:8443"),
            ("https://canary:canary@gw.example/", "https://gw.example"),
            ("javascript:canary", "javascript://"),
        ] {
            let failure = resolved(said).unwrap_err();
            let told = format!("{failure:?}");
            assert!(told.contains("https://gw.example wants") && told.contains(there), "{told}");
            assert!(!told.contains("canary") && !told.contains("tenant"), "{told}");
        }
    }

    #[test]
    fn what_is_no_url_is_not_repeated() {
        for said in ["https://", "http://[canary/", "https://gw.example:canary/"] {
            let failure = resolved(said).unwrap_err();
            assert!(failure.what().contains("no URL"), "{failure}");
            assert!(!format!("{failure:?}").contains("canary"));
        }
        assert!(endpoint("x", &URL.parse().unwrap(), &named(b"/\xff")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_named_stays_on_the_origin_or_is_refused(
            said in "(https?:|wss:)?[/\\\\]{0,3}[a-z@.:?#\\[\\]\\t é%]{0,20}(gw.example)?.{0,20}",
        ) {
            if let Ok(uri) = endpoint("x", &URL.parse().unwrap(), &named(said.as_bytes())) {
                proptest::prop_assert_eq!(uri.scheme_str(), Some("https"));
                let authority = uri.authority().unwrap().as_str();
                proptest::prop_assert_eq!(authority, "gw.example");
            }
        }
    }
}
