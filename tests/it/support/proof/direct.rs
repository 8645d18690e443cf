//! An MCP client of the plainest kind, straight on hyper and rustls: no pool, no retries, and
//! errors as they come.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use serde_json::{Value, json};
use tokio::{net::TcpStream, runtime::Runtime};
use tokio_rustls::TlsConnector;

use crate::support::{
    pki::{Identity, Pki},
    upstream::Upstream,
};

pub type Failed = Box<dyn Error + Send + Sync>;

enum Sender {
    One(conn::http1::SendRequest<Full<Bytes>>),
    Two(conn::http2::SendRequest<Full<Bytes>>),
}

/// One connection, and the session on it.
pub struct Direct {
    runtime: Runtime,
    sender: Sender,
    pub session: Option<String>,
    /// The protocol version it says.
    pub version: &'static str,
}

/// An answer, as much as came of it, and how it broke off.
pub struct Got {
    pub status: StatusCode,
    pub session: Option<String>,
    pub body: String,
    pub broke: Option<String>,
}

impl Got {
    /// The JSON of the body, or of each event that has some.
    pub fn messages(&self) -> Vec<Value> {
        if let Ok(message) = serde_json::from_str(&self.body) {
            return vec![message];
        }
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|data| serde_json::from_str(data).ok()).collect()
    }
}

impl Direct {
    /// Connects, with this identity, offering only this protocol.
    pub fn connect(
        upstream: &Upstream,
        pki: &Pki,
        identity: &Identity,
        alpn: &str,
    ) -> Result<Self, Failed> {
        let mut roots = RootCertStore::empty();
        roots.add(pki.ca.der())?;
        let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![identity.cert_der()], identity.key_der())?;
        config.alpn_protocols = vec![alpn.into()];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(async {
            let tcp = TcpStream::connect(upstream.address()).await?;
            let name = "localhost".try_into()?;
            let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
            let io = TokioIo::new(tls);
            if alpn == "h2" {
                let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                return Ok::<_, Failed>(Sender::Two(sender));
            }
            let (sender, connection) = conn::http1::handshake(io).await?;
            tokio::spawn(connection);
            Ok(Sender::One(sender))
        })?;
        Ok(Self { runtime, sender, session: None, version: "2025-11-25" })
    }

    /// The same, going on with a session of another connection.
    pub fn in_session(mut self, session: &Option<String>) -> Self {
        self.session.clone_from(session);
        self
    }

    /// Sends a request and takes the answer whole.
    pub fn send(
        &mut self,
        method: Method,
        extra: &[(&str, &str)],
        body: &str,
    ) -> Result<Got, Failed> {
        let mut request = Request::builder()
            .method(method)
            .uri("https://localhost/mcp")
            .header("host", "localhost")
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        if let Some(session) = &self.session {
            request = request
                .header("mcp-session-id", session)
                .header("mcp-protocol-version", self.version);
        }
        for (name, value) in extra {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned()))?;
        let sender = &mut self.sender;
        self.runtime.block_on(async {
            let response = tokio::time::timeout(Duration::from_secs(10), async {
                match sender {
                    Sender::One(sender) => sender.send_request(request).await,
                    Sender::Two(sender) => sender.send_request(request).await,
                }
            });
            Ok(take(response.await??).await)
        })
    }

    /// Sends one message.
    pub fn post(&mut self, message: &Value) -> Result<Got, Failed> {
        self.send(Method::POST, &[], &message.to_string())
    }

    /// Calls a tool, as request 7.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Result<Got, Failed> {
        let params = json!({
            "name": tool, "arguments": arguments, "_meta": {"progressToken": "t"},
        });
        self.post(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}))
    }

    /// Opens a session.
    pub fn initialize(&mut self) -> Result<Got, Failed> {
        self.session = None;
        let params = json!({"protocolVersion": self.version, "capabilities": {}});
        let got = self
            .post(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}))?;
        self.session.clone_from(&got.session);
        self.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(got)
    }
}

async fn take(response: Response<Incoming>) -> Got {
    let (head, mut body) = response.into_parts();
    let session = head.headers.get("mcp-session-id");
    let session = session.map(|session| session.to_str().unwrap().to_owned());
    let mut got = Got { status: head.status, session, body: String::new(), broke: None };
    loop {
        match tokio::time::timeout(Duration::from_millis(500), body.frame()).await {
            Err(_) => got.broke = Some("stalled".into()),
            Ok(None) => {}
            Ok(Some(Err(error))) => got.broke = Some(words(&error)),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    got.body.push_str(std::str::from_utf8(&data).unwrap());
                }
                continue;
            }
        }
        return got;
    }
}

/// An error and its sources.
pub fn words(error: &(dyn Error + 'static)) -> String {
    let source = error.source().map(|source| format!(": {}", words(source)));
    format!("{error}{}", source.unwrap_or_default())
}
