//! What the sidecar tells of itself, on a listener of its own: whether it is alive, whether it is
//! ready, and its figures. Nothing that is asked here changes anything.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{net::TcpStream, net::UnixStream, sync::Semaphore, time::timeout};

use super::{
    figures::{Figures, Stands},
    forward::Forward,
    guard,
    listener::{Address, Listener},
    peer::Peer,
    ready,
    translate::Translation,
};
use crate::{
    failure::{Failure, Stage},
    tls::inbound::Current,
};

/// How long a request may take to be said: less than a probe waits, whoever else is connected.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a probe waits for its answer.
const PROBE: Duration = Duration::from_secs(3);

/// Who probes does it one at a time; what is more than that waits.
const CONNECTIONS: usize = 16;
/// A connection is for one request.
const LIFE: Duration = Duration::from_secs(10);
/// Before the next try when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(50);

const LEAVING: &str = "it is leaving";

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What is answered from.
pub(super) struct Admin {
    /// Not held: what is drained must be able to end.
    pub(super) forward: Weak<Forward>,
    pub(super) figures: Arc<Figures>,
    /// Pages in browsers are kept out as from everything else.
    pub(super) guard: guard::Settings,
    /// What the listeners show, if they speak TLS.
    pub(super) listener: Option<Current>,
}

/// Answers until the sidecar is gone.
pub(super) async fn serve(listener: Listener, admin: Admin) {
    let (admin, places) = (Arc::new(admin), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (admin, peer) = (Arc::clone(&admin), Arc::new(peer));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (admin, peer) = (Arc::clone(&admin), Arc::clone(&peer));
                let (head, _) = request.into_parts();
                async move { Ok::<_, Infallible>(admin.answer(&head, &peer).await) }
            });
            let mut protocol = hyper::server::conn::http1::Builder::new();
            let protocol = protocol.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            let protocol = protocol.keep_alive(false);
            // Who asked may have gone, or stays without asking for anything more.
            let _ = timeout(LIFE, protocol.serve_connection(TokioIo::new(stream), service)).await;
            drop(place);
        });
    }
}

impl Admin {
    /// The answer while requests are carried, or the last of them is gone.
    async fn answer(&self, head: &Parts, peer: &Peer) -> Response<Full<Bytes>> {
        if let Err(denied) = guard::admit(&self.guard, head, peer) {
            return text(denied.status(), PLAIN, format!("{denied}\n"));
        }
        match (&head.method, head.uri.path()) {
            (&Method::GET | &Method::HEAD, "/healthz") => {
                text(StatusCode::OK, PLAIN, "ok\n".to_owned())
            }
            (&Method::GET | &Method::HEAD, "/readyz") => self.readiness().await,
            (&Method::GET | &Method::HEAD, "/metrics") => {
                text(StatusCode::OK, METRICS, self.metrics())
            }
            _ => {
                let there = "there are /healthz, /readyz and /metrics\n".to_owned();
                text(StatusCode::NOT_FOUND, PLAIN, there)
            }
        }
    }

    /// Whether requests had better go elsewhere, and why.
    async fn readiness(&self) -> Response<Full<Bytes>> {
        let why = match self.forward.upgrade() {
            Some(forward) if !forward.drain.is_leaving() => {
                ready::hindrances(&forward, self.listener.as_ref()).await
            }
            _ => vec![LEAVING.to_owned()],
        };
        let ready = why.is_empty();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let said: Value = json!({"ready": ready, "because": why});
        text(status, JSON, format!("{said}\n"))
    }

    fn metrics(&self) -> String {
        let forward = self.forward.upgrade();
        let listener = self.listener.as_ref().map(|it| it.borrow().identity.not_after.0);
        let lanes = forward.as_ref().map_or(&[][..], |forward| &forward.lanes);
        let routes = lanes.iter().map(|lane| Stands {
            route: Arc::clone(&lane.name),
            sessions: lane.sessions.len() + lane.translation.as_ref().map_or(0, Translation::len),
            not_after: lane.identity().map(|identity| identity.not_after.0),
        });
        self.figures.text(listener, routes)
    }
}

fn text(status: StatusCode, kind: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    // What is true now alone is kept by nobody.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Asks a running sidecar whether it is ready.
///
/// # Errors
///
/// At [`Stage::Downstream`]: it is not, with what it says of it; or there is no answer.
pub async fn probe(address: &Address) -> Result<(), Failure> {
    let failed = |what: String| Failure::new(Stage::Downstream, what);
    let asked = async {
        let request = Request::get("/readyz").header(header::HOST, "localhost");
        let request = request.body(Empty::<Bytes>::new()).map_err(|it| it.to_string())?;
        match address {
            Address::Tcp(address) => {
                exchange(TcpStream::connect(address).await.map_err(|it| it.to_string())?, request)
                    .await
            }
            Address::Unix(path) => {
                exchange(UnixStream::connect(path).await.map_err(|it| it.to_string())?, request)
                    .await
            }
            Address::Inherited(_) => Err("an inherited socket can't be asked".to_owned()),
        }
    };
    match timeout(PROBE, asked).await {
        Err(_) => Err(failed(format!("{address} gave no answer within 3s"))),
        Ok(Err(error)) => Err(failed(format!("{address} can't be asked: {error}"))
            .hint("--admin ADDR is where the sidecar tells of itself")),
        Ok(Ok((StatusCode::OK, _))) => Ok(()),
        Ok(Ok((_, said))) => Err(failed(format!("not ready: {}", said.trim()))),
    }
}

async fn exchange<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, String), String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(words)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(words)?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).chars().take(1000).collect()))
}
