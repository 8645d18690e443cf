//! What the sidecar counts, in the text that Prometheus reads (OpenMetrics 1.0).
//!
//! Labels are few and bounded: names of routes, classes of statuses, rules. Nothing that a caller
//! sends becomes a label.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::Registry,
};

use super::route::Lane;

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

/// From a fast answer of a local server to a slow one of a tool.
#[derive(Clone)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0])
    }
}

/// All that is counted.
pub(super) struct Figures {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram, Seconds>,
    in_flight: Gauge,
    connections: Gauge,
    sessions: Family<Route, Gauge>,
    not_after: Family<Route, Gauge>,
}

/// Counted for as long as it is held.
pub(super) struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Figures {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("countersign");
        let requests = Family::<Answered, Counter>::default();
        let seconds = Family::new_with_constructor(Seconds);
        let (in_flight, connections) = (Gauge::default(), Gauge::default());
        let sessions = Family::<Route, Gauge>::default();
        let not_after = Family::<Route, Gauge>::default();
        registry.register("requests", "Requests by how they were answered", requests.clone());
        registry.register(
            "response_seconds",
            "Time until the head of the response",
            seconds.clone(),
        );
        registry.register("requests_in_flight", "Requests under way", in_flight.clone());
        registry.register("connections", "Connections of callers", connections.clone());
        registry.register("sessions", "Sessions whose owner is remembered", sessions.clone());
        registry.register(
            "certificate_not_after_seconds",
            "End of the client certificate, in seconds since 1970",
            not_after.clone(),
        );
        Self { registry, requests, seconds, in_flight, connections, sessions, not_after }
    }

    pub(super) fn connection(&self) -> Counted {
        self.connections.inc();
        Counted(self.connections.clone())
    }

    pub(super) fn request(&self) -> Counted {
        self.in_flight.inc();
        Counted(self.in_flight.clone())
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
        let stage = rule.unwrap_or("upstream");
        self.requests.get_or_create(&Answered { route: Arc::clone(route), status, stage }).inc();
        let route = Route { route: Arc::clone(route) };
        self.seconds.get_or_create(&route).observe(after.as_secs_f64());
    }

    /// All of it as text, with what is only looked at now.
    pub(super) fn text(&self, lanes: &[Lane]) -> String {
        for lane in lanes {
            let route = Route { route: Arc::clone(&lane.name) };
            let sessions = i64::try_from(lane.sessions.len()).unwrap_or(i64::MAX);
            self.sessions.get_or_create(&route).set(sessions);
            if let Some(identity) = lane.identity() {
                self.not_after.get_or_create(&route).set(identity.not_after.0);
            }
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_by_names_that_prometheus_knows() {
        let figures = Figures::new();
        let route = Arc::from("default");
        let held = figures.request();
        figures.answered(&route, StatusCode::OK, None, Duration::from_millis(3));
        figures.answered(&route, StatusCode::NOT_FOUND, Some("route"), Duration::ZERO);
        let text = figures.text(&[]);
        for line in [
            r#"countersign_requests_total{route="default",status="2xx",stage="upstream"} 1"#,
            r#"countersign_requests_total{route="default",status="4xx",stage="route"} 1"#,
            r#"countersign_response_seconds_bucket{le="0.005",route="default"} 2"#,
            "countersign_requests_in_flight 1",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        drop(held);
        assert!(figures.text(&[]).contains("countersign_requests_in_flight 0"));
    }
}
