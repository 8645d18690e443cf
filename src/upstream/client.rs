//! The exchange with the upstream, over the pool of the current generation.
//!
//! A rotation replaces the whole pool. Nothing leaves for another origin, and nothing is sent again
//! unless it is proven that it was not processed.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::service_fn;

use super::{
    Settings,
    body::{self, Arriving, Source},
    broken::{self, Ended},
    heads,
    pool::{IDLE, Lease, Pool},
    proxy::Proxy,
};
use crate::{
    failure::{Failure, Stage},
    service::{Body, HttpService, Presented, Request, Response, Unshown},
    tls::{Generations, Tls},
};

/// How far the clock on the wall may get ahead of the one that stops when the machine sleeps.
const ASLEEP: Duration = Duration::from_secs(5);

/// Times that a request is sent at most, when the upstream says that it did not process it.
const TRIES: usize = 3;

pub(super) fn service(settings: &Settings, tls: Generations) -> Result<HttpService, Failure> {
    let upstream = Arc::new(Upstream::new(settings.clone(), tls)?);
    Ok(HttpService::new(service_fn(move |request| Arc::clone(&upstream).exchange(request))))
}

struct Upstream {
    settings: Settings,
    proxy: Option<Arc<Proxy>>,
    source: Arc<Source>,
    generations: Generations,
    /// Held for as long as it takes to look at it, never across a wait.
    current: Mutex<Current>,
    /// Whether the last response came over HTTP/2.
    multiplexed: AtomicBool,
}

struct Current {
    pool: Arc<Pool>,
    used: Used,
}

impl Upstream {
    fn new(settings: Settings, tls: Generations) -> Result<Self, Failure> {
        let generation = tls.current();
        let proxy = settings.proxy.choose(&settings.url)?.map(Arc::new);
        let (upstream, maximum_age) = (settings.url.clone(), settings.maximum_age);
        Ok(Self {
            current: Mutex::new(Current {
                pool: Pool::new(&settings, proxy.clone(), generation),
                used: Used::now(),
            }),
            source: Arc::new(Source { upstream, tls: tls.watch(), maximum_age }),
            generations: tls,
            multiplexed: AtomicBool::new(false),
            settings,
            proxy,
        })
    }

    async fn exchange(self: Arc<Self>, mut request: Request) -> Result<Response, Failure> {
        let url = &self.settings.url;
        if !url.is_origin_of(request.uri()) {
            let what = format!("a request for another origin than {} was not sent", url.origin());
            return Err(Failure::new(Stage::Configuration, what));
        }
        // A body that could be there and is not has a length (RFC 9110, section 8.6).
        if request.body().is_empty()
            && matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH)
        {
            let none = HeaderValue::from_static("0");
            request.headers_mut().entry(header::CONTENT_LENGTH).or_insert(none);
        }
        let mut pool = self.pool();
        // HTTP/2 servers end a connection every thousand requests or so, and say which ones they
        // did not get to; and an identity is refused where the other side has rotated first.
        let again = self.multiplexed.load(Ordering::Relaxed) || pool.generation.rotates();
        let mut spare = again.then(|| (Spare::of(&request), TRIES - 1));
        loop {
            let shown = heads::request(&request);
            let listens = request.method() == Method::GET;
            let ended = pool.send(request.map(Full::new)).await;
            let (again, left) = match spare.take() {
                Some(kept) if self.is_unread(&ended, &pool.generation).await => kept,
                _ => {
                    return match ended {
                        Ok((response, lease)) => {
                            let way = (Arc::clone(&pool.generation), lease);
                            Ok(self.arriving(response, way, shown, listens))
                        }
                        Err(ended) => Err(broken::failure(ended, url, &pool.generation)),
                    };
                }
            };
            tracing::debug!(upstream = %url, "not processed, as it says: sending once more");
            request = again.request();
            spare = (left > 1).then_some((again, left - 1));
            pool = self.pool();
        }
    }

    /// Whether the upstream has not processed what it was sent, and may process it if it is sent
    /// once more: it said so, or refused our identity, and there is a newer one by now.
    async fn is_unread(
        &self,
        ended: &Result<(http::Response<Incoming>, Lease), Ended>,
        generation: &Arc<Tls>,
    ) -> bool {
        let refused = match ended {
            // A gateway that looks at the certificate for each request of a connection.
            Ok((response, _)) => {
                generation.identity.is_some() && response.status() == StatusCode::UNAUTHORIZED
            }
            Err(ended) if broken::is_unprocessed(ended) => return true,
            Err(ended) => broken::is_handshake(ended),
        };
        refused && self.generations.newer_than(generation).await
    }

    /// The pool of the current generation.
    fn pool(&self) -> Arc<Pool> {
        let now = Used::now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = {
            let newest = self.source.tls.borrow();
            (!Arc::ptr_eq(&newest, &current.pool.generation)).then(|| Arc::clone(&newest))
        };
        if let Some(generation) = replaced {
            tracing::debug!("the TLS configuration was replaced: new connections from here on");
            current.pool = Pool::new(&self.settings, self.proxy.clone(), generation);
        } else if current.used.slept_until(&now) {
            tracing::debug!("this machine slept: new connections from here on");
            let generation = Arc::clone(&current.pool.generation);
            current.pool = Pool::new(&self.settings, self.proxy.clone(), generation);
        }
        current.used = now;
        Arc::clone(&current.pool)
    }

    fn arriving(
        &self,
        mut response: http::Response<Incoming>,
        (generation, lease): (Arc<Tls>, Lease),
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
        response.map(|body| Body::new(Arriving::new(body, (generation, lease), source, listens)))
    }
}

/// What it takes to send a request once more. A list of headers: to clone the map itself is dear.
struct Spare {
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    /// Whether its path is not shown.
    unshown: Option<Unshown>,
}

impl Spare {
    fn of(request: &Request) -> Self {
        let mut headers = Vec::with_capacity(request.headers().len());
        headers.extend(request.headers().iter().map(|(name, value)| (name.clone(), value.clone())));
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let unshown = request.extensions().get().copied();
        Self { method, uri, headers, body: request.body().clone(), unshown }
    }

    fn request(&self) -> Request {
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        if let Some(unshown) = self.unshown {
            request.extensions_mut().insert(unshown);
        }
        request
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
