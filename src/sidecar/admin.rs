//! What the sidecar tells of itself, on a listener of its own: whether it is alive, whether it is
//! ready, and its figures. Nothing that is asked here changes anything.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{net::TcpStream, net::UnixStream, time::timeout};

use super::{
    forward::Forward,
    guard,
    listener::{Address, Listener},
};
use crate::failure::{Failure, Stage};

/// How long a request may take, and a connection be idle.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a probe waits for its answer.
const PROBE: Duration = Duration::from_secs(3);

const LEAVING: &str = "it is leaving";

/// Answers until the sidecar is gone.
pub(super) async fn serve(listener: Listener, forward: Weak<Forward>) {
    // Pages in browsers are kept out as from everything else.
    let users = forward.upgrade().map(|forward| forward.guard.users.clone()).unwrap_or_default();
    let own = Arc::new(guard::Settings { users, ..guard::Settings::default() });
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (forward, own, peer) = (Weak::clone(&forward), Arc::clone(&own), Arc::new(peer));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (head, _) = request.into_parts();
                let answer = match guard::admit(&own, &head, &peer, None) {
                    Err(denied) => text(denied.status(), format!("{denied}\n")),
                    Ok(()) => answer(forward.upgrade().as_deref(), &head.method, head.uri.path()),
                };
                async { Ok::<_, Infallible>(answer) }
            });
            let mut protocol = hyper::server::conn::http1::Builder::new();
            let protocol = protocol.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            // Who asked may have gone.
            let _ = protocol.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The answer while requests are carried, or the last of them is gone.
fn answer(forward: Option<&Forward>, method: &Method, path: &str) -> Response<Full<Bytes>> {
    match (method, path) {
        (&Method::GET | &Method::HEAD, "/healthz") => text(StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => {
            let gone = || vec![LEAVING.to_owned()];
            let why = forward.map_or_else(gone, unready);
            let ready = why.is_empty();
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let said: Value = json!({"ready": ready, "because": why});
            let mut response = text(status, format!("{said}\n"));
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        (&Method::GET | &Method::HEAD, "/metrics") => {
            let figures = forward.map(|forward| forward.figures.text(&forward.lanes));
            let mut response = text(StatusCode::OK, figures.unwrap_or_default());
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            let kind = HeaderValue::from_static(kind);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".to_owned()),
    }
}

/// Why requests had better go elsewhere.
fn unready(forward: &Forward) -> Vec<String> {
    let mut why = Vec::new();
    if forward.drain.is_leaving() {
        why.push(LEAVING.to_owned());
    }
    for lane in &forward.lanes {
        let identity = lane.identity();
        if let Some(identity) = identity.filter(|it| it.expired() || it.not_yet_valid()) {
            why.push(format!("route {}: the client certificate {identity}", lane.name));
        }
    }
    why
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
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
