//! Probes and figures on a listener of their own, for this machine alone.
//!
//! It answers three paths, reads no body, and goes on answering while the sidecar drains. A web page
//! can reach it as it can reach any loopback port, so the guard stands before it too.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use super::{
    figures::{Figures, Stands},
    forward::Forward,
    guard,
    listener::{Listener, Stream},
    peer::Peer,
    ready::{self, Reason},
};

/// Who probes does it one at a time; what is more than that waits.
const CONNECTIONS: usize = 16;
/// A connection is for a few requests, not for ever.
const LIFE: Duration = Duration::from_secs(60);
const HEAD: Duration = Duration::from_secs(5);
/// Before the next try when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(50);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What is answered from.
pub(super) struct Admin {
    /// Not held: what is drained must be able to end.
    pub(super) forward: Weak<Forward>,
    pub(super) leaving: watch::Receiver<bool>,
    pub(super) figures: Arc<Figures>,
    pub(super) guard: guard::Settings,
}

/// Answers what comes in by `listener`, for as long as the process lives.
pub(super) async fn serve(admin: Admin, listener: Listener) {
    let (admin, places) = (Arc::new(admin), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let admin = Arc::clone(&admin);
                tokio::spawn(async move {
                    // Its end is nobody's business.
                    let _ = timeout(LIFE, converse(admin, stream, peer)).await;
                    drop(place);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn converse(admin: Arc<Admin>, stream: Stream, peer: Peer) {
    let answer = |request| {
        let (admin, peer) = (Arc::clone(&admin), peer.clone());
        async move { Ok::<_, Infallible>(admin.answer(request, &peer).await) }
    };
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let connection = protocol.serve_connection(TokioIo::new(stream), service_fn(answer));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection for probes ended");
    }
}

impl Admin {
    async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Full<Bytes>> {
        let (head, _) = request.into_parts();
        if let Err(denied) = guard::admit(&self.guard, &head, peer, None) {
            return plain(denied.status(), denied.to_string());
        }
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here".to_owned());
        }
        match head.uri.path() {
            "/healthz" => response(StatusCode::OK, JSON, "{\"alive\":true}\n".to_owned()),
            "/readyz" => self.readiness().await,
            "/metrics" => self.metrics(),
            _ => plain(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz and /metrics here".to_owned(),
            ),
        }
    }

    async fn readiness(&self) -> Response<Full<Bytes>> {
        let reasons = match self.forward.upgrade() {
            Some(forward) if !*self.leaving.borrow() => ready::reasons(&forward).await,
            _ => vec![Reason::draining()],
        };
        let status = match reasons.as_slice() {
            [] => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let said = serde_json::json!({ "ready": reasons.is_empty(), "reasons": reasons });
        response(status, JSON, format!("{said}\n"))
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let forward = self.forward.upgrade();
        let lanes = forward.as_ref().map_or(&[][..], |forward| &forward.lanes);
        let stand = lanes.iter().map(|lane| Stands {
            route: lane.name.clone(),
            sessions: lane.sessions.len(),
            not_after: (lane.certificate)().map(|certificate| certificate.not_after),
        });
        match self.figures.text(stand) {
            Ok(text) => response(StatusCode::OK, METRICS, text),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "no figures".to_owned()),
        }
    }
}

fn plain(status: StatusCode, mut text: String) -> Response<Full<Bytes>> {
    text.push('\n');
    response(status, PLAIN, text)
}

fn response(status: StatusCode, kind: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    // Nobody keeps what is true now alone, and no browser guesses what it is.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
