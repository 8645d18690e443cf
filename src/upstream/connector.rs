//! One new connection to the upstream: name, TCP, proxy, TLS, in this order and in limited time.
//!
//! What comes out is ready for HTTP, and it is known which version. What fails says in which step
//! and with whom. No byte of a request has left when it does.

use std::{
    convert::Infallible,
    fmt,
    future::ready,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use http::Uri;
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tower::{Service, service_fn};

use super::{
    Settings, broken,
    proxy::Proxy,
    stream::{H2, Stream, rustls_error},
    url::{UpstreamUrl, authority},
};
use crate::{
    failure::{Failure, Stage},
    tls::Tls,
};

/// A peer that vanished is noticed within a minute, on a connection in use or not.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_AT_MOST: Duration = Duration::from_secs(60);

/// Addresses of a host that are named in an error; some have dozens.
const ADDRESSES_SHOWN: usize = 3;

/// How long a refusal of our identity is waited for at least, where only a word of the other side
/// could tell: about a round trip to anywhere.
const REFUSAL: Duration = Duration::from_millis(100);

/// Makes the connections of one generation of the TLS configuration.
#[derive(Clone)]
pub(super) struct Connector(Arc<Way>);

struct Way {
    upstream: UpstreamUrl,
    proxy: Option<Arc<Proxy>>,
    tls: Arc<Tls>,
    /// That of `tls`, but for what may be upgraded.
    config: Arc<ClientConfig>,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(settings: &Settings, proxy: Option<Arc<Proxy>>, tls: Arc<Tls>) -> Self {
        let (upstream, limit) = (settings.url.clone(), settings.connect_timeout);
        let mut config = Arc::clone(&tls.config);
        if settings.upgrades {
            Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Self(Arc::new(Way { upstream, proxy, tls, config, limit }))
    }

    /// Makes a connection within `limit` and ends it, without a byte of HTTP.
    pub(super) async fn knock(&self, limit: Duration) -> Result<(), Failure> {
        let (way, started) = (&self.0, Instant::now());
        let mut stream = way.connect().await?;
        if !way.upstream.is_https() {
            return Ok(());
        }
        // In TLS 1.3 we are done before the other side has looked at who we are: a refusal comes a
        // round trip later. With HTTP/2 it says something at once, otherwise it is silent.
        let took = started.elapsed();
        let patience = took.max(REFUSAL).min(limit.saturating_sub(took));
        let heard = timeout(patience, stream.read_u8()).await;
        // Who is slow to hear of the end hears it from the kernel.
        let _ = timeout(Duration::ZERO, stream.shutdown()).await;
        match heard {
            Err(_) | Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(way.refused(error)),
        }
    }

    /// Whether nothing but HTTP/2 is offered.
    pub(super) fn is_h2_alone(&self) -> bool {
        is_h2_alone(&self.0.config)
    }

    /// Whether a connection may come to be HTTP/2.
    pub(super) fn may_be_h2(&self) -> bool {
        let offered = self.0.config.alpn_protocols.iter().any(|it| it == H2);
        self.is_h2_alone() || (offered && self.0.upstream.is_https())
    }

    /// Makes a connection.
    pub(super) async fn connect(&self) -> Result<Stream, Failure> {
        self.0.connect().await
    }
}

impl Way {
    async fn connect(&self) -> Result<Stream, Failure> {
        let started = Instant::now();
        let within = |step| Limit { way: self, started, step };
        let proxy = self.proxy.as_deref();
        let hop = Hop { upstream: &self.upstream, proxy };

        let addresses = within(Step::Resolve(hop)).spend(resolve(hop.host(), hop.port())).await?;
        let dialled = dial(hop, &addresses, self.limit);
        let mut stream = within(Step::Dial(hop, &addresses)).spend(dialled).await?;
        if let Some(proxy) = proxy {
            let tunnel = proxy.tunnel(stream, &self.upstream, &self.tls);
            stream = within(Step::Tunnel(proxy)).spend(tunnel).await?;
        }
        if self.upstream.is_https() {
            let secured = within(Step::Handshake(&self.upstream)).spend(self.secure(stream)).await;
            tracing::info!(target: "figures", handshake = secured.is_ok());
            stream = secured?;
        }

        let (upstream, took) = (self.upstream.origin(), started.elapsed());
        let http = if stream.is_h2() { 2 } else { 1 };
        tracing::debug!(%upstream, http, ?took, "connected");
        Ok(stream)
    }

    async fn secure(&self, stream: Stream) -> Result<Stream, Failure> {
        let host = self.upstream.host();
        let name = match &self.tls.server_name {
            Some(name) => name.clone(),
            None => server_name(host)?,
        };
        let secured = stream.secure(&self.config, name).await;
        let stream = secured.map_err(|error| self.refused(error))?;
        // A server without ALPN ignores what is offered.
        if is_h2_alone(&self.config) && !stream.is_h2() {
            let what = format!("{} does not speak HTTP/2", self.upstream.authority());
            return Err(Failure::new(Stage::Tls, what).hint("leave the choice to it: --http auto"));
        }
        Ok(stream)
    }

    fn refused(&self, error: io::Error) -> Failure {
        match rustls_error(&error) {
            Some(said) => self.tls.explain(said, self.upstream.host()),
            None => self.hung_up(&error).caused_by(error),
        }
    }

    fn hung_up(&self, error: &io::Error) -> Failure {
        let peer = self.upstream.authority();
        let what = format!("{peer} hung up during the TLS handshake: {}", broken::words(error));
        let hint = broken::certificate_hint(&self.tls);
        Failure::new(Stage::Tls, what)
            .hint(hint.unwrap_or("is it a TLS port, or does something between cut it off".into()))
    }
}

/// Whether HTTP/2 is all that is offered.
fn is_h2_alone(config: &ClientConfig) -> bool {
    matches!(config.alpn_protocols.as_slice(), [only] if only == H2)
}

/// The name to look for in a certificate.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(host.to_owned()).map_err(|_| {
        Failure::new(Stage::Configuration, format!("no certificate can be for the name {host}"))
            .hint("give the name that the upstream's certificate has: --server-name")
    })
}

