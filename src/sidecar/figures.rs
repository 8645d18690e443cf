//! The sidecar in numbers, for `/metrics`: what it counts itself, and what others told it.
//!
//! Text in the format of OpenMetrics 1.0, which Prometheus reads. No label takes its value from a
//! caller, so there are only so many series.

mod heard;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

pub use self::heard::Heard;

/// Upper ends of the classes of durations, in seconds: from a call on the same machine to one that
/// waits for a person.
const CLASSES: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];

/// The name of a route. The clones share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(pub(super) Arc<str>);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        (&*self.0).encode(encoder)
    }
}

/// What a request came to, as far as it is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Came {
    route: Option<Name>,
    class: &'static str,
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    route: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    rule: &'static str,
}

/// A finished request.
pub(super) struct Finished<'a> {
    pub(super) route: Option<&'a Name>,
    pub(super) status: Option<u16>,
    /// Where it failed; none if it was answered.
    pub(super) stage: Option<&'static str>,
    pub(super) bytes: (u64, u64),
    pub(super) head: Option<Duration>,
    pub(super) whole: Duration,
}

/// How a route stands at the moment.
pub(super) struct Stands {
    pub(super) route: Name,
    pub(super) sessions: usize,
    /// The end of its client certificate.
    pub(super) not_after: Option<i64>,
}

/// All figures.
pub(super) struct Figures {
    registry: Mutex<Registry>,
    requests: Family<Came, Counter>,
    refusals: Family<By, Counter>,
    durations: Family<Of, Histogram>,
    heads: Family<Of, Histogram>,
    bytes_in: Family<Of, Counter>,
    bytes_out: Family<Of, Counter>,
    in_flight: Gauge,
    connections: Gauge,
    accepted: Counter,
    sessions: Family<Of, Gauge>,
    not_after: Family<Of, Gauge>,
}

impl Figures {
    /// All at nothing, but for what was `heard` already.
    pub(super) fn new(heard: &Heard) -> Self {
        let histogram = || Histogram::new(CLASSES);
        let figures = Self {
            registry: Mutex::new(Registry::with_prefix("countersign")),
            requests: Family::default(),
            refusals: Family::default(),
            durations: Family::new_with_constructor(histogram),
            heads: Family::new_with_constructor(histogram),
            bytes_in: Family::default(),
            bytes_out: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            sessions: Family::default(),
            not_after: Family::default(),
        };
        figures.register(&mut figures.lock());
        heard.register(&mut figures.lock());
        figures
    }

    fn register(&self, all: &mut Registry) {
        let requests = "Requests, by route, class of status and stage of failure";
        all.register("requests", requests, self.requests.clone());
        let refusals = "Requests that were not carried, by rule";
        all.register("refusals", refusals, self.refusals.clone());
        let durations = "Time to the end of the response";
        all.register_with_unit(
            "request_duration",
            durations,
            Unit::Seconds,
            self.durations.clone(),
        );
        let heads = "Time to the head of the response";
        all.register_with_unit("response_head", heads, Unit::Seconds, self.heads.clone());
        let bytes_in = "Bodies of requests";
        all.register_with_unit("request_body", bytes_in, Unit::Bytes, self.bytes_in.clone());
        let bytes_out = "Bodies of responses";
        all.register_with_unit("response_body", bytes_out, Unit::Bytes, self.bytes_out.clone());
        let in_flight = "Requests under way, streams that are listened to included";
        all.register("in_flight", in_flight, self.in_flight.clone());
        all.register("connections", "Connections that are open", self.connections.clone());
        let accepted = "Connections that were accepted";
        all.register("connections_accepted", accepted, self.accepted.clone());
        let sessions = "Sessions whose owner is remembered";
        all.register("sessions", sessions, self.sessions.clone());
        let not_after = "Last moment of the client certificate, in seconds since 1970";
        all.register_with_unit(
            "certificate_not_after",
            not_after,
            Unit::Seconds,
            self.not_after.clone(),
        );
    }

    /// A request came.
    pub(super) fn begun(&self) {
        self.in_flight.inc();
    }

    /// A request was refused.
    pub(super) fn refused(&self, rule: &'static str) {
        self.refusals.get_or_create(&By { rule }).inc();
    }

    /// A request that came is over.
    pub(super) fn finished(&self, finished: &Finished<'_>) {
        self.in_flight.dec();
        let came = Came {
            route: finished.route.cloned(),
            class: class(finished.status),
            stage: finished.stage.unwrap_or_default(),
        };
        self.requests.get_or_create(&came).inc();
        let Some(route) = came.route else { return };
        let of = Of { route };
        self.durations.get_or_create(&of).observe(finished.whole.as_secs_f64());
        if let Some(head) = finished.head {
            self.heads.get_or_create(&of).observe(head.as_secs_f64());
        }
        self.bytes_in.get_or_create(&of).inc_by(finished.bytes.0);
        self.bytes_out.get_or_create(&of).inc_by(finished.bytes.1);
    }

    /// A connection was accepted; it is open until what is returned is dropped.
    pub(super) fn connection(self: &Arc<Self>) -> Open {
        self.accepted.inc();
        self.connections.inc();
        Open(Arc::clone(self))
    }

    /// All of it as text, with how each route stands now.
    pub(super) fn text(&self, routes: impl Iterator<Item = Stands>) -> Result<String, fmt::Error> {
        for Stands { route, sessions, not_after } in routes {
            let of = Of { route };
            let sessions = i64::try_from(sessions).unwrap_or(i64::MAX);
            self.sessions.get_or_create(&of).set(sessions);
            if let Some(not_after) = not_after {
                self.not_after.get_or_create(&of).set(not_after);
            }
        }
        let mut written = String::new();
        text::encode(&mut written, &self.lock())?;
        Ok(written)
    }

    /// Nothing that holds the lock panics.
    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection.
pub(super) struct Open(Arc<Figures>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// `2xx` and its like; `none` for a request whose caller went away before there was a status.
fn class(status: Option<u16>) -> &'static str {
    match status.map(|status| status / 100) {
        Some(1) => "1xx",
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(5) => "5xx",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_happened_is_counted_by_route_class_and_stage() {
        let figures = Arc::new(Figures::new(&Heard::default()));
        let route = Name("a".into());
        let finished = |status, stage| Finished {
            route: Some(&route),
            status,
            stage,
            bytes: (10, 100),
            head: status.map(|_| Duration::from_millis(2)),
            whole: Duration::from_millis(20),
        };
        for _ in 0..3 {
            figures.begun();
        }
        let open = figures.connection();
        figures.finished(&finished(Some(200), None));
        figures.finished(&finished(Some(502), Some("tls")));
        let text = figures.text(std::iter::empty()).unwrap();
        for line in [
            "countersign_requests_total{route=\"a\",class=\"2xx\",stage=\"\"} 1",
            "countersign_requests_total{route=\"a\",class=\"5xx\",stage=\"tls\"} 1",
            "countersign_response_head_seconds_bucket{le=\"0.0025\",route=\"a\"} 2",
            "countersign_request_duration_seconds_count{route=\"a\"} 2",
            "countersign_request_body_bytes_total{route=\"a\"} 20",
            "countersign_response_body_bytes_total{route=\"a\"} 200",
            "countersign_in_flight 1",
            "countersign_connections 1",
            "countersign_connections_accepted_total 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        drop(open);
        assert!(figures.text(std::iter::empty()).unwrap().contains("countersign_connections 0"));
    }
}
