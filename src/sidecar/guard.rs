//! Who may ask, and what: decided on a request's head and its peer alone, before a byte of the body
//! is read.
//!
//! The port holds a company's keys open. A web page in a browser on this machine reaches it too: by
//! a name of its own that it lets point here (DNS rebinding), or by its own origin. So names and
//! origins other than those of loopback are refused unless they were allowed.

use std::net::{IpAddr, Ipv6Addr};

use http::{
    HeaderMap, HeaderName, Method, StatusCode,
    header::{self, HeaderValue},
    request::Parts,
    uri::Authority,
};
use thiserror::Error;

use super::{
    path,
    peer::{From, Peer},
};
use crate::secret::Secret;

/// What passes: those that no proxy gives a meaning of its own. TRACE would show our credentials to
/// whoever asks (RFC 9110, section 9.3.8), CONNECT asks for another host.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::DELETE,
    Method::PUT,
    Method::PATCH,
    Method::HEAD,
    Method::OPTIONS,
];

/// What browsers say of where a request comes from.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What is allowed besides what always is.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Names that a request may be for (`Host`) besides those of loopback, as [`host_name`] has them.
    pub hosts: Vec<String>,
    /// Those that routes are for: they are ours too, and say nothing of all others.
    pub routed: Vec<String>,
    /// Origins of web pages (RFC 6454) that may ask, in lower case, besides those of loopback.
    pub origins: Vec<String>,
    /// Users whose processes may connect to a Unix socket.
    pub users: Vec<u32>,
    /// Names (DNS, URI) of which a client certificate must have one; none given: any.
    pub names: Vec<String>,
    /// A header that each request must have, with this value.
    pub required: Option<(HeaderName, HeaderValue)>,
}

/// Why a request is not let in.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum Denied {
    #[error("processes of uid {0} may not ask here")]
    User(u32),
    #[error("the client certificate has none of the names that may ask here")]
    Name,
    #[error("{0} is not carried")]
    Method(String),
    #[error("expected one host in the request, found {0}")]
    Hosts(&'static str),
    #[error("the request is for a host that is not ours")]
    Host,
    #[error("web pages of that origin may not ask here")]
    Origin,
    #[error("a header that every request must have is missing")]
    Required,
    #[error("expected the token of this sidecar in Authorization: Bearer, found none or another")]
    Token,
    #[error("the path could mean different places to different programs")]
    Path,
    #[error("there is no route to that path")]
    Route,
    #[error("the session belongs to another client, or is over")]
    Session,
}

impl Denied {
    /// The status that says it.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::User(_) | Self::Name | Self::Origin | Self::Required => StatusCode::FORBIDDEN,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Hosts(_) | Self::Path => StatusCode::BAD_REQUEST,
            Self::Route | Self::Session => StatusCode::NOT_FOUND,
        }
    }

    /// The next step, for whoever runs the sidecar.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::User(_) => "--allow-uid UID lets them in",
            Self::Name => "--client-name NAME allows a DNS name or a URI of the certificate",
            Self::Method(_) => "GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS are",
            Self::Hosts(_) => "send one Host header, the name that the sidecar is reached by",
            Self::Host => "use localhost or 127.0.0.1; --allow-host NAME allows another name",
            Self::Origin => "--allow-origin ORIGIN allows one",
            Self::Required => "--require-header says which",
            Self::Token => "send the token that --inbound-bearer names",
            Self::Path => "send it without dot segments, backslashes and control characters",
            Self::Route => "the URL's path, or the prefix of a route, is where paths begin",
            Self::Session => "start a new session: send initialize without a session id",
        }
    }

    /// The name of the rule, for logs and figures.
    pub(super) fn rule(&self) -> &'static str {
        match self {
            Self::User(_) => "uid",
            Self::Name => "client_name",
            Self::Method(_) => "method",
            Self::Hosts(_) | Self::Host => "host",
            Self::Origin => "origin",
            Self::Required => "required_header",
            Self::Token => "token",
            Self::Path => "path",
            Self::Route => "route",
            Self::Session => "session",
        }
    }
}

