//! A build without the exporter: to ask for it is an error that says so.

use std::convert::Infallible;

use super::{Collector, Finished};
use crate::{
    failure::{Failure, Stage},
    sidecar::{drain::Drain, route::Route},
};

/// There is none in this build.
#[derive(Clone)]
pub(in crate::sidecar) struct Exporter(Infallible);

pub(in crate::sidecar) struct Exporting(Infallible);

pub(in crate::sidecar) fn start(
    collector: &Collector,
    _: &[Route],
    _: &Drain,
) -> Result<(Exporter, Exporting), Failure> {
    let host = collector.uri.authority().map_or("", |authority| authority.as_str());
    let what = format!("this build exports no spans, for {host} (--otlp)");
    Err(Failure::new(Stage::Configuration, what)
        .hint("build it with cargo install --features otlp, or leave --otlp out"))
}

impl Exporter {
    pub(in crate::sidecar) fn tell(&self, _: Finished) {
        match self.0 {}
    }
}

impl Exporting {
    pub(in crate::sidecar) async fn finish(self) {
        match self.0 {}
    }
}
