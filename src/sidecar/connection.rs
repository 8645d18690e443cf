//! One inbound connection, HTTP/1.1 or HTTP/2 as its first bytes say, from its first request to its
//! last.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};

use super::{
    drain::{Drain, GRACE},
    forward::Forward,
    peer::Peer,
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
    let head = forward.times.head;
    let leaving = drain.leaving();
    let service = {
        let (peer, asked) = (Arc::clone(&peer), Arc::clone(&asked));
        service_fn(move |request| {
            asked.store(true, Ordering::Relaxed);
            let (forward, peer) = (Arc::clone(&forward), Arc::clone(&peer));
            let drain = drain.clone();
            async move { Ok::<_, Infallible>(forward.answer(request, &peer, &drain).await) }
        })
    };
    let protocol = protocol(head);
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
                    // The caller went away, or sent what is no HTTP, and has its 400.
                    tracing::debug!(%peer, %error, "a connection ended");
                }
                return;
            }
            // Who has not said anything whole by now does not mean to.
            () = &mut first, if !settled => {
                settled = true;
                if !asked.load(Ordering::Relaxed) {
                    tracing::debug!(%peer, "a connection without a request was closed");
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

fn protocol(head: Duration) -> auto::Builder<TokioExecutor> {
    let mut protocol = auto::Builder::new(TokioExecutor::new());
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