/// All addresses of a host, from the system's resolver.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let unknown = |why: String| {
        Failure::new(Stage::Connect, format!("no address for {host}: {why}")).hint(
            "check the host name: in the URL argument, the profile or API_URL, or in the proxy's \
             URL; is this machine on the right network or VPN",
        )
    };
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => match found.collect::<Vec<_>>() {
            none if none.is_empty() => Err(unknown("the name has none".to_owned())),
            addresses => Ok(addresses),
        },
        Err(error) => Err(unknown(broken::words(&error)).caused_by(error)),
    }
}

/// The first of the addresses that answers; both families are tried (RFC 8305).
async fn dial(hop: Hop<'_>, addresses: &[SocketAddr], limit: Duration) -> Result<Stream, Failure> {
    let known = addresses.to_vec();
    let mut tcp = HttpConnector::new_with_resolver(service_fn(move |_: Name| {
        ready(Ok::<_, Infallible>(known.clone().into_iter()))
    }));
    // Divided among the addresses, so that a dead one leaves time for the next.
    tcp.set_connect_timeout(Some(limit));
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE_AFTER));
    tcp.set_keepalive_interval(Some(KEEPALIVE_EVERY));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_AT_MOST));
    match tcp.call(Uri::from_static("http://resolved")).await {
        Ok(stream) => Ok(Stream::Tcp(stream.into_inner())),
        Err(error) => {
            Err(unreachable(hop, addresses, limit, broken::find(&error)).caused_by(error))
        }
    }
}

fn unreachable(
    hop: Hop<'_>,
    addresses: &[SocketAddr],
    limit: Duration,
    error: Option<&io::Error>,
) -> Failure {
    let at = At(hop, addresses);
    match error {
        Some(error) if error.kind() == io::ErrorKind::TimedOut => {
            expired(&Step::Dial(hop, addresses), limit)
        }
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Failure::new(Stage::Connect, format!("{at} refuses connections"))
                .hint(format!("is it running, and is {} its port", hop.port()))
        }
        error => {
            let why = error.map_or_else(|| "no connection".to_owned(), broken::words);
            Failure::new(Stage::Connect, format!("{at} can't be reached: {why}"))
                .hint("is this machine on the right network or VPN; is a proxy needed (--proxy)")
        }
    }
}

/// Where TCP goes: the proxy if there is one.
#[derive(Clone, Copy)]
struct Hop<'a> {
    upstream: &'a UpstreamUrl,
    proxy: Option<&'a Proxy>,
}

impl Hop<'_> {
    fn host(&self) -> &str {
        self.proxy.map_or(self.upstream.host(), |proxy| &proxy.host)
    }

    fn port(&self) -> u16 {
        self.proxy.map_or(self.upstream.port(), |proxy| proxy.port)
    }
}

impl fmt::Display for Hop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.proxy.is_some() { "the proxy " } else { "" };
        write!(f, "{role}{}", authority(self.host(), self.port()))
    }
}

/// A step of the way, for the error that says where the time ran out.
#[derive(Clone, Copy)]
enum Step<'a> {
    Resolve(Hop<'a>),
    Dial(Hop<'a>, &'a [SocketAddr]),
    Tunnel(&'a Proxy),
    Handshake(&'a UpstreamUrl),
}

/// The time that is left for a step.
struct Limit<'a> {
    way: &'a Way,
    started: Instant,
    step: Step<'a>,
}

impl Limit<'_> {
    async fn spend<T>(self, step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let left = self.way.limit.saturating_sub(self.started.elapsed());
        match timeout(left, step).await {
            Ok(outcome) => outcome,
            Err(_) => Err(expired(&self.step, self.way.limit)),
        }
    }
}

fn expired(step: &Step<'_>, limit: Duration) -> Failure {
    let limit = humantime::format_duration(limit);
    let (what, hint) = match step {
        Step::Resolve(hop) => (
            format!("the name {} was not resolved within {limit}", hop.host()),
            "does this machine's DNS answer; --connect-timeout gives it more time",
        ),
        Step::Dial(hop, addresses) => (
            format!("{} did not answer within {limit}", At(*hop, addresses)),
            "does a firewall drop it, is a VPN or a proxy (--proxy) needed; --connect-timeout gives \
             it more time",
        ),
        Step::Tunnel(proxy) => (
            format!("the proxy {proxy} opened no tunnel within {limit}"),
            "can the proxy reach the upstream; --connect-timeout gives it more time",
        ),
        Step::Handshake(upstream) => (
            format!("{} did not finish the TLS handshake within {limit}", upstream.authority()),
            "is it a TLS port; --connect-timeout gives it more time",
        ),
    };
    Failure::new(Stage::Connect, what).hint(hint)
}

/// A hop with its addresses as a list for people, unless its host is an address itself.
struct At<'a>(Hop<'a>, &'a [SocketAddr]);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(hop, addresses) = self;
        write!(f, "{hop}")?;
        if hop.host().parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        write!(f, " ({})", Shown(addresses))
    }
}

/// Addresses as a list for people.
struct Shown<'a>(&'a [SocketAddr]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.0.iter().take(ADDRESSES_SHOWN).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{}", address.ip())?;
        }
        match self.0.len().saturating_sub(ADDRESSES_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests;
