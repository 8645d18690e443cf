//! The requests of the sidecar as spans, for an OpenTelemetry collector (OTLP over HTTP).
//!
//! What a span tells is a fixed list: no header, no path, no argument of a tool. The collector is none
//! of a request's business: a request leaves its span in a bounded queue and goes on, whatever becomes
//! of it. Builds without the feature `otlp` have no exporter, and say so.

#[cfg_attr(not(feature = "otlp"), path = "otlp/absent.rs")]
mod exporter;
#[cfg(feature = "otlp")]
mod sending;
#[cfg(all(test, feature = "otlp"))]
mod tests;
#[cfg(feature = "otlp")]
mod wire;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Uri;

pub(super) use self::exporter::{Exporter, Exporting, start};
use super::trace::Span;
use crate::{ledger::Outcome, mcp::subject::Subject, service::HttpService};

/// Who takes spans.
pub struct Collector {
    /// Where they go, whole: `http://127.0.0.1:4318/v1/traces`.
    pub uri: Uri,
    /// The way there, without any credentials.
    pub service: HttpService,
}

/// A request that is over: all that its span is made of.
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "there is nobody to tell"))]
pub(super) struct Finished {
    pub(super) span: Span,
    pub(super) time: SystemTime,
    pub(super) duration: Duration,
    /// The method of HTTP; `other` if it is none that is carried.
    pub(super) method: &'static str,
    pub(super) route: Option<Arc<str>>,
    pub(super) subject: Subject,
    pub(super) status: Option<u16>,
    pub(super) outcome: Outcome,
    /// Where it failed, and the rule by which it was refused.
    pub(super) failed: Option<(&'static str, Option<&'static str>)>,
}
