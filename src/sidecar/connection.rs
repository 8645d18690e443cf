//! One inbound connection, HTTP/1.1 or HTTP/2 as its first bytes say, from its first request to its
//! last.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    mem,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
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
    forward::{Forward, Streaming},
    heard::{Heard, Undone, stuck},
    peer::Peer,
    quiet::Quiet,
    window::{Streams, Taken},
};

/// A request's head; a cookie or a token in it can be a few KiB. HTTP/1.1 has at most 100 headers:
/// hyper's own bound, for which it has room on the stack.
const HEAD_AT_MOST: usize = 64 * 1024;
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
    let (head, body, leaving) = (forward.times.head, forward.times.body, drain.leaving());
    let (stream, undone) = Heard::new(stream, body);
    let peer = Arc::new(peer);
    let quiet = Arc::new(Quiet::default());
    let streams = Streams { peer: Arc::clone(&peer), limit: body, quiet: Arc::clone(&quiet) };
    let caller = Arc::new(Caller { forward, peer, drain, undone, asked: AtomicBool::new(false) });
    let service = {
        let caller = Arc::clone(&caller);
        service_fn(move |request| Arc::clone(&caller).answer(request))
    };
    let protocol = protocol(head, streams);
    let mut connection =
        pin!(protocol.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut leaving = pin!(async {
        leaving.await;
        sleep(GRACE).await;
    });
    let mut first = pin!(sleep(head));
    let mut silence = pin!(quiet.lasts(head));
    let Caller { peer, undone, drain, asked, .. } = &*caller;
    let (mut told, mut listens, mut quits) = (false, false, false);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tell(peer, &*error, undone);
                }
                return;
            }
            // Who has not said anything whole by now does not mean to.
            () = poll_fn(|cx| match asked.load(Ordering::Relaxed) {
                true => Poll::Pending,
                false => first.as_mut().poll(cx),
            }) => {
                if undone.has_begun() {
                    slow(peer);
                } else {
                    tracing::debug!(%peer, "a connection without a request was closed");
                }
                return;
            }
            () = silence.as_mut() => {
                tracing::debug!(%peer, "a connection without requests is closed");
                if mem::replace(&mut quits, true) {
                    return;
                }
                // A request that is on its way is still served.
                connection.as_mut().graceful_shutdown();
                silence.set(quiet.lasts(GRACE));
            }
            // Once it has been polled it wakes this task, and need not be at each of its steps.
            () = poll_fn(|cx| match mem::replace(&mut listens, true) && !drain.is_leaving() {
                true => Poll::Pending,
                false => leaving.as_mut().poll(cx),
            }), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// What the requests of one connection have in common.
struct Caller {
    forward: Arc<Forward>,
    peer: Arc<Peer>,
    drain: Drain,
    undone: Arc<Undone>,
    /// Whether there was a request.
    asked: AtomicBool,
}

impl Caller {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Taken<Streaming>>, Infallible> {
        self.asked.store(true, Ordering::Relaxed);
        let response = self.forward.answer(request, &self.peer, &self.drain).await;
        self.undone.answered();
        Ok(response.map(Taken::new))
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
        let hint = "a request must be HTTP/1.1 or HTTP/2, its head within 64 KiB and 100 headers";
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
    protocol.http1().timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(HEAD_AT_MOST);
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
