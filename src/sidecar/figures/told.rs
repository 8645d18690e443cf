//! What other modules do, counted as they tell it.
//!
//! Observers are told by `tracing` here: who makes a handshake, loads files or renews a secret says
//! so in an event of the target `figures` with one field, and need not know that anybody counts. The
//! alternatives were counters in a static, which tests of one process would share, and counters
//! handed through the settings of six modules. Without this layer such an event costs a load of its
//! callsite; the log never shows it, since its target is not the crate's.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer, filter::Targets, layer::Context as LayerContext, registry::LookupSpan,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: &'static str,
}

type Counted = Family<Ended, Counter>;

/// The counters. The clones share them.
#[derive(Clone, Debug, Default)]
pub struct Told {
    handshakes: Counted,
    reloads: Counted,
    refreshes: Counted,
}

impl Told {
    /// The layer that hears.
    #[must_use]
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let filter = Targets::new().with_target("figures", Level::INFO);
        Ears(self.clone()).with_filter(filter)
    }

    /// Registers the counters, each with both of its results.
    pub(super) fn register(&self, all: &mut Registry) {
        for (name, help, counted) in [
            ("tls_handshakes", "TLS handshakes with upstreams", &self.handshakes),
            ("reloads", "Loads of changed TLS files", &self.reloads),
            ("credential_refreshes", "Secrets that were fetched anew", &self.refreshes),
        ] {
            // A rate needs a zero to begin at.
            for result in ["ok", "failed"] {
                drop(counted.get_or_create(&Ended { result }));
            }
            all.register(name, help, counted.clone());
        }
    }
}

struct Ears(Told);

impl<S: Subscriber> Layer<S> for Ears {
    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        event.record(&mut Hearing(&self.0));
    }
}

/// The one field of an event: what was done, and whether it was a success.
struct Hearing<'a>(&'a Told);

impl Visit for Hearing<'_> {
    fn record_bool(&mut self, field: &Field, ok: bool) {
        let counted = match field.name() {
            "handshake" => &self.0.handshakes,
            "reload" => &self.0.reloads,
            "refresh" => &self.0.refreshes,
            _ => return,
        };
        counted.get_or_create(&Ended { result: if ok { "ok" } else { "failed" } }).inc();
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prometheus_client::encoding::text;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn what_is_told_is_counted_and_nothing_else() {
        let told = Told::default();
        let subscriber = tracing_subscriber::registry().with(told.layer());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "figures", handshake = true);
            tracing::info!(target: "figures", handshake = false);
            tracing::info!(target: "figures", refresh = true);
            tracing::info!(handshake = true, "of another target");
        });
        let mut registry = Registry::default();
        told.register(&mut registry);
        let mut written = String::new();
        text::encode(&mut written, &registry).unwrap();
        for line in [
            "tls_handshakes_total{result=\"ok\"} 1",
            "tls_handshakes_total{result=\"failed\"} 1",
            "reloads_total{result=\"ok\"} 0",
            "credential_refreshes_total{result=\"ok\"} 1",
        ] {
            assert!(written.lines().any(|it| it == line), "{line}\n{written}");
        }
    }
}
