//! A caller of the sidecar over TLS, straight on hyper and rustls: no pool, no retries.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{
    pki::{Identity, Pki},
    process::DEADLINE,
};

/// The version of HTTP that is offered.
#[derive(Clone, Copy)]
pub(super) enum Http {
    One,
    Two,
}

enum Sender {
    One(conn::http1::SendRequest<Full<Bytes>>),
    Two(conn::http2::SendRequest<Full<Bytes>>),
}

/// Who calls, and the connection it has.
pub(super) struct Caller {
    config: ClientConfig,
    sender: Option<Sender>,
    shown: Option<CertificateDer<'static>>,
}

impl Caller {
    /// One with this certificate, who trusts the CA of `pki`.
    pub(super) fn new(pki: &Pki, identity: Option<&Identity>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(pki.ca.der()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(it) => builder.with_client_auth_cert(vec![it.cert_der()], it.key_der()).unwrap(),
        };
        Self { config, sender: None, shown: None }
    }

    /// Another who calls on the same connection of HTTP/2.
    pub(super) fn again(&self) -> Self {
        let Some(Sender::Two(sender)) = &self.sender else { panic!("no connection of HTTP/2") };
        let sender = Some(Sender::Two(sender.clone()));
        Self { config: self.config.clone(), sender, shown: None }
    }

    async fn open(&mut self, to: SocketAddr, alpn: &str) -> io::Result<TlsStream<TcpStream>> {
        let mut config = self.config.clone();
        config.alpn_protocols = vec![alpn.into()];
        let tcp = TcpStream::connect(to).await?;
        let name = "localhost".try_into().unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        let connection = stream.get_ref().1;
        assert_eq!(connection.alpn_protocol(), Some(alpn.as_bytes()));
        self.shown = connection.peer_certificates().map(|chain| chain[0].clone().into_owned());
        Ok(stream)
    }

    /// The certificate that the last listener showed.
    pub(super) fn shown(&self) -> Option<CertificateDer<'static>> {
        self.shown.clone()
    }

    /// Connects.
    pub(super) async fn connect(&mut self, to: SocketAddr, http: Http) -> io::Result<()> {
        let sender = match http {
            Http::One => {
                let io = TokioIo::new(self.open(to, "http/1.1").await?);
                let (sender, connection) =
                    conn::http1::handshake(io).await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                Sender::One(sender)
            }
            Http::Two => {
                let io = TokioIo::new(self.open(to, "h2").await?);
                let handshake = conn::http2::handshake(TokioExecutor::new(), io);
                let (sender, connection) = handshake.await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                Sender::Two(sender)
            }
        };
        self.sender = Some(sender);
        Ok(())
    }

    /// A request on a connection of its own; how its handshake was.
    pub(super) async fn ask_anew(&mut self, to: SocketAddr) -> io::Result<HandshakeKind> {
        let mut stream = self.open(to, "http/1.1").await?;
        let asked = b"OPTIONS /mcp HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(asked).await?;
        let mut answer = Vec::new();
        // In TLS 1.3 a refusal comes when the handshake is over for us.
        stream.read_to_end(&mut answer).await?;
        assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
        Ok(stream.get_ref().1.handshake_kind().unwrap())
    }

    async fn send(
        &mut self,
        method: &str,
        session: Option<&str>,
        body: String,
    ) -> hyper::Result<http::Response<Incoming>> {
        let sender = self.sender.as_mut().unwrap();
        let (uri, host) = match sender {
            Sender::One(_) => ("/mcp", Some("localhost")),
            Sender::Two(_) => ("https://localhost/mcp", None),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        for (name, value) in [("host", host), ("mcp-session-id", session)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let request = request.header("mcp-protocol-version", "2025-11-25");
        let request = request.body(Full::from(body)).unwrap();
        match sender {
            Sender::One(sender) => sender.send_request(request).await,
            Sender::Two(sender) => sender.send_request(request).await,
        }
    }

    async fn post(
        &mut self,
        session: Option<&str>,
        message: &Value,
    ) -> hyper::Result<(http::response::Parts, Value)> {
        let (head, body) = self.send("POST", session, message.to_string()).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok((head, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Calls a tool: the status, and the answer's JSON.
    pub(super) async fn call(
        &mut self,
        session: Option<&str>,
        tool: &str,
        arguments: &Value,
    ) -> hyper::Result<(u16, Value)> {
        let params = json!({"name": tool, "arguments": arguments});
        let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
        let (head, answer) = self.post(session, &call).await?;
        Ok((head.status.as_u16(), answer))
    }

    /// Opens a session.
    pub(super) async fn initialize(&mut self) -> String {
        let client = json!({"name": "test", "version": "1"});
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let open = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let (head, _) = self.post(None, &open).await.unwrap();
        let session = head.headers["mcp-session-id"].to_str().unwrap().to_owned();
        let opened = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.post(Some(&session), &opened).await.unwrap();
        session
    }

    /// The stream of the session's events.
    pub(super) async fn listen(&mut self, session: &str) -> Incoming {
        let response = self.send("GET", Some(session), String::new()).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body()
    }

    /// Whether the connection comes to its end.
    pub(super) async fn ended(&mut self) -> bool {
        let ended = async {
            loop {
                match self.sender.as_ref().unwrap() {
                    Sender::One(sender) if sender.is_closed() => return,
                    Sender::Two(sender) if sender.is_closed() => return,
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(DEADLINE, ended).await.is_ok()
    }
}
