//! A response's body on its way in: unchanged, with errors that say how far it came.
//!
//! A stream that is listened to under a TLS configuration that was replaced ends at the maximum
//! age: it can last for days, and would keep an identity in use that was taken out of it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, pending};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{sync::watch, time::sleep};

use super::{broken, url::UpstreamUrl};
use crate::{
    failure::{Failure, Stage},
    service::Outlived,
    tls::Tls,
};

/// What a body needs of the client it came from.
pub(super) struct Source {
    pub(super) upstream: UpstreamUrl,
    pub(super) tls: watch::Receiver<Arc<Tls>>,
    pub(super) maximum_age: Duration,
}

/// A body that is arriving.
pub(super) struct Arriving {
    /// Dropped, and its connection with it, as soon as it has failed.
    inner: Option<Incoming>,
    received: u64,
    generation: Arc<Tls>,
    _load: Arc<()>,
    source: Arc<Source>,
    /// An event stream that somebody listens to: it ends with its identity. A call's answer goes
    /// on, however long it takes.
    ages: bool,
    /// Made by the first wait: most bodies are there at once and never pay for it.
    aged: Option<BoxFuture<'static, ()>>,
}

impl Arriving {
    /// `load` is held until the body is dropped.
    pub(super) fn new(
        inner: Incoming,
        (generation, load): (Arc<Tls>, Arc<()>),
        source: Arc<Source>,
        ages: bool,
    ) -> Self {
        let inner = Some(inner);
        Self { inner, received: 0, generation, _load: load, source, ages, aged: None }
    }

    fn fail(&mut self, what: String) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.inner = None;
        Poll::Ready(Some(Err(Failure::new(Stage::Response, what))))
    }
}

/// Waits until `generation` was replaced and `age` has passed since.
async fn aged(mut tls: watch::Receiver<Arc<Tls>>, generation: Arc<Tls>, age: Duration) {
    if tls.wait_for(|current| !Arc::ptr_eq(current, &generation)).await.is_err() {
        // Nothing is left that could replace it.
        return pending().await;
    }
    sleep(age).await;
}

fn rotated(upstream: &UpstreamUrl) -> String {
    let peer = upstream.authority();
    format!("the identity was rotated: a stream of {peer} from before it was ended")
}

/// The same for what has no body any more.
pub(super) fn outlived(generation: Arc<Tls>, source: Arc<Source>) -> Outlived {
    Outlived(Arc::new(move || {
        let (generation, source) = (Arc::clone(&generation), Arc::clone(&source));
        let aged = aged(source.tls.clone(), generation, source.maximum_age);
        aged.map(move |()| Failure::new(Stage::Response, rotated(&source.upstream))).boxed()
    }))
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.received += frame.data_ref().map_or(0, |data| data.len() as u64);
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(Some(Err(error))) => {
                let (peer, cause) = (this.source.upstream.authority(), broken::cause(&error));
                let bytes = this.received;
                return this.fail(format!(
                    "the response of {peer} broke off after {bytes} bytes: {cause}"
                ));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending if !this.ages => return Poll::Pending,
            Poll::Pending => {}
        }
        let aged = this.aged.get_or_insert_with(|| {
            let (tls, generation) = (this.source.tls.clone(), Arc::clone(&this.generation));
            aged(tls, generation, this.source.maximum_age).boxed()
        });
        if aged.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let what = rotated(&this.source.upstream);
        this.fail(what)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
