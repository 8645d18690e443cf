//! The direct client: HTTPS from this process, with the pool that everybody uses.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection, HttpConnector},
    },
    rt::{TokioExecutor, TokioIo},
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::{Service, ServiceExt as _};

use crate::{
    Outcome,
    call::{Call, INITIALIZE, INITIALIZED},
    certificates::Certificates,
    sides::Http,
};

/// A session with the server.
pub(crate) struct Https {
    client: Client<Connector, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
}

impl Https {
    /// A client that is not connected yet.
    pub(crate) fn new(certificates: &Certificates, port: u16, http: Http) -> Outcome<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = Connector { tcp, tls: certificates.client_config(http.protocol())? };
        let headers = [
            (header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream")),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ];
        Ok(Self {
            client: Client::builder(TokioExecutor::new())
                .http2_only(matches!(http, Http::Two))
                .pool_max_idle_per_host(64)
                .build(connector),
            uri: format!("https://localhost:{port}/mcp").parse()?,
            headers: headers.into_iter().collect(),
        })
    }

    /// A client whose session has started.
    pub(crate) async fn start(certificates: &Certificates, port: u16, http: Http) -> Outcome<Self> {
        let mut https = Self::new(certificates, port, http)?;
        https.initialize().await?;
        https.post(INITIALIZED.to_owned()).await?;
        Ok(https)
    }

    /// Connects and asks for the session.
    pub(crate) async fn initialize(&mut self) -> Outcome<()> {
        self.post(INITIALIZE.to_owned()).await?;
        self.headers.insert("mcp-session-id", HeaderValue::from_static("bench"));
        self.headers.insert("mcp-protocol-version", HeaderValue::from_static("2025-11-25"));
        Ok(())
    }

    /// One call, to its answer's last byte.
    pub(crate) async fn call(&self, call: Call) -> Outcome<()> {
        self.post(call.request(1)).await
    }

    async fn post(&self, body: String) -> Outcome<()> {
        let mut request = Request::post(self.uri.clone()).body(Full::from(body))?;
        *request.headers_mut() = self.headers.clone();
        let response = self.client.request(request).await?;
        if !response.status().is_success() {
            return Err(format!("the server answered {}", response.status()).into());
        }
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Connector {
    tcp: HttpConnector,
    tls: Arc<ClientConfig>,
}

impl Service<Uri> for Connector {
    type Response = Tls;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Outcome<Tls>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Outcome<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { tcp, tls } = self.clone();
        Box::pin(async move {
            let tcp = tcp.oneshot(uri).await?.into_inner();
            let name = ServerName::try_from("localhost")?;
            Ok(Tls(TokioIo::new(TlsConnector::from(tls).connect(name, tcp).await?)))
        })
    }
}

/// A connection that says which protocol was agreed on.
struct Tls(TokioIo<TlsStream<TcpStream>>);

impl Connection for Tls {
    fn connected(&self) -> Connected {
        match self.0.inner().get_ref().1.alpn_protocol() {
            Some(b"h2") => Connected::new().negotiated_h2(),
            _ => Connected::new(),
        }
    }
}

impl Read for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }
}
