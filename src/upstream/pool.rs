//! The connections of one generation of the TLS configuration: those that are idle, those that are
//! shared, and those that are being made.
//!
//! A connection keeps the identity it was made with, so all of them go with their generation: what
//! is idle is closed, what is in flight ends where it began. Which version of HTTP the upstream
//! speaks shows with the first connection; until then, and with HTTP/2, requests wait for one
//! together.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _, Shared, WeakShared};
use http::{HeaderValue, Uri, header, uri};
use hyper::body::Incoming;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::{
    Settings,
    broken::{self, Ended},
    connection::{Connection, Outgoing, STREAMS_AT_MOST},
    connector::Connector,
    proxy::Proxy,
    url::UpstreamUrl,
};
use crate::{failure::Failure, tls::Tls};

/// Load balancers forget an idle connection after a minute, and few sooner.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// As many calls as one client, or the sidecar, has in flight; more connections are closed after use.
const IDLE_AT_MOST: usize = 1024;

pub(super) struct Pool {
    pub(super) generation: Arc<Tls>,
    connector: Connector,
    url: UpstreamUrl,
    /// What HTTP/1.1 requests are for.
    host: Option<HeaderValue>,
    /// Held for as long as it takes to find a connection, never across a wait.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// HTTP/1.1, the one that was used last at the end.
    idle: Vec<Resting>,
    /// HTTP/2. All but the last have, or had, as many exchanges under way as one connection takes.
    shared: Vec<Resting>,
    opening: Vec<WeakShared<Opening>>,
    /// Whether the last connection that was made is for one exchange at a time.
    one_at_a_time: bool,
    /// Whether somebody looks after what is idle.
    tended: bool,
}

/// A connection and when it was last used.
struct Resting {
    connection: Connection,
    since: Instant,
}

/// Makes a connection, and puts it into the pool.
type Opening = BoxFuture<'static, Result<(), Failure>>;

/// A connection that carries an exchange, until the exchange has ended.
pub(super) struct Lease {
    connection: Option<Connection>,
    pool: Weak<Pool>,
}

impl Pool {
    pub(super) fn new(
        settings: &Settings,
        proxy: Option<Arc<Proxy>>,
        generation: Arc<Tls>,
    ) -> Arc<Self> {
        let connector = Connector::new(settings, proxy, Arc::clone(&generation));
        let one_at_a_time = !connector.may_be_h2();
        let url = settings.url.clone();
        let host = url.uri().authority().and_then(|host| host.as_str().parse().ok());
        let kept = Mutex::new(Kept { one_at_a_time, ..Kept::default() });
        Arc::new(Self { generation, connector, url, host, kept })
    }

    /// Sends a request, over a connection that is there or a new one.
    pub(super) async fn send(
        self: &Arc<Self>,
        mut request: Outgoing,
    ) -> Result<(http::Response<Incoming>, Lease), Ended> {
        loop {
            let ready = self.lock().take();
            let mut connection = match ready {
                Some(connection) => connection,
                // Boxed, for it is large and seldom needed.
                None => self.wait().boxed().await.map_err(Ended::Unconnected)?,
            };
            let was_used = connection.is_used();
            self.address(&mut request, connection.is_multiplexed());
            match connection.send(request).await {
                Ok(response) => {
                    let (connection, pool) = (Some(connection), Arc::downgrade(self));
                    return Ok((response, Lease { connection, pool }));
                }
                Err(mut error) => match error.take_message() {
                    // hyper returns the request in the one case in which the connection ended
                    // before it took it from its queue: what it returns was never written.
                    Some(unsent) if was_used => request = unsent,
                    _ => return Err(Ended::Broken(connection.broken(error.into_error()))),
                },
            }
        }
    }

