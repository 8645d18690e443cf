//! WebSocket (RFC 6455): the handshake is a request like any other, with its guard and its
//! credentials; what comes after it are bytes, carried both ways until one side ends.
//!
//! No other protocol is upgraded to: h2c within a connection would carry requests past the guard.

use std::{
    io,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    sync::oneshot,
    time::timeout,
};

use super::{drain::Drain, record::Record, room::Place};
use crate::failure::{Failure, Stage};

/// What a tunnel holds of each direction at a time: small, since most are idle most of the time.
const PIECE: usize = 8 * 1024;

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
///
/// # Errors
///
/// At [`Stage::Protocol`]: it switched to something that it was not asked for.
pub(super) fn agreed(
    head: &mut http::response::Parts,
    asked: bool,
) -> Result<Option<OnUpgrade>, Failure> {
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(None);
    }
    let upgrade = head.extensions.remove::<OnUpgrade>();
    match upgrade {
        Some(upgrade) if asked && says(&head.headers, &header::UPGRADE, "websocket") => {
            Ok(Some(upgrade))
        }
        _ => {
            let what = "the upstream switched to a protocol that nobody asked it for";
            Err(Failure::new(Stage::Protocol, what).hint("is it an HTTP server"))
        }
    }
}

/// A WebSocket that both sides agreed on.
pub(super) struct Tunnel {
    pub(super) downstream: OnUpgrade,
    pub(super) upstream: OnUpgrade,
    /// Of one request, for as long as it is open.
    pub(super) place: Place,
    pub(super) drain: Drain,
    /// How long one side may take nothing, and say nothing after the other has ended.
    pub(super) limit: Duration,
}

impl Tunnel {
    /// Carries bytes both ways until one side ends, or the sidecar leaves: a socket may stay open
    /// for ever, and its client connects again. Then its record is written.
    pub(super) async fn carry(self, record: oneshot::Receiver<Record>) {
        let Self { downstream, upstream, place, drain, limit } = self;
        let moved = Moved::default();
        let both = async {
            let (downstream, upstream) =
                tokio::try_join!(downstream, upstream).map_err(io::Error::other)?;
            both_ways(TokioIo::new(downstream), TokioIo::new(upstream), limit, &moved).await
        };
        let ended = tokio::select! {
            ended = both => ended,
            () = drain.leaving() => {
                tracing::debug!("a WebSocket was ended: leaving");
                Ok(())
            }
        };
        let (up, down) = (moved.up.into_inner(), moved.down.into_inner());
        match &ended {
            Ok(()) => tracing::debug!(up, down, "a WebSocket ended"),
            Err(error) => tracing::debug!(up, down, %error, "a WebSocket broke off"),
        }
        // None if the response did not go out.
        if let Ok(mut record) = record.await {
            record.carried(up, down);
            if ended.is_ok() {
                record.ended();
            }
        }
        drop((place, drain));
    }
}

/// Bytes that were carried so far.
#[derive(Default)]
struct Moved {
    up: AtomicU64,
    down: AtomicU64,
}

/// Until both directions have ended. WebSocket does not know a half that is closed for long (RFC
/// 6455, section 7.1.1): what follows one end is the last words of the other side, or nothing.
async fn both_ways<S: AsyncRead + AsyncWrite>(
    downstream: S,
    upstream: S,
    limit: Duration,
    moved: &Moved,
) -> io::Result<()> {
    let (from_caller, to_caller) = split(downstream);
    let (from_upstream, to_upstream) = split(upstream);
    let up = pin!(one_way(from_caller, to_upstream, limit, &moved.up));
    let down = pin!(one_way(from_upstream, to_caller, limit, &moved.down));
    match select(up, down).await {
        Either::Left((ended, down)) => {
            ended?;
            while_moving(down, limit, &moved.down).await
        }
        Either::Right((ended, up)) => {
            ended?;
            while_moving(up, limit, &moved.up).await
        }
    }
}

/// Until `from` ends, and `to` was told so.
async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    limit: Duration,
    moved: &AtomicU64,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return timeout(limit, to.shutdown()).await?;
        }
        let taken = async {
            to.write_all(&piece[..read]).await?;
            to.flush().await
        };
        timeout(limit, taken).await??;
        moved.fetch_add(read as u64, Ordering::Relaxed);
    }
}

/// The direction that is left, for as long as something comes that way.
async fn while_moving(
    mut left: impl Future<Output = io::Result<()>> + Unpin,
    limit: Duration,
    moved: &AtomicU64,
) -> io::Result<()> {
    loop {
        let before = moved.load(Ordering::Relaxed);
        match timeout(limit, &mut left).await {
            Ok(ended) => return ended,
            Err(late) if moved.load(Ordering::Relaxed) == before => return Err(late.into()),
            Err(_) => {}
        }
    }
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