/// Whether a request with this head, from this peer, may be read and carried; but for the token,
/// which is not even had for who may not ask anyway.
pub(super) fn admit(settings: &Settings, head: &Parts, peer: &Peer) -> Result<(), Denied> {
    known(settings, peer)?;
    if !METHODS.contains(&head.method) {
        return Err(Denied::Method(head.method.as_str().chars().take(20).collect()));
    }
    host(settings, head, peer)?;
    origin(settings, &head.headers)?;
    if let Some((name, value)) = &settings.required
        && !head.headers.get_all(name).iter().any(|found| found == value)
    {
        return Err(Denied::Required);
    }
    if path::is_plain(head.uri.path()) { Ok(()) } else { Err(Denied::Path) }
}

/// Whether a request shows this token.
pub(super) fn proven(headers: &HeaderMap, token: &Secret) -> Result<(), Denied> {
    if shows(headers, token) { Ok(()) } else { Err(Denied::Token) }
}

fn known(settings: &Settings, peer: &Peer) -> Result<(), Denied> {
    if let From::Unix(uid) = peer.from
        && !settings.users.contains(&uid)
    {
        return Err(Denied::User(uid));
    }
    let named = || peer.names.iter().any(|name| settings.names.contains(name));
    if settings.names.is_empty() || matches!(peer.from, From::Unix(_)) || named() {
        Ok(())
    } else {
        Err(Denied::Name)
    }
}

/// RFC 9110, section 7.2. A request for two hosts would be ours to the guard and another's to
/// whoever reads the other one.
fn host(settings: &Settings, head: &Parts, peer: &Peer) -> Result<(), Denied> {
    let mut said = head.headers.get_all(header::HOST).iter();
    let stated = said.next().map(|value| value.to_str().unwrap_or_default());
    if said.next().is_some() {
        return Err(Denied::Hosts("two"));
    }
    let stated = stated.map(|text| text.parse::<Authority>().map_err(|_| Denied::Hosts("none")));
    let host = match (stated.transpose()?, head.uri.authority()) {
        (Some(stated), Some(target)) if stated != *target => return Err(Denied::Hosts("two")),
        (Some(authority), _) => Some(authority),
        (None, target) => target.cloned(),
    };
    // No web page reaches a Unix socket, so no name can be rebound to it.
    if matches!(peer.from, From::Unix(_)) {
        return Ok(());
    }
    let host = host.ok_or(Denied::Hosts("none"))?;
    if host.as_str().contains('@') {
        return Err(Denied::Host);
    }
    let name = host.host();
    let listed = settings.hosts.iter().chain(&settings.routed).any(|ours| is_host(ours, name));
    // A listener for the network is guarded by certificates or a token, which no page can send.
    let unlisted = peer.exposed && settings.hosts.is_empty();
    if listed || unlisted || is_loopback(name) { Ok(()) } else { Err(Denied::Host) }
}

/// A host as names are compared: in lower case, an address of IPv6 in brackets and in its short form
/// (RFC 5952). None if it is no host alone: a port, a path or a pattern is not part of one.
#[must_use]
pub fn host_name(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<Ipv6Addr>() {
        return Some(format!("[{address}]"));
    }
    let authority = text.parse::<Authority>().ok().filter(|_| !text.contains(['@', '*', '[']))?;
    (authority.host() == text && authority.port().is_none()).then(|| text.to_ascii_lowercase())
}

/// Whether the host of a request is this one, which is as [`host_name`] has it.
pub(super) fn is_host(ours: &str, asked: &str) -> bool {
    ours.eq_ignore_ascii_case(asked)
        || (asked.starts_with('[') && host_name(asked).is_some_and(|asked| asked == ours))
}

fn origin(settings: &Settings, headers: &HeaderMap) -> Result<(), Denied> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        // A page that loads an image or a script sends no origin, but browsers say what it is.
        let site = headers.get(SITE).map(HeaderValue::as_bytes);
        return match site {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) => Err(Denied::Origin),
        };
    };
    let allowed = |text: &str| {
        settings.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(text))
            || of_loopback(text)
    };
    match (origin.to_str(), origins.next()) {
        (Ok(text), None) if allowed(text) => Ok(()),
        _ => Err(Denied::Origin),
    }
}

/// `http://localhost:6274` and its like.
fn of_loopback(origin: &str) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.parse::<Authority>().ok());
    authority.is_some_and(|it| !it.as_str().contains('@') && is_loopback(it.host()))
}

fn is_loopback(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn shows(headers: &HeaderMap, token: &Secret) -> bool {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let (scheme, shown) = value.as_bytes().split_at(value.len().min("Bearer ".len()));
    scheme.eq_ignore_ascii_case(b"Bearer ") && Secret::new(shown) == *token
}

#[cfg(test)]
mod tests;
