//! One inbound connection, HTTP/1.1 or HTTP/2 as its first bytes say, from its first request to its
//! last.

use std::{
    convert::Infallible,
    error::Error,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};

use super::{
    drain::{Drain, GRACE},
    forward::Forward,
    heard::{Heard, Undone, stuck},
    peer::Peer,
    window::{Streams, Taken},
};

/// A request's head; a cookie or a token in it can be a few KiB.
const HEAD_AT_MOST: usize = 64 * 1024;
const HEADERS_AT_MOST: usize = 128;
/// HTTP/2: requests of one connection at a time.
const STREAMS_AT_MOST: u32 = 256;
const STREAM_WINDOW: u32 = 1 << 20;
/// HTTP/2: a peer that vanished is noticed.
const PING_AFTER: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Answers the requests of one connection until it ends, or `drain` says that it is to.
pub(super) async fn serve<S>(forward: Arc<Forward>, stream: S, peer: Peer, drain: Drain)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (peer, asked) = (Arc::new(peer), Arc::new(AtomicBool::new(false)));
    let (head, body) = (forward.times.head, forward.times.body);
    let leaving = drain.leaving();
    let (stream, undone) = Heard::new(stream, body);
    let service = {
        let (peer, asked) = (Arc::clone(&peer), Arc::clone(&asked));
        let undone = Arc::clone(&undone);
        service_fn(move |request| {
            asked.store(true, Ordering::Relaxed);
            let (forward, peer) = (Arc::clone(&forward), Arc::clone(&peer));
            let (undone, drain) = (Arc::clone(&undone), drain.clone());
            async move {
                let response = forward.answer(request, &peer, &drain).await;
                undone.answered();
                Ok::<_, Infallible>(response.map(Taken::new))
            }
        })
    };
    let streams = Streams { peer: Arc::clone(&peer), limit: body };
    let protocol = protocol(head, streams);
    let mut connection =
        pin!(protocol.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut leaving = pin!(async {
        leaving.await;
        sleep(GRACE).await;
    });
    let mut first = pin!(sleep(head));
    let (mut told, mut settled) = (false, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tell(&peer, &*error, &undone);
                }
                return;
            }
            // Who has not said anything whole by now does not mean to.
            () = &mut first, if !settled => {
                settled = true;
                if !asked.load(Ordering::Relaxed) {
                    if undone.has_begun() {
                        slow(&peer);
                    } else {
                        tracing::debug!(%peer, "a connection without a request was closed");
                    }
                    return;
                }
            }
            () = &mut leaving, if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// How a connection ended, where no request of it could say so: hyper has answered what is no HTTP
/// by itself, and closes a connection whose next head does not come.
fn tell(peer: &Peer, error: &(dyn Error + Send + Sync + 'static), undone: &Undone) {
    let http = error.downcast_ref::<hyper::Error>();
    let frames = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    let malformed = http.is_some_and(hyper::Error::is_parse)
        || frames.is_some_and(|it| it.is_library() && it.is_go_away());
    // The other time limit is that of a ping.
    let head_is_late = http.is_some_and(|it| it.is_timeout() && it.source().is_none());
    if malformed {
        let hint = "a request must be HTTP/1.1 or HTTP/2, its head within 64 KiB and 128 headers";
        tracing::warn!(%peer, rule = "malformed", stage = "downstream", hint, "{error}");
    } else if head_is_late && undone.has_begun() {
        slow(peer);
    } else if undone.is_stuck() {
        stuck(peer);
    } else {
        // The caller went away.
        tracing::debug!(%peer, %error, "a connection ended");
    }
}

/// Tells of a caller who is too slow to say what it wants.
pub(super) fn slow(peer: &Peer) {
    let hint = "--header-timeout gives it more time";
    let what = "the head of a request did not come in time";
    tracing::warn!(%peer, rule = "slow", stage = "downstream", hint, "{what}");
}

fn protocol(head: Duration, streams: Streams) -> auto::Builder<Streams> {
    let mut protocol = auto::Builder::new(streams);
    protocol
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(HEAD_AT_MOST)
        .max_headers(HEADERS_AT_MOST);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_AT_MOST as u32)
        .max_concurrent_streams(STREAMS_AT_MOST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(4 * STREAM_WINDOW)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_WITHIN);
    protocol
}
