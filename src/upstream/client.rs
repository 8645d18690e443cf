//! One pool of connections a generation of the TLS configuration, and the exchange on it.
//!
//! A connection keeps the identity it was made with, so a rotation replaces the whole pool. What
//! is in flight ends where it began. Nothing leaves for another origin, and nothing is sent again
//! unless it is proven that it was not processed.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, Client, ResponseFuture},
    rt::{TokioExecutor, TokioTimer},
};
use tower::service_fn;

use super::{
    Settings,
    body::{self, Arriving, Source},
    broken,
    connector::Connector,
    heads,
    proxy::Proxy,
};
use crate::{
    failure::{Failure, Stage},
    service::{Body, HttpService, Presented, Request, Response},
    tls::{Generations, Tls},
};

/// Load balancers forget an idle connection after a minute, and few sooner.
const IDLE: Duration = Duration::from_secs(60);
/// As many calls as one client, or the sidecar, has in flight; more connections are closed after use.
const IDLE_AT_MOST: usize = 1024;

/// How far the clock on the wall may get ahead of the one that stops when the machine sleeps.
const ASLEEP: Duration = Duration::from_secs(5);

/// HTTP/2: requests of one connection at a time; those beyond take another. Few servers allow less
/// (RFC 9113, section 6.5.2), and a stream that is listened to counts for as long as it is open.
const STREAMS_AT_MOST: usize = 100;
/// HTTP/2: a result of many megabytes must not wait for permission a round trip long. Far away
/// (100 ms) a window of 1 MiB lets 10 MB/s pass; it is a bound for memory too.
const STREAM_WINDOW: u32 = 1 << 20;
/// So many responses that nobody reads leave room for the others.
const CONNECTION_WINDOW: u32 = STREAMS_AT_MOST as u32 * STREAM_WINDOW;
/// HTTP/2: what a response's head may take. HTTP/1.1 has hyper's own bounds, 100 headers and 400
/// KiB, which cost nothing as they are.
const HEAD_AT_MOST: u32 = 64 << 10;
/// HTTP/2: a peer that vanished is noticed while something waits for it.
const PING_AFTER: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Times that a request is sent at most, when the upstream says that it did not process it.
const TRIES: usize = 3;

pub(super) fn service(settings: &Settings, tls: Generations) -> Result<HttpService, Failure> {
    let upstream = Arc::new(Upstream::new(settings.clone(), tls)?);
    Ok(HttpService::new(service_fn(move |request| {
        let upstream = Arc::clone(&upstream);
        async move { upstream.exchange(request).await }
    })))
}

struct Upstream {
    settings: Settings,
    proxy: Option<Arc<Proxy>>,
    source: Arc<Source>,
    generations: Generations,
    /// Held for as long as it takes to begin a request, never across a wait.
    pool: Mutex<Pool>,
    /// Whether the last response came over HTTP/2.
    multiplexed: AtomicBool,
}

struct Pool {
    generation: Arc<Tls>,
    connector: Connector,
    /// All but the last have, or had, as many exchanges under way as one connection takes.
    lanes: Vec<Lane>,
    used: Used,
}

/// A client that keeps one HTTP/2 connection, or as many of HTTP/1.1 as it has exchanges.
struct Lane {
    client: Client<Connector, Full<Bytes>>,
    /// Held by every exchange until its response has ended.
    load: Arc<()>,
}

impl Upstream {
    fn new(settings: Settings, tls: Generations) -> Result<Self, Failure> {
        let generation = tls.current();
        let proxy = settings.proxy.choose(&settings.url)?.map(Arc::new);
        let (upstream, maximum_age) = (settings.url.clone(), settings.maximum_age);
        Ok(Self {
            pool: Mutex::new(Pool::new(&settings, &proxy, generation)),
            source: Arc::new(Source { upstream, tls: tls.watch(), maximum_age }),
            generations: tls,
            multiplexed: AtomicBool::new(false),
            settings,
            proxy,
        })
    }

    async fn exchange(&self, request: Request) -> Result<Response, Failure> {
        let url = &self.settings.url;
        if !url.is_origin_of(request.uri()) {
            let what = format!("a request for another origin than {} was not sent", url.origin());
            return Err(Failure::new(Stage::Configuration, what));
        }
        // HTTP/2 servers end a connection every thousand requests or so, and say which ones they
        // did not get to; and an identity is refused where the other side has rotated first. Other
        // requests need no copy, whose map of headers is dear.
        let again = self.multiplexed.load(Ordering::Relaxed) || self.source.tls.borrow().rotates();
        let mut spare = again.then(|| (request.clone(), TRIES - 1));
        let mut request = request;
        loop {
            let shown = heads::request(&request);
            let listens = request.method() == Method::GET;
            let (generation, sent, load) = self.begin(request);
            let ended = sent.await;
            let (again, left) = match spare.take() {
                Some(kept) if self.is_unread(&ended, &generation).await => kept,
                _ => {
                    return match ended {
                        Ok(response) => {
                            Ok(self.arriving(response, (generation, load), shown, listens))
                        }
                        Err(error) => Err(broken::failure(error, url, &generation)),
                    };
                }
            };
            tracing::debug!(upstream = %url, "not processed, as it says: sending once more");
            spare = (left > 1).then(|| (again.clone(), left - 1));
            request = again;
        }
    }

