//! The sidecar: HTTP in from this machine, the same credentials and the same upstream as the bridge.
//!
//! It holds a company's keys open on a local port. So the guard decides on every head before a body
//! is read, nothing that a caller says of its own identity goes on, and everything is bounded.

pub mod admin;
mod connection;
mod drain;
mod figures;
mod forward;
pub mod guard;
mod heard;
mod hops;
mod keepalive;
pub mod listener;
pub mod notify;
mod otlp;
mod path;
pub mod peer;
mod quiet;
mod ready;
mod record;
mod respond;
mod room;
mod route;
mod secure;
mod sessions;
mod stall;
mod trace;
mod translate;
mod tunnel;
mod window;

use std::{sync::Arc, time::Duration};

use futures_util::future::FutureExt as _;
use tokio::{io::AsyncWriteExt as _, time::sleep};

use self::{
    admin::Admin,
    figures::Figures,
    forward::Forward,
    listener::{Listener, Stream},
    peer::Peer,
    record::Observers,
    room::Room,
};
pub use self::{
    figures::Told, forward::Times, otlp::Collector, room::Limits, route::Route,
    translate::Translate,
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
    /// The service manager.
    pub notify: notify::Settings,
}

/// What is open to callers, and to who looks after the sidecar.
pub struct Listeners {
    /// For requests.
    pub public: Vec<Listener>,
    /// For health and figures.
    pub admin: Option<Listener>,
}

/// Who watches the sidecar at work.
#[derive(Default)]
pub struct Watched {
    /// The logs of requests.
    pub ledger: Option<Ledger>,
    /// What is counted elsewhere.
    pub told: Told,
    /// Who takes the spans of requests.
    pub collector: Option<Collector>,
}

/// Carries the requests that come in by `listeners` over `routes`, until `stop` resolves; then ends
/// what is under way, in the time that is set for it or until `now` resolves.
///
/// # Errors
///
/// At the configuration stage: a route has no upstream; there is a collector of spans, and this
/// build exports none.
pub async fn run(
    settings: Settings,
    routes: Vec<Route>,
    listeners: Listeners,
    watched: Watched,
    stop: impl Future<Output: std::fmt::Debug>,
    now: impl AsyncFnOnce(),
) -> Result<(), Failure> {
    let (drain, leave) = drain::new();
    // What nobody can ask for is not counted.
    let figures = listeners.admin.as_ref().map(|_| Arc::new(Figures::new(&watched.told)));
    let exporting = watched.collector.map(|it| otlp::start(&it, &routes, &drain)).transpose()?;
    let (exporter, exporting) = exporting.unzip();
    let observers = Observers {
        ledger: watched.ledger,
        figures: figures.clone(),
        exporter,
        ..Observers::default()
    };
    let forward = Arc::new(Forward {
        lanes: routes.into_iter().map(route::Lane::new).collect::<Result<_, _>>()?,
        guard: settings.guard,
        token: settings.token,
        room: Room::new(settings.limits),
        times: settings.times,
        max_message: settings.limits.max_message,
        drain,
        observers,
    });
    let secured = listeners.public.iter().find_map(Listener::tls).cloned();
    let admin = listeners.admin.zip(figures).map(|(listener, figures)| {
        tracing::info!("telling of itself on {}", listener.name());
        // Root may read our memory: it learns nothing here, and probes and scrapers are often root's.
        let users = [&forward.guard.users[..], &[0]].concat();
        let guard = guard::Settings { users, ..guard::Settings::default() };
        // It tells that we leave, and is not waited for.
        let admin = Admin { forward: Arc::downgrade(&forward), figures, guard, listener: secured };
        tokio::spawn(admin::serve(listener, admin))
    });
    for listener in listeners.public {
        tracing::info!("listening on {}", listener.name());
        tokio::spawn(accept(listener, Arc::clone(&forward)));
    }
    settings.notify.tell("READY=1");
    let living = tokio::spawn(settings.notify.clone().live());
    let reason = stop.await;
    tracing::info!(?reason, "leaving: what is under way ends first");
    settings.notify.tell("STOPPING=1");
    leave.say();
    drop(forward);
    tokio::select! {
        () = ended(leave, exporting) => tracing::info!("left"),
        () = sleep(settings.drain) => tracing::warn!("left, and some requests had not ended in time"),
        () = now() => tracing::warn!("left at once: some requests had not ended"),
    }
    living.abort();
    if let Some(admin) = admin {
        // Its socket is taken away with it.
        admin.abort();
        let _ = admin.await;
    }
    Ok(())
}

/// Resolves when nothing is under way any more, and its spans were sent.
async fn ended(mut leave: drain::Leave, exporting: Option<otlp::Exporting>) {
    leave.finished().await;
    if let Some(exporting) = exporting {
        exporting.finish().await;
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
                admit(&listener, stream, peer, &forward);
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
        admit(&listener, stream, peer, &forward);
    }
}

fn admit(listener: &Listener, mut stream: Stream, peer: Peer, forward: &Arc<Forward>) {
    let forward = Arc::clone(forward);
    let Some(place) = forward.room.connection() else {
        tracing::warn!(%peer, rule = "connections", "there is no room for another connection");
        // Under TLS nobody would understand it.
        let secured = listener.tls().is_some();
        tokio::spawn(async move {
            if secured {
                return;
            }
            // Not waited for: it fits the socket's buffer, or the caller does not read.
            let _ = stream.write_all(NO_ROOM).now_or_never();
            let _ = stream.shutdown().now_or_never();
        });
        return;
    };
    let (tls, counted) = (listener.tls().cloned(), forward.observers.connection());
    tokio::spawn(async move {
        match tls {
            // Boxed: without TLS a connection takes half the memory.
            Some(tls) => secure::shake(forward, stream, peer, tls).boxed().await,
            None => {
                let drain = forward.drain.clone();
                connection::serve(forward, stream, peer, drain).await;
            }
        }
        drop((place, counted));
    });
}
