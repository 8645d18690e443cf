//! The stateless exchanges of 2026-07-28, under a script.

use std::time::Duration;

use countersign::mcp::{exchange::Limits, stateless::Stateless};

use super::machine;

pub(super) fn run(input: &[u8]) {
    let limits = Limits { in_flight: 8, idle: Duration::from_secs(60) };
    let mut stateless = Stateless::new("https://gw", limits, 0);
    machine::run(input, |event| stateless.handle(event));
}