    /// Whether the upstream has not processed what it was sent, and may process it if it is sent
    /// once more: it said so, or refused our identity, and there is a newer one by now.
    async fn is_unread(
        &self,
        ended: &Result<http::Response<Incoming>, legacy::Error>,
        generation: &Arc<Tls>,
    ) -> bool {
        let refused = match ended {
            // A gateway that looks at the certificate for each request of a connection.
            Ok(response) => {
                generation.identity.is_some() && response.status() == StatusCode::UNAUTHORIZED
            }
            Err(error) if broken::is_unprocessed(error) => return true,
            Err(error) => broken::is_handshake(error),
        };
        refused && self.generations.newer_than(generation).await
    }

    /// Gives a request to the pool of the current generation.
    fn begin(&self, request: Request) -> (Arc<Tls>, ResponseFuture, Arc<()>) {
        let now = Used::now();
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = {
            let current = self.source.tls.borrow();
            (!Arc::ptr_eq(&current, &pool.generation)).then(|| Arc::clone(&current))
        };
        if let Some(generation) = replaced {
            tracing::debug!("the TLS configuration was replaced: new connections from here on");
            *pool = Pool::new(&self.settings, &self.proxy, generation);
        } else if pool.used.slept_until(&now) {
            tracing::debug!("this machine slept: new connections from here on");
            let generation = Arc::clone(&pool.generation);
            *pool = Pool::new(&self.settings, &self.proxy, generation);
        }
        pool.used = now;
        let lane = pool.lane();
        let (load, sent) = (Arc::clone(&lane.load), lane.client.request(request.map(Full::new)));
        (Arc::clone(&pool.generation), sent, load)
    }

    fn arriving(
        &self,
        mut response: http::Response<Incoming>,
        (generation, load): (Arc<Tls>, Arc<()>),
        shown: Option<heads::Shown>,
        listens: bool,
    ) -> Response {
        if let Some(shown) = shown {
            heads::response(&response, &shown);
        }
        self.multiplexed.store(response.version() == Version::HTTP_2, Ordering::Relaxed);
        // A gateway may speak of the certificate in words of its own.
        if let (true, Some(identity)) = (response.status().is_client_error(), &generation.identity)
        {
            response.extensions_mut().insert(Presented(identity.to_string().into()));
        }
        let source = Arc::clone(&self.source);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let outlived = body::outlived(Arc::clone(&generation), Arc::clone(&source));
            response.extensions_mut().insert(outlived);
        }
        response.map(|body| Body::new(Arriving::new(body, (generation, load), source, listens)))
    }
}

impl Pool {
    fn new(settings: &Settings, proxy: &Option<Arc<Proxy>>, generation: Arc<Tls>) -> Self {
        let connector = Connector::new(settings, proxy.clone(), Arc::clone(&generation));
        Self { generation, connector, lanes: Vec::new(), used: Used::now() }
    }

    /// The first that has room; a new one if none has.
    fn lane(&mut self) -> &Lane {
        let free = |lane: &Lane| Arc::strong_count(&lane.load) <= STREAMS_AT_MOST;
        let at = self.lanes.iter().position(free).unwrap_or(self.lanes.len());
        if at == self.lanes.len() {
            self.lanes.push(Lane::new(self.connector.clone()));
        }
        &self.lanes[at]
    }
}

impl Lane {
    fn new(connector: Connector) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_AT_MOST)
            // Sends again only what a connection gave back whole because it ended before it took
            // it from its queue: hyper returns the request with the error in that case alone
            // (`TrySendError::take_message`), and what it returns was never written.
            .retry_canceled_requests(true)
            .http2_only(connector.is_h2_alone())
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(HEAD_AT_MOST)
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PONG_WITHIN)
            .build(connector);
        Self { client, load: Arc::default() }
    }
}

/// When a pool was last used, on two clocks: one goes on while the machine sleeps.
#[derive(Clone, Copy)]
struct Used {
    wall: SystemTime,
    awake: Instant,
}

impl Used {
    fn now() -> Self {
        Self { wall: SystemTime::now(), awake: Instant::now() }
    }

    /// Whether the machine slept between this and `now`, for so long that the connections that
    /// the pool believes to be idle for seconds are dead.
    fn slept_until(&self, now: &Self) -> bool {
        // A clock that was set back says nothing.
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        let awake = now.awake.saturating_duration_since(self.awake);
        wall > IDLE && wall.saturating_sub(awake) > ASLEEP
    }
}

#[cfg(test)]
mod tests;
