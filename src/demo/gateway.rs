//! The demo's gateway: it lets in who has a client certificate of its CA and the bearer token.
//!
//! The certificate is demanded in the TLS handshake, before a byte of HTTP; the token is looked
//! for in each request. What passes goes to the MCP server. Each request and each refused
//! handshake is told as it was seen, secret values taken out here, where they arrive.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Response, StatusCode, Version, header, request};
use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{ProtocolVersion, ServerConfig};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::UnboundedSender,
};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    TENANT,
    server::{self, Caller, Server},
};
use crate::secret::Secret;

const MAX_BODY: usize = 1 << 20;
/// Before the next try when no connection can be accepted (out of descriptors).
const PAUSE: Duration = Duration::from_millis(50);

/// What the gateway saw.
#[derive(Debug)]
pub(super) enum Seen {
    /// A request of a client that has shown its certificate.
    Request {
        /// Whose certificate it is, and how it was shown: `CN=agent, O=Example over TLS 1.3`.
        client: String,
        /// `POST /mcp HTTP/2`.
        line: String,
        /// Names and values in their order, secrets as `<redacted>`.
        headers: Vec<(String, String)>,
    },
    /// A handshake that failed, and why.
    Refused(String),
}

struct Gateway {
    acceptor: TlsAcceptor,
    token: Secret,
    server: Server,
    sightings: UnboundedSender<Seen>,
}

/// Starts the gateway on a free port of 127.0.0.1; it runs as long as the runtime.
pub(super) async fn start(
    tls: Arc<ServerConfig>,
    token: Secret,
    sightings: UnboundedSender<Seen>,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(tls);
    let gateway = Arc::new(Gateway { acceptor, token, server: Server::default(), sightings });
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((tcp, _)) => drop(tokio::spawn(Arc::clone(&gateway).connection(tcp))),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    });
    Ok(address)
}

impl Gateway {
    async fn connection(self: Arc<Self>, tcp: TcpStream) {
        // Small messages must not wait for each other (Nagle's algorithm); slower without.
        let _ = tcp.set_nodelay(true);
        let stream = match self.acceptor.accept(tcp).await {
            Ok(stream) => stream,
            Err(error) => return self.tell(Seen::Refused(error.to_string())),
        };
        let client = Arc::new(Client::of(stream.get_ref().1));
        let service = service_fn(move |request| {
            let (gateway, client) = (Arc::clone(&self), Arc::clone(&client));
            async move { Ok::<_, Infallible>(gateway.request(&client, request).await) }
        });
        // A client that goes away in the middle is no news.
        let _ = auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn request(
        &self,
        client: &Client,
        request: http::Request<Incoming>,
    ) -> Response<server::Body> {
        let (head, body) = request.into_parts();
        self.tell(seen(client, &head));
        if !self.knows(head.headers.get(header::AUTHORIZATION)) {
            let mut refusal = server::status(StatusCode::UNAUTHORIZED);
            let challenge = HeaderValue::from_static("Bearer");
            refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return refusal;
        }
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return server::status(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let request = http::Request::from_parts(head, body.to_bytes());
        let tenant = request.headers().get(TENANT.0).and_then(|tenant| tenant.to_str().ok());
        let caller = Caller { subject: &client.subject, tenant: tenant.unwrap_or("none") };
        self.server.answer(&caller, &request)
    }

    /// Whether it is our token, in a time that does not tell how much of it is right.
    fn knows(&self, authorization: Option<&HeaderValue>) -> bool {
        let token = authorization.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        token.is_some_and(|token| Secret::new(token) == self.token)
    }

    fn tell(&self, seen: Seen) {
        // Nobody may be looking.
        let _ = self.sightings.send(seen);
    }
}

/// Who is at the other end of a connection.
struct Client {
    subject: String,
    tls: &'static str,
}

impl Client {
    fn of(connection: &rustls::ServerConnection) -> Self {
        let chain = connection.peer_certificates().unwrap_or_default();
        let first = chain.first().and_then(|der| X509Certificate::from_der(der).ok());
        let subject = first.map(|(_, certificate)| certificate.subject().to_string());
        let tls = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS 1.3",
        };
        Self { subject: subject.unwrap_or_default(), tls }
    }
}

fn seen(client: &Client, head: &request::Parts) -> Seen {
    let version = if head.version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" };
    let headers = head.headers.iter();
    Seen::Request {
        client: format!("{} over {}", client.subject, client.tls),
        line: format!("{} {} {version}", head.method, head.uri.path()),
        headers: headers.map(|(name, value)| (name.to_string(), shown(name, value))).collect(),
    }
}

/// A header's value as it may be shown. Who has a session's id has the session.
fn shown(name: &HeaderName, value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    if name == header::AUTHORIZATION {
        let scheme = text.split(' ').next().unwrap_or_default();
        return format!("{scheme} <redacted>");
    }
    if name == server::SESSION {
        let start: String = text.chars().take(8).collect();
        return format!("{start}...");
    }
    text.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_values_are_not_shown() {
        let show = |name: HeaderName, value| shown(&name, &HeaderValue::from_static(value));
        assert_eq!(show(header::AUTHORIZATION, "Bearer canary"), "Bearer <redacted>");
        let session = HeaderName::from_static("mcp-session-id");
        assert_eq!(show(session, "0123456789canary"), "01234567...");
        assert_eq!(show(header::ACCEPT, "text/event-stream"), "text/event-stream");
    }
}
