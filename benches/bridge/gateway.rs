//! The upstream: HTTPS that demands a client certificate, HTTP/1.1 and HTTP/2, and behind it the
//! least of an MCP server, a legacy one or a modern one by its path. Ends with its stdin.

use std::{
    collections::VecDeque,
    convert::Infallible,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    Outcome,
    call::{Asked, Call, Era, Prepared},
    certificates, pipe, table,
};

const EVENT: (&str, &str) = ("event: message\ndata: ", "\n\n");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Serves with the certificates in `directory`; the port is the first line of stdout.
pub(crate) async fn run(directory: &str) -> Outcome<()> {
    let acceptor = TlsAcceptor::from(certificates::server_config(Path::new(directory))?);
    let prepared = Prepared::new();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    table::say(&listener.local_addr()?.port().to_string());
    let accepting = async {
        loop {
            let (tcp, _) = listener.accept().await?;
            tcp.set_nodelay(true)?;
            tokio::spawn(connection(acceptor.clone(), tcp, prepared.clone()));
        }
    };
    tokio::select! {
        failed = accepting => failed,
        () = pipe::released() => Ok(()),
    }
}

async fn connection(acceptor: TlsAcceptor, tcp: TcpStream, prepared: Prepared) {
    // A peer that hangs up has what it came for.
    if let Ok(tls) = acceptor.accept(tcp).await {
        let _ = serve(tls, prepared).await;
    }
}

async fn serve(tls: TlsStream<TcpStream>, prepared: Prepared) -> Result<(), hyper::Error> {
    let two = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let prepared = Arc::new(prepared);
    let service = service_fn(move |request| {
        let prepared = Arc::clone(&prepared);
        async move { Ok::<_, Infallible>(answer(request, &prepared).await) }
    });
    let tls = TokioIo::new(tls);
    if two {
        http2::Builder::new(TokioExecutor::new()).serve_connection(tls, service).await
    } else {
        http1::Builder::new().serve_connection(tls, service).await
    }
}

async fn answer(request: Request<Incoming>, prepared: &Prepared) -> Response<Pieces> {
    let bare = |status| {
        let mut response = Response::new(Pieces::default());
        *response.status_mut() = status;
        response
    };
    match *request.method() {
        Method::POST => {}
        Method::DELETE => return bare(StatusCode::OK),
        _ => return bare(StatusCode::METHOD_NOT_ALLOWED),
    }
    let modern = request.uri().path() == Era::Modern.path();
    let era = if modern { Era::Modern } else { Era::Legacy };
    let Ok(body) = request.into_body().collect().await else {
        return bare(StatusCode::BAD_REQUEST);
    };
    let body = body.to_bytes();
    match serde_json::from_slice::<Asked<'_>>(&body) {
        Ok(asked) => match asked.id() {
            Some(id) => message(&asked, id, era, prepared),
            None => bare(StatusCode::ACCEPTED),
        },
        Err(_) => bare(StatusCode::BAD_REQUEST),
    }
}

fn message(asked: &Asked<'_>, id: &str, era: Era, prepared: &Prepared) -> Response<Pieces> {
    let (kind, body) = match asked.call() {
        _ if asked.initializes() => (JSON, Pieces::of_known_length(vec![initialized(id)])),
        _ if asked.discovers() => (JSON, Pieces::of_known_length(vec![discovered(id, era)])),
        Call::Json(n) => (JSON, Pieces::of_known_length(prepared.result(id, n, era, ("", "")))),
        Call::Event(n) => (EVENTS, Pieces::streamed(prepared.result(id, n, era, EVENT))),
        Call::Progress(n) => {
            let notices = (0..n).map(|i| Prepared::progress(id, (i, n), EVENT));
            (EVENTS, Pieces::streamed(notices.chain(prepared.result(id, 0, era, EVENT))))
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if asked.initializes() {
        response.headers_mut().insert("mcp-session-id", HeaderValue::from_static("bench"));
    }
    response
}

fn initialized(id: &str) -> Bytes {
    let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}"#;
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into()
}

fn discovered(id: &str, era: Era) -> Bytes {
    let answer = match era {
        Era::Legacy => r#""error":{"code":-32601,"message":"no such method"}"#,
        Era::Modern => {
            r#""result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"bench","version":"1"}}}"#
        }
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},{answer}}}"#).into()
}

/// A body in prepared pieces.
#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Bytes>,
    streamed: bool,
}

impl Pieces {
    fn of_known_length(pieces: Vec<Bytes>) -> Self {
        Self { pieces: pieces.into(), streamed: false }
    }

    fn streamed(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        Self { pieces: pieces.into_iter().collect(), streamed: true }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.streamed {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum())
    }
}
