//! A connection that knows what its caller leaves undone: a request that it has begun and does not
//! end, an answer that it does not take. One that is merely idle is none of these.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::peer::Peer;

/// What the caller has left undone so far.
#[derive(Default)]
pub(super) struct Undone {
    begun: AtomicBool,
    stuck: AtomicBool,
}

impl Undone {
    /// Whether bytes came that belong to no request yet.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// What came belongs to a request that has its answer.
    pub(super) fn answered(&self) {
        self.begun.store(false, Ordering::Relaxed);
    }

    /// Whether the connection ended because the caller took nothing of its answer.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }
}

/// Tells of a caller who takes nothing of what it asked for.
pub(super) fn stuck(peer: &Peer) {
    let hint = "--body-timeout gives it more time";
    let what = "nothing of an answer was taken for too long";
    tracing::warn!(%peer, rule = "stuck", stage = "downstream", hint, "{what}");
}

/// The connection.
pub(super) struct Heard<S> {
    stream: S,
    undone: Arc<Undone>,
    /// How long the caller may take nothing of what is to be written.
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S, limit: Duration) -> (Self, Arc<Undone>) {
        let undone = Arc::default();
        (Self { stream, undone: Arc::clone(&undone), limit, waiting: None }, undone)
    }

    /// A write, given up when the caller has taken nothing for too long.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(waiting.as_mut().poll(cx));
        self.undone.stuck.store(true, Ordering::Relaxed);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.undone.begun.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
