//! What the layers below say went wrong, as failures: at which stage, with whom, what to do.
//!
//! The stage decides whether a request may be sent again, so anything that is not proven to have
//! failed before the request left is `Send` or later.

use std::{error::Error, io};

use crate::{
    failure::{Failure, Stage},
    tls::Tls,
};

/// The first error of type `E` in a chain, looking through what `io::Error` wraps.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => current.source(),
        };
    }
    None
}

/// What rustls said, if it said something.
pub(super) fn rustls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    find(error)
}

/// No TCP connection.
pub(super) fn unreachable(upstream: &str, error: &(dyn Error + 'static)) -> Failure {
    // hyper-util's connector names name resolution only in its text.
    if error.to_string().starts_with("dns error") {
        let what = format!("the name of {upstream} could not be resolved");
        return Failure::new(Stage::Connect, what)
            .hint("check the host in the URL (API_URL), the network, and whether a proxy is needed (--proxy)");
    }
    let why = find::<io::Error>(error).map_or_else(|| "no connection".to_owned(), plain);
    Failure::new(Stage::Connect, format!("{upstream} could not be reached: {why}")).hint(
        "check the host and port in the URL, and that the server is up; --proxy names a proxy",
    )
}

/// No way through the proxy.
pub(super) fn proxy(proxy: &str, upstream: &str, error: &(dyn Error + 'static)) -> Failure {
    let text = error.to_string();
    if text.contains("authorization required") {
        let what = format!("the proxy {proxy} wants credentials (407)");
        return Failure::new(Stage::Connect, what)
            .hint("give them with --proxy-user USER:env:NAME");
    }
    if let Some(cause) = find::<io::Error>(error) {
        let why = plain(cause);
        return Failure::new(Stage::Connect, format!("the proxy {proxy} could not be used: {why}"))
            .hint(
                "check --proxy, or the variables HTTPS_PROXY and ALL_PROXY; NO_PROXY exempts hosts",
            );
    }
    // The text names a step of the handshake, nothing of its content.
    Failure::new(Stage::Connect, format!("the proxy {proxy} did not connect to {upstream}: {text}"))
        .hint("check that the proxy may reach this host, or exempt it with NO_PROXY")
}

/// The peer closed the connection in the middle of the TLS handshake.
pub(super) fn hung_up(tls: &Tls, upstream: &str, error: &io::Error) -> Failure {
    let what = format!("{upstream} broke off the TLS handshake: {}", plain(error));
    let failure = Failure::new(Stage::Tls, what);
    if tls.was_asked_for_certificate() {
        return failure.hint(certificate_hint(tls));
    }
    failure.hint("check that this port speaks TLS, and look at the server's log")
}

/// A request that got no response.
pub(super) fn no_response(
    tls: &Tls,
    upstream: &str,
    host: &str,
    error: &(dyn Error + 'static),
) -> Failure {
    if let Some(failure) = Failure::find(error) {
        return failure.clone();
    }
    if let Some(cause) = rustls(error).filter(|cause| Tls::is_identity_refused(cause)) {
        return tls.explain(cause, host);
    }
    let why = reason(error);
    let what = format!("the connection to {upstream} broke before an answer came: {why}");
    let failure = Failure::new(Stage::Send, what);
    if tls.was_asked_for_certificate() && tls.identity.is_none() {
        return failure.hint(certificate_hint(tls));
    }
    failure
}

/// A response that broke off.
pub(super) fn broke_off(tls: &Tls, upstream: &str, host: &str, error: &hyper::Error) -> Failure {
    if let Some(cause) = rustls(error).filter(|cause| Tls::is_identity_refused(cause)) {
        return tls.explain(cause, host);
    }
    let why = reason(error);
    Failure::new(Stage::Response, format!("the response of {upstream} broke off: {why}"))
}

fn certificate_hint(tls: &Tls) -> &'static str {
    if tls.identity.is_none() {
        "the server asked for a client certificate: pass it with --cert FILE and --key FILE"
    } else {
        "the server asked for a client certificate and may not have liked ours: check --cert"
    }
}

fn reason(error: &(dyn Error + 'static)) -> String {
    if let Some(io) = find::<io::Error>(error) {
        return plain(io);
    }
    let text = find::<hyper::Error>(error).map_or("it was closed", |hyper| {
        if hyper.is_incomplete_message() {
            "it was closed"
        } else if hyper.is_parse() {
            "what came is no HTTP"
        } else if hyper.is_timeout() {
            "it went silent"
        } else {
            "it failed"
        }
    });
    text.to_owned()
}

/// What the system says, without the wrapping and the number.
fn plain(error: &io::Error) -> String {
    if let Some(cause) = rustls(error) {
        return cause.to_string();
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "it was closed".to_owned(),
        io::ErrorKind::TimedOut => "it went silent".to_owned(),
        kind => kind.to_string(),
    }
}