    /// What the version of HTTP asks of a request: HTTP/1.1 names the host in a header of its own
    /// (RFC 9112, section 3.2), HTTP/2 in the URL.
    fn address(&self, request: &mut Outgoing, multiplexed: bool) {
        let mut parts = mem::take(request.uri_mut()).into_parts();
        if multiplexed {
            let url = self.url.uri();
            parts.scheme = parts.scheme.or_else(|| url.scheme().cloned());
            parts.authority = parts.authority.or_else(|| url.authority().cloned());
        } else {
            (parts.scheme, parts.authority) = (None, None);
            if let Some(host) = &self.host {
                request.headers_mut().entry(header::HOST).or_insert_with(|| host.clone());
            }
        }
        let root = || uri::PathAndQuery::from_static("/");
        parts.path_and_query.get_or_insert_with(root);
        // Parts of a URL that held make one that holds.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }

    /// A connection, when there is one.
    async fn wait(self: &Arc<Self>) -> Result<Connection, Failure> {
        loop {
            let opening = {
                let mut kept = self.lock();
                match kept.take() {
                    Some(connection) => return Ok(connection),
                    None if kept.one_at_a_time => None,
                    None => Some(self.join(&mut kept)),
                }
            };
            match opening {
                Some(opening) => opening.await?,
                None => {
                    let connection = self.open().await?;
                    if !connection.is_multiplexed() {
                        return Ok(connection);
                    }
                    self.keep(connection);
                }
            }
        }
    }

    /// The connection that is being made for as many requests as it will take. It is given up when
    /// the last of them is.
    fn join(self: &Arc<Self>, kept: &mut Kept) -> Shared<Opening> {
        let under_way = |it: &Shared<Opening>| it.peek().is_none();
        kept.opening.retain(|it| it.upgrade().as_ref().is_some_and(under_way));
        let has_room =
            |it: &Shared<Opening>| it.strong_count().is_some_and(|all| all <= STREAMS_AT_MOST);
        if let Some(joined) = kept.opening.iter().filter_map(WeakShared::upgrade).find(has_room) {
            return joined;
        }
        let pool = Arc::clone(self);
        let opening = async move { pool.open().await.map(|made| pool.keep(made)) };
        let opening = opening.boxed().shared();
        kept.opening.extend(opening.downgrade());
        opening
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let stream = self.connector.connect().await?;
        let begun = Connection::begin(stream, self.connector.is_h2_alone()).await;
        let connection =
            begun.map_err(|error| broken::unsent(error, &self.url, &self.generation))?;
        self.lock().one_at_a_time = !connection.is_multiplexed();
        Ok(connection)
    }

    /// Takes a connection for whoever needs one next.
    fn keep(self: &Arc<Self>, connection: Connection) {
        let mut kept = self.lock();
        let resting = Resting { since: Instant::now(), connection };
        if resting.connection.is_multiplexed() {
            kept.shared.push(resting);
        } else if kept.idle.len() < IDLE_AT_MOST {
            kept.idle.push(resting);
        }
        if !mem::replace(&mut kept.tended, true) {
            tokio::spawn(tend(Arc::downgrade(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// A connection that is there.
    fn take(&mut self) -> Option<Connection> {
        self.take_shared().or_else(|| self.take_idle())
    }

    /// The first that has room.
    fn take_shared(&mut self) -> Option<Connection> {
        if self.shared.is_empty() {
            return None;
        }
        self.shared.retain(Resting::is_open);
        let resting = self.shared.iter_mut().find(|it| it.connection.is_ready())?;
        resting.since = Instant::now();
        resting.connection.share()
    }

    /// The one that was used last: those below it may be closed for having been idle.
    fn take_idle(&mut self) -> Option<Connection> {
        while let Some(resting) = self.idle.pop() {
            if resting.since.elapsed() >= IDLE {
                self.idle.clear();
            } else if resting.connection.is_ready() {
                return Some(resting.connection);
            }
        }
        None
    }

    /// Closes what nobody has used for long; whether something is left.
    fn tidy(&mut self) -> bool {
        self.idle.retain(|it| it.since.elapsed() < IDLE && it.connection.is_ready());
        self.shared.retain(Resting::is_open);
        !self.idle.is_empty() || !self.shared.is_empty()
    }
}

impl Resting {
    /// HTTP/2: whether it is good for another exchange now or later.
    fn is_open(&self) -> bool {
        let is_busy = self.connection.exchanges() > 0;
        self.connection.is_alive() && (is_busy || self.since.elapsed() < IDLE)
    }
}

/// Closes what is idle for too long, for as long as there is anything.
async fn tend(pool: Weak<Pool>) {
    loop {
        sleep(IDLE).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut kept = pool.lock();
        if !kept.tidy() {
            kept.tended = false;
            return;
        }
    }
}

impl Drop for Lease {
    /// The exchange has ended or was given up: an HTTP/1.1 connection is there for the next. hyper
    /// closes it if more is left on it than has come already.
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take().filter(|it| !it.is_multiplexed()) else {
            return;
        };
        let pool = self.pool.clone();
        let give_back = move |connection| {
            if let Some(pool) = pool.upgrade() {
                pool.keep(connection);
            }
        };
        if connection.is_ready() {
            give_back(connection);
        } else if connection.is_alive()
            && let Ok(runtime) = Handle::try_current()
        {
            // What is left of the request or of the response goes through first.
            runtime.spawn(async move {
                if connection.ready().await {
                    give_back(connection);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
