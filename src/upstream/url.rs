//! The upstream's URL: the one origin that requests, and with them credentials, may go to.
//!
//! `https` always, `http` for loopback only. A user or password in it is refused: URLs are
//! logged, and shown in process lists.

use std::fmt;

use http::Uri;
use url::{Host, Url};

use crate::failure::{Failure, Stage};

/// A URL that was found fit for an upstream.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    url: Url,
    uri: Uri,
}

impl UpstreamUrl {
    /// Reads a URL such as `https://mcp.example.com/mcp`.
    ///
    /// # Errors
    /// At the configuration stage, for what is no URL, has another scheme, a user, a password or
    /// a fragment. The text is quoted only up to its path.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let url = Url::parse(text).map_err(|error| {
            refused(format!("expected a URL such as https://mcp.example.com/mcp: {error}"))
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("expected a URL without a user or password, found one with")
                .hint("take out what stands before the @, and use --basic USER:env:NAME"));
        }
        let named = origin_of(&url);
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => {
                return Err(refused(format!("expected https, found {named}")).hint(
                    "credentials would cross the network in the clear; plain http is for \
                     localhost alone",
                ));
            }
            _ => return Err(refused(format!("expected an https URL, found {named}"))),
        }
        if url.fragment().is_some() {
            return Err(refused(format!("expected a URL without #, found one at {named}"))
                .hint("a fragment is never sent: remove it"));
        }
        let uri = Uri::try_from(url.as_str())
            .map_err(|error| refused(format!("the URL at {named} can't be requested: {error}")))?;
        Ok(Self { url, uri })
    }

    /// The URL as a request has it.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// `https://host:port`, the port only where it is not the scheme's.
    #[must_use]
    pub fn origin(&self) -> String {
        origin_of(&self.url)
    }

    /// The host, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> String {
        match self.url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    /// The port, the scheme's own where none is given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }

    /// Whether the upstream is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }

    /// `target` as seen from this URL, when it is on the same origin; else none.
    #[must_use]
    pub fn same_origin(&self, target: &Url) -> Option<Uri> {
        let same = target.origin() == self.url.origin() && target.username().is_empty();
        same.then(|| Uri::try_from(target.as_str()).ok())?
    }

    /// The URL that `reference` means in a response from `base`.
    #[must_use]
    pub fn resolve(&self, base: &Uri, reference: &str) -> Option<Url> {
        Url::parse(&base.to_string()).ok()?.join(reference).ok()
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query may hold a key that somebody could not keep out of it.
        write!(f, "{}{}", self.origin(), self.url.path())
    }
}

/// Scheme, host and port, for messages.
pub(super) fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => {
            name.eq_ignore_ascii_case("localhost") || name.ends_with(".localhost")
        }
        None => false,
    }
}

fn refused(what: impl Into<String>) -> Failure {
    Failure::new(Stage::Configuration, what.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn https_anywhere_and_http_on_loopback() {
        for good in [
            "https://mcp.example.com",
            "https://[2001:db8::1]:8443/mcp?tenant=a",
            "http://127.0.0.1:8080/mcp",
            "http://[::1]/",
            "http://localhost:1/mcp",
            "https://bücher.example/mcp",
        ] {
            assert!(UpstreamUrl::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["http://mcp.example.com", "ftp://x", "mcp.example.com", "https://", "https://x/#a", ""]
        {
            assert!(UpstreamUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_quoted() {
        let failure = UpstreamUrl::parse("https://joe:hunter2@x/").unwrap_err();
        assert!(!format!("{failure:?}").contains("hunter2"));
        assert!(failure.next_step().unwrap().contains("--basic"));
    }

    #[test]
    fn parts_are_as_messages_want_them() {
        let url = UpstreamUrl::parse("https://[2001:db8::1]:8443/mcp?key=s3cret").unwrap();
        assert_eq!(url.host(), "2001:db8::1");
        assert_eq!(url.port(), 8443);
        assert_eq!(url.origin(), "https://[2001:db8::1]:8443");
        assert_eq!(url.uri().path_and_query().unwrap(), "/mcp?key=s3cret");
        assert!(!format!("{url:?}").contains("s3cret"));
    }
}
