//! The end of an event stream that outlives the identity it was opened under.
//!
//! A rotated configuration gets a new pool; what is in flight ends on the old one. A stream may
//! last for days, so it is ended at a maximum age after the rotation, and opened again by whoever
//! listens, under the new identity.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::watch;

use crate::failure::{Failure, Stage};

/// Held by a pool; told when the pool is replaced.
pub(super) struct Retirement(Arc<watch::Sender<bool>>);

impl Retirement {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Ends the streams that still run after `age`.
    pub(super) fn begin(&self, age: Duration) {
        let sender = Arc::clone(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(age).await;
            sender.send_replace(true);
        });
    }

    /// `stream`, ended when its pool's time is over.
    pub(super) fn limit<B>(&self, stream: B) -> Retiring<B> {
        let mut over = self.0.subscribe();
        let over = Box::pin(async move {
            // A pool that is dropped without being replaced ends nothing.
            if over.wait_for(|over| *over).await.is_err() {
                std::future::pending().await
            }
        });
        Retiring { stream, over }
    }
}

pin_project! {
    /// See [`Retirement::limit`].
    pub(super) struct Retiring<B> {
        #[pin]
        stream: B,
        over: Pin<Box<dyn Future<Output = ()> + Send>>,
    }
}

impl<B: Body<Data = Bytes, Error = Failure>> Body for Retiring<B> {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.project();
        // What has arrived is handed on first: an event is not cut in two for this.
        match this.stream.poll_frame(context) {
            Poll::Pending => this.over.as_mut().poll(context).map(|()| {
                let what = "the event stream was ended since the identity was rotated";
                Some(Err(Failure::new(Stage::Response, what)))
            }),
            ready => ready,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.size_hint()
    }
}
