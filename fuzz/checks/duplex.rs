//! HTTP+SSE of 2024-11-05 under a script, and the endpoints that its streams name.

use std::time::Duration;

use countersign::mcp::{duplex::Duplex, exchange::Limits};
use http::Uri;

use super::machine;

pub(super) fn run(input: &[u8]) {
    let limits = Limits { in_flight: 8, idle: Duration::from_secs(60) };
    let url = Uri::from_static("https://gw/team/sse?tenant=7");
    let mut duplex = Duplex::http_sse("https://gw", url, limits, 0);
    machine::run(input, |event| duplex.handle(event));
}
