//! A client of sessions before a server without them, under a script.

use std::time::Duration;

use countersign::mcp::{exchange::Limits, translate::forward::Forward};

use super::machine;

pub(super) fn run(input: &[u8]) {
    let limits = Limits { in_flight: 8, idle: Duration::from_secs(60) };
    let mut forward = Forward::new("https://gw", limits, 0);
    machine::run(input, |event| forward.handle(event));
}
