//! The URL of the upstream, checked once.
//!
//! What passes is https or wss, or http and ws to this very machine, without a user and without a fragment. The
//! host is normalised (IDNA, numbers as addresses); path and query stay as they were given. No
//! error repeats a path or a query, which people put tokens in.

use std::fmt;

use http::{Uri, uri::PathAndQuery};
use url::{Host, Url};

use crate::failure::{Failure, Stage};

/// Where the upstream is. `Display` and `Debug` leave the query out.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    uri: Uri,
    host: String,
    port: u16,
    loopback: bool,
    websocket: bool,
}

impl UpstreamUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: it is no URL, its scheme is neither https nor wss (http and ws are
    /// for loopback alone), or it holds a user or a fragment.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        // URL parsers skip white space and read `\` as `/`: what they then see is not what a
        // person who checked the URL saw.
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(refused("the URL has white space, a control character or a \\ in it"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(refused("expected a URL that starts with https://, found none")
                .hint("write it as https://HOST/PATH"));
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(refused("the URL has a user or a password in it")
                .hint("remove it, and give --basic USER:REFERENCE"));
        }
        if target.contains('#') {
            return Err(refused("the URL has a fragment (#), which no server ever sees"));
        }
        let (scheme, websocket) = carrier(scheme)?;
        let (base, host) = base(scheme, authority)?;
        let loopback = is_loopback(&host);
        if base.scheme() == "http" && !loopback {
            let (plain, instead) = if websocket { ("ws", "wss") } else { ("http", "https") };
            return Err(refused(format!("plain {plain}:// to {host} is refused")).hint(format!(
                "use {instead}://; {plain}:// is for 127.0.0.1, ::1 and localhost"
            )));
        }
        let port = base.port_or_known_default().unwrap_or_default();
        let uri = uri(&base, target)?;
        let host = match host {
            // Without the brackets that it has in a URL.
            Host::Ipv6(address) => address.to_string(),
            host => host.to_string(),
        };
        Ok(Self { uri, host, port, loopback, websocket })
    }

    /// The whole URL, as requests have it: the handshake of a WebSocket is one over HTTP.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The host's name or address, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, that of the scheme if none was given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// `scheme://host`, with the port where it is not the scheme's: for people.
    #[must_use]
    pub fn origin(&self) -> String {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let scheme = match (self.websocket, self.is_https()) {
            (false, _) => self.scheme(),
            (true, true) => "wss",
            (true, false) => "ws",
        };
        format!("{scheme}://{authority}")
    }

    /// Whether it is reached by WebSocket.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.websocket
    }

    /// The path without the query, for logs.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme() == "https"
    }

    /// Whether it is on this machine: 127.0.0.0/8, ::1 or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Whether `uri` is of the same origin: scheme, host and port (RFC 9110, section 4.3.1).
    #[must_use]
    pub fn is_origin_of(&self, uri: &Uri) -> bool {
        // Requests are made from the URL itself, so that this is nearly always all there is to do.
        if uri.scheme() == self.uri.scheme() && uri.authority() == self.uri.authority() {
            return true;
        }
        let port = uri.port_u16().or_else(|| default_port(uri.scheme_str()?));
        let host = uri.host().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        uri.scheme_str() == Some(self.scheme())
            && port == Some(self.port)
            && host.is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
            && uri.authority().is_none_or(|authority| !authority.as_str().contains('@'))
    }

    fn scheme(&self) -> &str {
        self.uri.scheme_str().unwrap_or_default()
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path())
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamUrl({self})")
    }
}

/// `host:port` with brackets where an address needs them.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The scheme of the requests behind a scheme, and whether they open a WebSocket (RFC 6455, section 3).
fn carrier(scheme: &str) -> Result<(&'static str, bool), Failure> {
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Ok(("https", false)),
        "http" => Ok(("http", false)),
        "wss" => Ok(("https", true)),
        "ws" => Ok(("http", true)),
        _ => Err(refused(format!("expected a URL with https:// or wss://, found {scheme}://"))),
    }
}

/// The part of the URL that is normalised.
fn base(scheme: &str, authority: &str) -> Result<(Url, Host), Failure> {
    let base = Url::parse(&format!("{scheme}://{authority}/"))
        .map_err(|error| refused(format!("the host of the URL does not hold: {error}")))?;
    match base.host() {
        Some(host) => Ok((base.clone(), host.to_owned())),
        None => Err(refused("the URL has no host")),
    }
}

/// `base` with path and query as they were given.
fn uri(base: &Url, target: &str) -> Result<Uri, Failure> {
    let unfit = || {
        refused("the path or the query of the URL has a character that no URL can have")
            .hint("write it percent-encoded, as %7B for {")
    };
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unfit());
    }
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let target = PathAndQuery::try_from(target).map_err(|_| unfit())?;
    let host = base.host_str().unwrap_or_default();
    let authority = match base.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    Uri::builder()
        .scheme(base.scheme())
        .authority(authority)
        .path_and_query(target)
        .build()
        .map_err(|error| refused(format!("the URL does not hold: {error}")))
}

fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => name == "localhost",
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

fn refused(what: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::new(Stage::Configuration, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parsed(text: &str) -> UpstreamUrl {
        UpstreamUrl::parse(text).unwrap()
    }

    #[test]
    fn path_and_query_stay_as_they_were_given() {
        for (given, uri) in [
            ("https://a.example", "https://a.example/"),
            ("https://a.example?key=v", "https://a.example/?key=v"),
            ("https://a.example/b/../c//d%2Fe?x=%20&y", "https://a.example/b/../c//d%2Fe?x=%20&y"),
            ("HTTPS://A.Example:443/Path", "https://a.example/Path"),
            ("https://a.example:8443/", "https://a.example:8443/"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
            ("https://[2001:DB8::1]/", "https://[2001:db8::1]/"),
        ] {
            assert_eq!(parsed(given).uri(), uri, "{given}");
        }
    }

    #[test]
    fn the_parts_have_no_surprises() {
        let url = parsed("https://[::1]:8443/mcp?token=canary");
        assert_eq!((url.host(), url.port(), url.path()), ("::1", 8443, "/mcp"));
        assert_eq!(url.authority(), "[::1]:8443");
        assert_eq!(url.to_string(), "https://[::1]:8443/mcp");
        assert!(url.is_loopback() && url.is_https());
        assert!(!format!("{url} {url:?} {}", url.origin()).contains("canary"));
        assert_eq!(parsed("https://a.example:443/").origin(), "https://a.example");
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        for text in
            ["http://127.0.0.1:1/", "http://127.9.9.9/", "http://[::1]/", "http://localhost"]
        {
            assert!(parsed(text).is_loopback(), "{text}");
        }
        // A number that is an address, and names that only look like this machine.
        assert!(parsed("http://2130706433/").is_loopback());
        for text in ["http://localhost.example/", "http://a.example/", "http://10.0.0.1/"] {
            let failure = UpstreamUrl::parse(text).unwrap_err();
            assert_eq!(failure.stage(), Stage::Configuration);
            assert!(failure.next_step().unwrap().contains("https://"), "{failure}");
        }
    }

    #[test]
    fn a_websocket_is_opened_by_a_request_of_http_and_told_by_its_own_scheme() {
        let url = parsed("WSS://A.example/mcp?token=canary");
        assert!(url.is_websocket() && url.is_https());
        assert_eq!(url.uri(), "https://a.example/mcp?token=canary");
        assert_eq!((url.port(), url.to_string().as_str()), (443, "wss://a.example/mcp"));
        let plain = parsed("ws://localhost:81/");
        assert!(plain.is_websocket() && !plain.is_https());
        assert_eq!(plain.origin(), "ws://localhost:81");
        assert!(!parsed("https://a.example/").is_websocket());
        let failure = UpstreamUrl::parse("ws://a.example/").unwrap_err();
        assert!(failure.what().contains("ws://"), "{failure}");
        assert!(failure.next_step().unwrap().contains("wss://"), "{failure}");
    }

    #[test]
    fn what_is_refused_is_not_repeated() {
        for text in [
            "",
            "a.example/canary",
            "https://user:canary@a.example/",
            "https://@a.example/canary",
            "https://a.example/canary#canary",
            "https:///canary",
            "https://a.example:99999/canary",
            "https://a b.example/canary",
            "https://a.example\\@b.example/canary",
            "https://a.example/canary\n",
            "https://a.example/canaryé",
            "https://exa%00mple/canary",
            "ftp://a.example/canary",
        ] {
            let failure = UpstreamUrl::parse(text).unwrap_err();
            assert_eq!(failure.stage(), Stage::Configuration, "{text}");
            assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
        }
        let failure = UpstreamUrl::parse("https://user:canary@a.example/").unwrap_err();
        assert!(failure.next_step().unwrap().contains("--basic"));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = parsed("https://a.example/mcp");
        for same in ["https://a.example/x", "https://A.example:443/", "https://a.example:443"] {
            assert!(url.is_origin_of(&same.parse().unwrap()), "{same}");
        }
        for other in [
            "http://a.example/",
            "http://a.example:443/",
            "https://a.example:8443/",
            "https://b.example/",
            "https://a.example.b.example/",
            "https://a.example:443@b.example/",
            "https://user@a.example/",
            "/mcp",
        ] {
            assert!(!url.is_origin_of(&other.parse().unwrap()), "{other}");
        }
        assert!(parsed("https://[::1]/").is_origin_of(&"https://[::1]:443/".parse().unwrap()));
    }
}
