//! A connection to the upstream: name, proxy, TCP, TLS, all within one time limit.
//!
//! Every failure says which of these it was in, and with whom.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{
        Connected, Connection, HttpConnector,
        proxy::{SocksV5, Tunnel},
    },
    rt::TokioIo,
};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::{Service, ServiceExt as _};

use super::{
    Settings, errors,
    proxy::{self, Kind, Proxy},
};
use crate::{
    failure::{Failure, Stage},
    tls::Tls,
};

/// A dead peer is noticed after about a minute, whatever the connection is doing.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_RETRIES: u32 = 3;
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Makes connections to one upstream under one generation of TLS.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    tls: Arc<Tls>,
    proxy: Option<Arc<Proxy>>,
    /// `host:port`, for messages.
    upstream: Arc<str>,
    host: Arc<str>,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(settings: &Settings, proxy: Option<Arc<Proxy>>, tls: Arc<Tls>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEP_ALIVE_RETRIES));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let (host, port) = (settings.url.host(), settings.url.port());
        let named = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        Self {
            tcp,
            tls,
            proxy,
            upstream: format!("{named}:{port}").into(),
            host: host.into(),
            limit: settings.connect_timeout,
        }
    }

    async fn connect(self, uri: Uri) -> Result<Stream, Failure> {
        let mut step = Step::Connecting;
        let connecting = async {
            let tcp = self.reach(uri.clone()).await?;
            if uri.scheme() == Some(&http::uri::Scheme::HTTP) {
                return Ok(Stream::Plain(tcp));
            }
            step = Step::Handshake;
            self.handshake(tcp).await.map(Stream::Tls)
        };
        match tokio::time::timeout(self.limit, connecting).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(step)),
        }
    }

    /// TCP to the upstream, through the proxy if there is one.
    async fn reach(&self, uri: Uri) -> Result<TokioIo<TcpStream>, Failure> {
        let Some(proxy) = &self.proxy else {
            let connected = self.tcp.clone().oneshot(uri).await;
            return connected.map_err(|error| errors::unreachable(&self.upstream, &error));
        };
        let login = proxy.login().await?;
        match proxy.kind {
            Kind::Connect => {
                let mut tunnel = Tunnel::new(proxy.uri.clone(), self.tcp.clone());
                let header = login.and_then(|(user, word)| proxy::basic(&user, &word));
                if let Some(header) = header {
                    tunnel = tunnel.with_auth(header);
                }
                let connected = tunnel.oneshot(uri).await;
                connected.map_err(|error| errors::proxy(proxy.name(), &self.upstream, &error))
            }
            Kind::Socks5 { remote } => {
                let mut socks = SocksV5::new(proxy.uri.clone(), self.tcp.clone());
                if let Some((user, word)) = login {
                    socks = socks.with_auth(user, word.as_str().to_owned());
                }
                let connected = socks.local_dns(!remote).oneshot(uri).await;
                connected.map_err(|error| errors::proxy(proxy.name(), &self.upstream, &error))
            }
        }
    }

    async fn handshake(
        &self,
        tcp: TokioIo<TcpStream>,
    ) -> Result<TokioIo<TlsStream<TcpStream>>, Failure> {
        let name = match &self.tls.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(self.host.to_string()).map_err(|_| {
                Failure::new(
                    Stage::Configuration,
                    format!("{} is no name that a certificate can have", self.host),
                )
                .hint("give the name in its certificate with --server-name")
            })?,
        };
        let connector = TlsConnector::from(Arc::clone(&self.tls.config));
        let shaken = connector.connect(name, tcp.into_inner()).await;
        shaken.map(TokioIo::new).map_err(|error| match errors::rustls(&error) {
            Some(cause) => self.tls.explain(cause, &self.host),
            None => errors::hung_up(&self.tls, &self.upstream, &error),
        })
    }

    fn timed_out(&self, step: Step) -> Failure {
        let limit = humantime::format_duration(self.limit);
        let upstream = &self.upstream;
        let what = match (step, &self.proxy) {
            (Step::Connecting, None) => format!("{upstream} could not be reached within {limit}"),
            (Step::Connecting, Some(proxy)) => {
                let proxy = proxy.name();
                format!("{upstream} could not be reached within {limit} through the proxy {proxy}")
            }
            (Step::Handshake, _) => {
                format!("{upstream} did not finish the TLS handshake within {limit}")
            }
        };
        Failure::new(Stage::Connect, what).hint(match step {
            Step::Connecting => {
                "check the host, the network and whether a proxy is needed (--proxy); \
                 --connect-timeout gives it more time"
            }
            Step::Handshake => {
                "check that this port speaks TLS; --connect-timeout gives it more time"
            }
        })
    }
}

#[derive(Clone, Copy)]
enum Step {
    Connecting,
    Handshake,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection, encrypted unless it is to loopback over http.
#[expect(clippy::large_enum_variant, reason = "there is one a connection, boxed by hyper")]
pub(super) enum Stream {
    Plain(TokioIo<TcpStream>),
    Tls(TokioIo<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain(_) => Connected::new(),
            Self::Tls(tls) => match tls.inner().get_ref().1.alpn_protocol() {
                Some(b"h2") => Connected::new().negotiated_h2(),
                _ => Connected::new(),
            },
        }
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, parts),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, parts),
        }
    }
}
