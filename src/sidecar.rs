//! The sidecar: HTTP in from this machine, the same credentials and the same upstream as the bridge.
//!
//! It holds a company's keys open on a local port. So the guard decides on every head before a body
//! is read, nothing that a caller says of its own identity goes on, and everything is bounded.

mod admin;
mod connection;
mod drain;
mod figures;
mod forward;
pub mod guard;
pub mod health;
mod hops;
pub mod listener;
pub mod notify;
mod path;
pub mod peer;
mod ready;
mod record;
mod respond;
mod room;
mod route;
mod sessions;
mod trace;

use std::{sync::Arc, time::Duration};

use futures_util::future::FutureExt as _;
use tokio::{io::AsyncWriteExt as _, time::sleep};

use self::{
    admin::Admin,
    drain::Drain,
    figures::Figures,
    forward::Forward,
    listener::{Listener, Stream},
    peer::Peer,
    record::Observers,
    room::Room,
};
pub use self::{
    figures::Heard,
    forward::Times,
    room::Limits,
    route::{Certificate, Route},
};
use crate::{failure::Failure, ledger::Ledger, secret::Held};

/// Before the next try when no connection can be accepted (out of descriptors).
const PAUSE: Duration = Duration::from_millis(50);

/// What a connection is told that there is no room for.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    proxy-status: countersign; error=connection_limit_reached\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

/// The sidecar's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may ask.
    pub guard: guard::Settings,
    /// The token that a caller must show.
    pub token: Option<Held>,
    /// How much is under way at a time.
    pub limits: Limits,
    /// How long a request may take.
    pub times: Times,
    /// How long what is under way may take after `stop`.
    pub drain: Duration,
}

/// Who watches the sidecar at work.
#[derive(Default)]
pub struct Watched {
    /// The logs of requests.
    pub ledger: Option<Ledger>,
    /// What is counted elsewhere.
    pub heard: Heard,
    /// Where probes and figures are asked for.
    pub admin: Option<Listener>,
    /// Who is told that it is ready.
    pub manager: Option<notify::Manager>,
}

/// Carries the requests that come in by `listeners` over `routes`, until `stop` resolves; then ends
/// what is under way, in the time that is set for it or until `now` resolves.
///
/// # Errors
///
/// At the configuration stage: a route has no upstream.
pub async fn run(
    settings: Settings,
    routes: Vec<Route>,
    listeners: Vec<Listener>,
    watched: Watched,
    stop: impl Future<Output: std::fmt::Debug>,
    now: impl AsyncFnOnce(),
) -> Result<(), Failure> {
    let (drain, mut leave) = drain::new();
    let (manager, limit) = (watched.manager, settings.drain);
    let (ledger, admin) = (watched.ledger, watched.admin);
    let figures = admin.as_ref().map(|_| Arc::new(Figures::new(&watched.heard)));
    let observers = Observers { ledger, figures: figures.clone() };
    let forward = forward(settings, routes, drain, observers)?;
    if let (Some(listener), Some(figures)) = (admin, figures) {
        administer(listener, figures, &forward);
    }
    for listener in listeners {
        tracing::info!("listening on {}", listener.name());
        tokio::spawn(accept(listener, Arc::clone(&forward)));
    }
    let manager = manager.as_ref().inspect(|manager| manager.ready());
    let reason = beside(manager, stop).await;
    tracing::info!(?reason, "leaving: what is under way ends first");
    manager.inspect(|manager| manager.stopping());
    leave.say();
    drop(forward);
    let left = async {
        tokio::select! {
            () = leave.finished() => tracing::info!("left"),
            () = sleep(limit) => tracing::warn!("left, and some requests had not ended in time"),
            () = now() => tracing::warn!("left at once: some requests had not ended"),
        }
    };
    beside(manager, left).await;
    Ok(())
}

fn forward(
    settings: Settings,
    routes: Vec<Route>,
    drain: Drain,
    observers: Observers,
) -> Result<Arc<Forward>, Failure> {
    Ok(Arc::new(Forward {
        lanes: routes.into_iter().map(route::Lane::new).collect::<Result<_, _>>()?,
        guard: settings.guard,
        token: settings.token,
        room: Room::new(settings.limits),
        times: settings.times,
        max_message: settings.limits.max_message,
        drain,
        observers,
    }))
}

/// Answers probes from here on.
fn administer(listener: Listener, figures: Arc<Figures>, forward: &Arc<Forward>) {
    tracing::info!("answering probes on {}", listener.name());
    let users = forward.guard.users.clone();
    let admin = Admin {
        forward: Arc::downgrade(forward),
        leaving: forward.drain.unwaited(),
        figures,
        guard: guard::Settings { users, ..guard::Settings::default() },
    };
    tokio::spawn(admin::serve(admin, listener));
}

/// `work`, and signs of life for the service manager until it is done.
async fn beside<T>(manager: Option<&notify::Manager>, work: impl Future<Output = T>) -> T {
    let Some(manager) = manager else { return work.await };
    tokio::select! {
        done = work => done,
        never = manager.live() => match never {},
    }
}

/// Takes connections until the sidecar leaves, and then those that were waiting already.
async fn accept(listener: Listener, forward: Arc<Forward>) {
    let mut leaving = forward.drain.leaving();
    let mut failed = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut leaving => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                failed = false;
                admit(stream, peer, &forward);
            }
            Err(error) => {
                if !failed {
                    tracing::warn!("{} takes no connections: {error}", listener.name());
                }
                failed = true;
                sleep(PAUSE).await;
            }
        }
    }
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        admit(stream, peer, &forward);
    }
}

fn admit(mut stream: Stream, peer: Peer, forward: &Arc<Forward>) {
    let forward = Arc::clone(forward);
    let Some(place) = forward.room.connection() else {
        tracing::warn!(%peer, "there is no room for another connection");
        tokio::spawn(async move {
            // Not waited for: it fits the socket's buffer, or the caller does not read.
            let _ = stream.write_all(NO_ROOM).now_or_never();
            let _ = stream.shutdown().now_or_never();
        });
        return;
    };
    let counted = forward.observers.connection();
    tokio::spawn(async move {
        connection::serve(forward, stream, peer).await;
        drop((place, counted));
    });
}
