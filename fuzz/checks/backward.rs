//! A client without sessions before a server that has them, under a script: over a WebSocket where its
//! first line says so, else by POST, or HTTP+SSE where that is refused.

use std::time::Duration;

use countersign::mcp::{exchange::Limits, translate::backward::Backward};
use http::Uri;

use super::machine;

pub(super) fn run(input: &[u8]) {
    let limits = Limits { in_flight: 8, idle: Duration::from_secs(60) };
    let backward = Backward::new("https://gw", limits, 0, &[7; 32]);
    let (mut backward, script) = match input.strip_prefix(b"websocket\n") {
        Some(script) => (backward.over_websocket(), script),
        None => (backward.or_http_sse(Uri::from_static("https://gw/sse")), input),
    };
    machine::run(script, |event| backward.handle(event));
}
