//! What an exchange that brought no response proves.
//!
//! The question is always the same: may the upstream have processed the request? Only what is
//! proven is said to be unprocessed, since such requests are sent again; all else is unknown.

use std::{borrow::Cow, error::Error, io};

use super::{connection::Broken, url::UpstreamUrl};
use crate::{
    failure::{Failure, Stage},
    tls::Tls,
};

/// Characters of a cause that are quoted: an HTTP/2 GOAWAY brings text of the upstream's.
const QUOTED: usize = 200;

/// Why an exchange brought no response.
pub(super) enum Ended {
    /// There was no connection for it.
    Unconnected(Failure),
    /// Its connection ended.
    Broken(Broken),
}

/// Whether a TLS handshake failed, be it that the server said so when the client was already done.
pub(super) fn is_handshake(ended: &Ended) -> bool {
    match ended {
        Ended::Unconnected(failure) => failure.stage() == Stage::Tls,
        Ended::Broken(broken) => last_words(broken)
            .is_some_and(|said| !may_have_been_sent(broken) || Tls::is_identity_refused(said)),
    }
}

/// The failure of a request to `upstream` that `ended` before a response came.
pub(super) fn failure(ended: Ended, upstream: &UpstreamUrl, tls: &Tls) -> Failure {
    match ended {
        // The connector's own words.
        Ended::Unconnected(failure) => failure,
        Ended::Broken(broken) if !may_have_been_sent(&broken) => unsent(broken, upstream, tls),
        Ended::Broken(broken) => unanswered(broken, upstream, tls),
    }
}

/// The failure of a connection that ended before it took a request.
pub(super) fn unsent(broken: Broken, upstream: &UpstreamUrl, tls: &Tls) -> Failure {
    if let Some(said) = last_words(&broken) {
        return tls.explain(said, upstream.host());
    }
    let (peer, cause) = (upstream.authority(), cause(&broken.error));
    Failure::new(
        Stage::Connect,
        format!("the connection to {peer} broke before the request was sent: {cause}"),
    )
    .hint(certificate_hint(tls).unwrap_or("is it overloaded or going down: try again".into()))
    .caused_by(broken.error)
}

fn unanswered(broken: Broken, upstream: &UpstreamUrl, tls: &Tls) -> Failure {
    // With TLS 1.3 a server judges a client certificate when the client is already done: the
    // refusal comes in place of an answer, and nothing behind the handshake was read.
    if let Some(said) = last_words(&broken).filter(|said| Tls::is_identity_refused(said)) {
        return tls.explain(said, upstream.host());
    }
    let error = broken.error;
    let (peer, cause) = (upstream.authority(), cause(&error));
    let failure = if is_refused(&error) {
        Failure::new(Stage::Connect, format!("{peer} takes no more requests now: {cause}"))
            .hint("it said that it did not process this one: try again")
    } else if error.is_parse() {
        Failure::new(Stage::Protocol, format!("{peer} answered with something else than HTTP"))
            .hint(format!(
                "does the URL's port speak HTTP ({cause}); if it does, the request may have run: \
                 look before you repeat it"
            ))
    } else {
        Failure::new(
            Stage::Send,
            format!("the connection to {peer} broke before a response came: {cause}"),
        )
        .hint(
            certificate_hint(tls)
                .unwrap_or("the request may have been processed: look before you repeat it".into()),
        )
    };
    failure.caused_by(error)
}

/// What rustls said on the connection.
fn last_words(broken: &Broken) -> Option<&rustls::Error> {
    broken.last_words.get().or_else(|| find(&broken.error))
}

/// What to do when a server that asked for a client certificate hangs up without a word.
pub(super) fn certificate_hint(tls: &Tls) -> Option<Cow<'static, str>> {
    match (tls.was_asked_for_certificate(), &tls.identity) {
        (false, _) => None,
        (true, None) => Some(
            "it asked for a client certificate: give one with --cert FILE and --key FILE".into(),
        ),
        (true, Some(identity)) => Some(
            format!(
                "it asked for a client certificate and may not have accepted ours ({})",
                identity.flag
            )
            .into(),
        ),
    }
}

/// Whether the upstream has said that it did not process the request: it refused the stream, or
/// closed the connection for streams from an earlier one on (RFC 9113, section 8.7).
pub(super) fn is_unprocessed(ended: &Ended) -> bool {
    matches!(ended, Ended::Broken(broken) if is_refused(&broken.error))
}

/// h2 ends a stream with a GOAWAY of the other side's only when the stream is above the last one
/// that the GOAWAY names; those below it go on, and end with an I/O error if the connection does.
fn is_refused(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (refused || error.is_go_away())
    })
}

/// Whether a byte of the request can have left. What comes back cancelled was taken out of the
/// connection's queue again, whole.
fn may_have_been_sent(broken: &Broken) -> bool {
    !broken.error.is_canceled()
}

/// The first error of type `T` in a chain, those that `io::Error` wraps included.
pub(super) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| next(*error)).find_map(|error| error.downcast_ref())
}

/// The end of the chain in words: what really happened.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let last = std::iter::successors(Some(error), |error| next(*error)).last().unwrap_or(error);
    match last.downcast_ref::<io::Error>() {
        Some(error) => words(error),
        None => last.to_string().chars().take(QUOTED).collect(),
    }
}

/// An I/O error without the number that the system gives it.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(text);
    let mut rest = text.chars();
    match rest.next() {
        // Not a word that is all capitals.
        Some(first) if !rest.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(rest).collect()
        }
        _ => text.to_owned(),
    }
}

fn next<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // `io::Error::source` skips the error that it wraps.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_read_like_the_rest() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(words(&refused), "connection refused");
        assert_eq!(words(&io::Error::other("TLS broke")), "TLS broke");
        assert_eq!(words(&io::Error::other("")), "");
    }

    #[test]
    fn the_cause_is_the_last_of_the_chain() {
        let inner = io::Error::from_raw_os_error(111);
        let outer = io::Error::other(io::Error::other(inner));
        assert_eq!(cause(&outer), "connection refused");
    }
}
