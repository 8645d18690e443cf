//! WebSocket (RFC 6455): the handshake is a request like any other, with its guard and its
//! credentials; what comes after it are bytes, carried both ways until one side ends.
//!
//! No other protocol is upgraded to: h2c within a connection would carry requests past the guard.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::{drain::Drain, room::Place};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// Whether a request asks for WebSocket (RFC 6455, section 4.1), and the connection it does so on.
pub(super) fn asked(head: &mut Parts) -> Option<OnUpgrade> {
    asks(head).then(|| head.extensions.remove::<OnUpgrade>()).flatten()
}

fn asks(head: &Parts) -> bool {
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && says(&head.headers, &header::CONNECTION, "upgrade")
        && says(&head.headers, &header::UPGRADE, "websocket")
}

/// Says to the next hop what was asked of this one.
pub(super) fn ask(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, WEBSOCKET);
}

/// The upstream's side of the tunnel, if it agreed.
pub(super) fn agreed(head: &mut http::response::Parts) -> Option<OnUpgrade> {
    let agreed = head.status == StatusCode::SWITCHING_PROTOCOLS
        && says(&head.headers, &header::UPGRADE, "websocket");
    agreed.then(|| head.extensions.remove::<OnUpgrade>()).flatten()
}

/// Carries bytes both ways until one side ends, or the sidecar leaves: a socket may stay open for
/// ever, and its client connects again.
pub(super) async fn carry(downstream: OnUpgrade, upstream: OnUpgrade, drain: Drain, place: Place) {
    let leaving = drain.leaving();
    let both = async {
        let (downstream, upstream) = tokio::try_join!(downstream, upstream)?;
        let (mut downstream, mut upstream) = (TokioIo::new(downstream), TokioIo::new(upstream));
        let carried = copy_bidirectional(&mut downstream, &mut upstream).await;
        Ok::<_, hyper::Error>(carried)
    };
    tokio::select! {
        ended = both => match ended {
            Ok(Ok((up, down))) => tracing::debug!(up, down, "a WebSocket ended"),
            Ok(Err(error)) => tracing::debug!(%error, "a WebSocket broke off"),
            Err(error) => tracing::debug!(%error, "a WebSocket was not opened"),
        },
        () = leaving => tracing::debug!("a WebSocket was ended: leaving"),
    }
    drop((place, drain));
}

/// Whether one of a header's elements is this word (RFC 9110, section 5.6.1).
fn says(headers: &HeaderMap, name: &header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|it| it.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asks(version: Version, method: &str, connection: &str, upgrade: &str) -> bool {
        let request = http::Request::builder().version(version).method(method);
        let request = request.header("connection", connection).header("upgrade", upgrade);
        super::asks(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_handshake_is_known_by_its_words() {
        assert!(asks(Version::HTTP_11, "GET", "keep-alive, Upgrade", "WebSocket"));
        assert!(!asks(Version::HTTP_11, "POST", "upgrade", "websocket"));
        assert!(!asks(Version::HTTP_11, "GET", "keep-alive", "websocket"));
        assert!(!asks(Version::HTTP_11, "GET", "upgrade", "h2c"));
        assert!(!asks(Version::HTTP_2, "GET", "upgrade", "websocket"));
    }
}
