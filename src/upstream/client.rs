//! Requests on pooled connections, one pool a generation of TLS.
//!
//! Swapping only the certificate would leave pooled connections and resumed sessions under the
//! old identity, so a new generation gets a new pool; requests in flight end on the old one. No
//! request leaves for any origin but the configured one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::header;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::sync::watch;
use tower::service_fn;

use super::{Settings, connector::Connector, errors, heads, proxy::Proxy, retire::Retirement};
use crate::{
    failure::{Failure, Stage},
    service::{Body, HttpService, Presented, Request, Response},
    tls::Tls,
};

/// Servers and load balancers close idle connections after a minute or more.
const IDLE: Duration = Duration::from_secs(60);
const MAX_IDLE: usize = 64;
/// The clocks drift apart by this much only when the machine slept.
const SLEPT: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(10);
/// Flow-control windows that let one large result come at the connection's speed.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const MAX_HEADERS: u32 = 64 * 1024;

type Pooled = legacy::Client<Connector, Full<Bytes>>;

/// The client for the upstream in `settings`, with the TLS that is current at each call.
///
/// # Errors
/// At the configuration stage, for a proxy that can't be used.
pub fn client(settings: &Settings, tls: watch::Receiver<Arc<Tls>>) -> Result<HttpService, Failure> {
    let proxy = settings.proxy.proxy_for(&settings.url)?.map(Arc::new);
    let first = Arc::clone(&tls.borrow());
    let client = Arc::new(Client {
        upstream: settings.url.origin().into(),
        host: settings.url.host().into(),
        pool: Mutex::new(Pool::new(settings, proxy.clone(), first)),
        settings: settings.clone(),
        proxy,
        tls,
    });
    Ok(HttpService::new(service_fn(move |request| Arc::clone(&client).send(request))))
}

struct Client {
    settings: Settings,
    proxy: Option<Arc<Proxy>>,
    upstream: Arc<str>,
    host: Arc<str>,
    tls: watch::Receiver<Arc<Tls>>,
    pool: Mutex<Pool>,
}

struct Pool {
    tls: Arc<Tls>,
    client: Pooled,
    retirement: Arc<Retirement>,
    used: (Instant, SystemTime),
}

impl Pool {
    fn new(settings: &Settings, proxy: Option<Arc<Proxy>>, tls: Arc<Tls>) -> Self {
        let only_h2 = tls.config.alpn_protocols == [b"h2"];
        let connector = Connector::new(settings, proxy, Arc::clone(&tls));
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            // Sends again only requests that the pool's connection handed back untouched: hyper
            // returns the message itself as proof that no byte of it was written.
            .retry_canceled_requests(true)
            .http2_only(only_h2)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(MAX_HEADERS)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PONG)
            .build(connector);
        let used = (Instant::now(), SystemTime::now());
        Self { tls, client, retirement: Arc::new(Retirement::new()), used }
    }

    /// Whether the machine slept since the last call: its connections are dead without knowing.
    fn slept(&mut self) -> bool {
        let now = (Instant::now(), SystemTime::now());
        let (before, wall) = std::mem::replace(&mut self.used, now);
        let awake = now.0.duration_since(before);
        now.1.duration_since(wall).is_ok_and(|passed| passed > awake + SLEPT)
    }
}

impl Client {
    async fn send(self: Arc<Self>, request: Request) -> Result<Response, Failure> {
        self.check_origin(&request)?;
        let (client, tls, retirement) = self.current();
        let shown = tracing::enabled!(tracing::Level::DEBUG).then(|| {
            heads::request(&request);
            Instant::now()
        });
        match client.request(request.map(Full::new)).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                if let Some(started) = shown {
                    heads::response(&head, started);
                }
                Ok(self.stream(http::Response::from_parts(head, body), tls, &retirement))
            }
            Err(error) => Err(errors::no_response(&tls, &self.upstream, &self.host, &error)),
        }
    }

    /// The pool of the current generation.
    fn current(&self) -> (Pooled, Arc<Tls>, Arc<Retirement>) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = !Arc::ptr_eq(&pool.tls, &self.tls.borrow());
        if pool.slept() || replaced {
            let tls = Arc::clone(&self.tls.borrow());
            tracing::debug!(rotated = replaced, "a new connection pool");
            pool.retirement.begin(self.settings.maximum_age);
            *pool = Pool::new(&self.settings, self.proxy.clone(), tls);
        }
        (pool.client.clone(), Arc::clone(&pool.tls), Arc::clone(&pool.retirement))
    }

    fn stream(
        &self,
        mut response: http::Response<Incoming>,
        tls: Arc<Tls>,
        retirement: &Retirement,
    ) -> Response {
        let kind = response.headers().get(header::CONTENT_TYPE);
        let events = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let (upstream, host) = (Arc::clone(&self.upstream), Arc::clone(&self.host));
        if let (true, Some(identity)) = (response.status().is_client_error(), &tls.identity) {
            response.extensions_mut().insert(Presented(identity.to_string().into()));
        }
        response.map(|body| {
            let body = body.map_err(move |error| errors::broke_off(&tls, &upstream, &host, &error));
            if events { Body::new(retirement.limit(body)) } else { Body::new(body) }
        })
    }

    /// The last look before credentials leave: is it the origin they are for?
    fn check_origin(&self, request: &Request) -> Result<(), Failure> {
        let (asked, ours) = (request.uri(), self.settings.url.uri());
        if asked.scheme() == ours.scheme() && asked.authority() == ours.authority() {
            return Ok(());
        }
        let what = format!("a request for another origin than {} was stopped", self.upstream);
        Err(Failure::new(Stage::Configuration, what))
    }
}
