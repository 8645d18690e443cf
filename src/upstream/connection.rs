//! One HTTP connection to the upstream: HTTP/1.1 for one exchange at a time, or HTTP/2 for many.
//!
//! It sends what it is given, once. A request that it gives back was taken out of its queue whole,
//! not a byte of it written; of one that it does not give back nothing is known.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::Either;
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::oneshot;

use super::stream::{LastWords, Stream};

/// A request on its way out.
pub(super) type Outgoing = http::Request<Full<Bytes>>;

/// HTTP/2: requests of one connection at a time; those beyond take another. Few servers allow less
/// (RFC 9113, section 6.5.2), and a stream that is listened to counts for as long as it is open.
pub(super) const STREAMS_AT_MOST: usize = 100;
/// HTTP/2: a result of many megabytes must not wait for permission a round trip long. Far away
/// (100 ms) a window of 1 MiB lets 10 MB/s pass; it is a bound for memory too.
const STREAM_WINDOW: u32 = 1 << 20;
/// So many responses that nobody reads leave room for the others.
const CONNECTION_WINDOW: u32 = STREAMS_AT_MOST as u32 * STREAM_WINDOW;
/// HTTP/2: what a response's head may take. HTTP/1.1 has hyper's own bounds, 100 headers and 400
/// KiB, which cost nothing as they are.
const HEAD_AT_MOST: u32 = 64 << 10;
/// HTTP/2: a peer that vanished is noticed while something waits for it.
const PING_AFTER: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// A connection, or one of the handles on it. It ends with the last of them.
pub(super) struct Connection {
    sender: Sender,
    last_words: LastWords,
    /// Whether it has carried a request.
    used: bool,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    /// With what is cloned for each exchange: how many there are.
    Two(http2::SendRequest<Full<Bytes>>, Arc<()>),
}

/// Why an exchange did not begin or brought no response.
pub(super) struct Broken {
    pub(super) error: hyper::Error,
    pub(super) last_words: LastWords,
}

impl Connection {
    /// HTTP over a stream on which nothing was said yet, in the version that both sides agreed on;
    /// `h2_alone` where there was nothing to agree on.
    pub(super) async fn begin(stream: Stream, h2_alone: bool) -> Result<Self, Broken> {
        let last_words = stream.last_words();
        let begun = if h2_alone || stream.is_h2() { two(stream).await } else { one(stream).await };
        match begun {
            Ok(sender) => Ok(Self { sender, last_words, used: false }),
            Err(error) => Err(Broken { error, last_words }),
        }
    }

    /// Whether it takes more than one exchange at a time.
    pub(super) fn is_multiplexed(&self) -> bool {
        matches!(self.sender, Sender::Two(..))
    }

    /// Whether it has carried a request, after which the other side may have hung up.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Whether it is open.
    pub(super) fn is_alive(&self) -> bool {
        match &self.sender {
            Sender::One(sender) => !sender.is_closed(),
            Sender::Two(sender, _) => !sender.is_closed(),
        }
    }

    /// Whether it is open, and the exchanges that it carries leave room for another.
    pub(super) fn is_ready(&self) -> bool {
        match &self.sender {
            Sender::One(sender) => sender.is_ready(),
            Sender::Two(sender, _) => sender.is_ready() && self.exchanges() < STREAMS_AT_MOST,
        }
    }

    /// Resolves when it has become ready, or to `false` when it is closed.
    pub(super) async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::One(sender) => sender.ready().await.is_ok(),
            Sender::Two(sender, _) => sender.ready().await.is_ok(),
        }
    }

    /// HTTP/2: the exchanges that are under way, each of which holds a handle.
    pub(super) fn exchanges(&self) -> usize {
        match &self.sender {
            Sender::One(_) => 0,
            Sender::Two(_, load) => Arc::strong_count(load) - 1,
        }
    }

    /// HTTP/2: a handle for one more exchange.
    pub(super) fn share(&mut self) -> Option<Self> {
        let Sender::Two(sender, load) = &self.sender else { return None };
        let sender = Sender::Two(sender.clone(), Arc::clone(load));
        let used = std::mem::replace(&mut self.used, true);
        Some(Self { sender, last_words: self.last_words.clone(), used })
    }

    /// Sends a request; the response, when its head is there.
    pub(super) fn send(
        &mut self,
        request: Outgoing,
    ) -> impl Future<Output = Result<http::Response<Incoming>, TrySendError<Outgoing>>> + Send + use<>
    {
        self.used = true;
        match &mut self.sender {
            Sender::One(sender) => Either::Left(sender.try_send_request(request)),
            Sender::Two(sender, _) => Either::Right(sender.try_send_request(request)),
        }
    }

    /// What came of a request that the connection did not carry.
    pub(super) fn broken(self, error: hyper::Error) -> Broken {
        Broken { error, last_words: self.last_words }
    }
}

async fn one(stream: Stream) -> hyper::Result<Sender> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let (told, how) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            // Who waits for it to begin wants to know; for an exchange hyper tells it.
            let _ = told.send(error);
        }
    });
    match sender.ready().await {
        Ok(()) => Ok(Sender::One(sender)),
        Err(closed) => Err(how.await.unwrap_or(closed)),
    }
}

async fn two(stream: Stream) -> hyper::Result<Sender> {
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_AT_MOST)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_WITHIN)
        .handshake(TokioIo::new(stream))
        .await?;
    // How it ended is told to each exchange.
    tokio::spawn(connection);
    sender.ready().await?;
    Ok(Sender::Two(sender, Arc::default()))
}
