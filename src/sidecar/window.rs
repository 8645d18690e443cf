//! HTTP/2: a caller that answers pings and grants no window to one of its answers.
//!
//! hyper asks a body for its next frame when the one before has found room, and not sooner: an answer
//! that nobody takes would be held for as long as its connection lives, and its place with it. So the
//! task of each stream watches what it waits for. For the upstream it may wait for hours, for its
//! caller as long as a connection of HTTP/1.1 does.

use std::{
    cell::Cell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use super::{
    heard::stuck,
    peer::Peer,
    quiet::{Open, Quiet},
};

/// What must be taken in one go: a caller who is slow takes this much in any time that is sensible.
const PIECE: usize = 16 * 1024;

tokio::task_local! {
    /// Of the stream whose task runs.
    static STATE: Cell<State>;
}

/// What a stream waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A request, or the head of its answer; the next frame of the answer.
    Upstream,
    /// Room for the next frame.
    Caller,
    /// The same, and some frame went out just now.
    CallerWhoTook,
}

/// Notes it, and tells whether anybody watches: over HTTP/1.1 nobody does.
fn now(state: State) -> bool {
    STATE.try_with(|it| it.set(state)).is_ok()
}

/// An answer's body, which tells whether it is asked for more.
pub(super) struct Taken<B> {
    body: B,
    /// Of its last frame.
    rest: Bytes,
}

impl<B> Taken<B> {
    /// The answer is there.
    pub(super) fn new(body: B) -> Self {
        now(State::CallerWhoTook);
        Self { body, rest: Bytes::new() }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Taken<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let frame = Pin::new(&mut this.body).poll_frame(cx);
            let pending = frame.is_pending();
            let watched = now(if pending { State::Upstream } else { State::CallerWhoTook });
            match frame {
                Poll::Ready(Some(Ok(frame))) if watched && frame.is_data() => {
                    this.rest = frame.into_data().unwrap_or_default();
                }
                frame => return frame,
            }
        }
        now(State::CallerWhoTook);
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// Runs the streams of one connection.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) peer: Arc<Peer>,
    /// How long a caller may take nothing of an answer.
    pub(super) limit: Duration,
    /// Knows how many there are.
    pub(super) quiet: Arc<Quiet>,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (streams, state) = (self.clone(), State::Upstream);
        let open = self.quiet.begin();
        tokio::spawn(Watched { stream, streams, state, waiting: None, _open: open });
    }
}

pin_project! {
    struct Watched<F> {
        #[pin]
        stream: F,
        streams: Streams,
        state: State,
        waiting: Option<Pin<Box<Sleep>>>,
        _open: Open,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (polled, state) = STATE.sync_scope(Cell::new(*this.state), || {
            let polled = this.stream.poll(cx);
            (polled, STATE.with(Cell::get))
        });
        *this.state = if state == State::Upstream { state } else { State::Caller };
        if polled.is_ready() || state == State::Upstream {
            return polled;
        }
        let limit = this.streams.limit;
        let new = this.waiting.is_none();
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        if state == State::CallerWhoTook && !new {
            waiting.as_mut().reset(Instant::now() + limit);
        }
        if waiting.as_mut().poll(cx).is_ready() {
            // What is dropped with the stream gives its place back, and resets it.
            stuck(&this.streams.peer);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
