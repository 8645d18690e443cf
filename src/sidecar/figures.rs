//! What the sidecar counts, in the text that Prometheus reads (OpenMetrics 1.0).
//!
//! Labels are few and bounded: names of routes, classes of statuses, rules. Nothing that a caller
//! sends becomes a label.

mod told;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

pub use self::told::Told;

/// The name of a route where none was taken.
pub(super) const NO_ROUTE: &str = "none";

/// How an answer ended up being what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: Arc<str>,
    status: &'static str,
    /// `upstream`, or the rule or stage of an answer of ours.
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Certificate {
    route: Arc<str>,
    /// `client`, shown to the upstream; `listener`, shown to callers.
    certificate: &'static str,
}

/// From a fast answer of a local server to a slow one of a tool.
#[derive(Clone)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0])
    }
}

/// How a route stands at the moment.
pub(super) struct Stands {
    pub(super) route: Arc<str>,
    pub(super) sessions: usize,
    /// The end of its client certificate.
    pub(super) not_after: Option<i64>,
}

/// All that is counted.
pub(super) struct Figures {
    registry: Mutex<Registry>,
    requests: Family<Answered, Counter>,
    heads: Family<Route, Histogram, Seconds>,
    ends: Family<Route, Histogram, Seconds>,
    bytes_in: Family<Route, Counter>,
    bytes_out: Family<Route, Counter>,
    in_flight: Gauge,
    connections: Gauge,
    accepted: Counter,
    sessions: Family<Route, Gauge>,
    not_after: Family<Certificate, Gauge>,
}

/// Counted for as long as it is held.
pub(super) struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Figures {
    /// All at nothing, but for what was `told` already.
    pub(super) fn new(told: &Told) -> Self {
        let figures = Self {
            registry: Mutex::new(Registry::with_prefix("countersign")),
            requests: Family::default(),
            heads: Family::new_with_constructor(Seconds),
            ends: Family::new_with_constructor(Seconds),
            bytes_in: Family::default(),
            bytes_out: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            sessions: Family::default(),
            not_after: Family::default(),
        };
        let mut registry = figures.lock();
        figures.register(&mut registry);
        told.register(&mut registry);
        drop(registry);
        figures
    }

    fn register(&self, all: &mut Registry) {
        all.register("requests", "Requests by how they were answered", self.requests.clone());
        let heads = "Time until the head of the response";
        all.register("response_seconds", heads, self.heads.clone());
        let ends = "Time until the end of the response";
        all.register("request_duration_seconds", ends, self.ends.clone());
        let (bytes_in, bytes_out) = ("Bodies of requests", "Bodies of responses");
        all.register_with_unit("request_body", bytes_in, Unit::Bytes, self.bytes_in.clone());
        all.register_with_unit("response_body", bytes_out, Unit::Bytes, self.bytes_out.clone());
        all.register("requests_in_flight", "Requests under way", self.in_flight.clone());
        all.register("connections", "Connections of callers", self.connections.clone());
        let accepted = "Connections of callers that were accepted";
        all.register("connections_accepted", accepted, self.accepted.clone());
        let sessions = "Sessions whose owner is remembered";
        all.register("sessions", sessions, self.sessions.clone());
        all.register(
            "certificate_not_after_seconds",
            "End of a certificate that is shown, in seconds since 1970",
            self.not_after.clone(),
        );
    }

    pub(super) fn connection(&self) -> Counted {
        self.accepted.inc();
        Counted::new(&self.connections)
    }

    pub(super) fn request(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    /// Notes an answer: of the upstream's, or of ours by this rule.
    pub(super) fn answered(
        &self,
        route: &Arc<str>,
        status: StatusCode,
        rule: Option<&'static str>,
        after: Duration,
    ) {
        let status = match status.as_u16() {
            100..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.count(route, status, rule.unwrap_or("upstream"));
        self.heads.get_or_create(&of(route)).observe(after.as_secs_f64());
    }

    /// Notes a request whose caller went away before there was an answer.
    pub(super) fn aborted(&self, route: &Arc<str>) {
        self.count(route, "none", "aborted");
    }

    fn count(&self, route: &Arc<str>, status: &'static str, stage: &'static str) {
        self.requests.get_or_create(&Answered { route: Arc::clone(route), status, stage }).inc();
    }

    /// Notes the end of a request.
    pub(super) fn ended(&self, route: &Arc<str>, (read, sent): (u64, u64), after: Duration) {
        let of = of(route);
        self.ends.get_or_create(&of).observe(after.as_secs_f64());
        self.bytes_in.get_or_create(&of).inc_by(read);
        self.bytes_out.get_or_create(&of).inc_by(sent);
    }

    /// All of it as text, with what is only looked at now: the end of the listeners' certificate, and
    /// the routes.
    pub(super) fn text(
        &self,
        listener: Option<i64>,
        routes: impl Iterator<Item = Stands>,
    ) -> String {
        if let Some(not_after) = listener {
            let of = Certificate { route: NO_ROUTE.into(), certificate: "listener" };
            self.not_after.get_or_create(&of).set(not_after);
        }
        for stands in routes {
            let of = Route { route: stands.route };
            let sessions = i64::try_from(stands.sessions).unwrap_or(i64::MAX);
            self.sessions.get_or_create(&of).set(sessions);
            if let Some(not_after) = stands.not_after {
                let of = Certificate { route: of.route, certificate: "client" };
                self.not_after.get_or_create(&of).set(not_after);
            }
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.lock());
        text
    }

    /// Nothing that holds the lock panics.
    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of(route: &Arc<str>) -> Route {
    Route { route: Arc::clone(route) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_by_names_that_prometheus_knows() {
        let figures = Figures::new(&Told::default());
        let route = Arc::from("default");
        let held = figures.request();
        figures.answered(&route, StatusCode::OK, None, Duration::from_millis(3));
        figures.answered(&route, StatusCode::NOT_FOUND, Some("route"), Duration::ZERO);
        figures.aborted(&route);
        figures.ended(&route, (10, 100), Duration::from_millis(30));
        figures.ended(&route, (10, 100), Duration::from_millis(70));
        drop(figures.connection());
        let stands = Stands { route: Arc::clone(&route), sessions: 2, not_after: Some(7) };
        let text = figures.text(Some(8), std::iter::once(stands));
        for line in [
            r#"countersign_requests_total{route="default",status="2xx",stage="upstream"} 1"#,
            r#"countersign_requests_total{route="default",status="4xx",stage="route"} 1"#,
            r#"countersign_requests_total{route="default",status="none",stage="aborted"} 1"#,
            r#"countersign_response_seconds_bucket{le="0.005",route="default"} 2"#,
            r#"countersign_request_duration_seconds_bucket{le="0.05",route="default"} 1"#,
            r#"countersign_request_body_bytes_total{route="default"} 20"#,
            r#"countersign_response_body_bytes_total{route="default"} 200"#,
            "countersign_requests_in_flight 1",
            "countersign_connections 0",
            "countersign_connections_accepted_total 1",
            r#"countersign_sessions{route="default"} 2"#,
            r#"countersign_certificate_not_after_seconds{route="default",certificate="client"} 7"#,
            r#"countersign_certificate_not_after_seconds{route="none",certificate="listener"} 8"#,
            r#"countersign_tls_handshakes_total{result="ok"} 0"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        drop(held);
        let text = figures.text(None, std::iter::empty());
        assert!(text.contains("countersign_requests_in_flight 0"));
    }
}
