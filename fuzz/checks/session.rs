//! The session of revisions up to 2025-11-25, under a script.

use std::time::Duration;

use countersign::mcp::{exchange::Limits, session::Session};

use super::machine;

pub(super) fn run(input: &[u8]) {
    let limits = Limits { in_flight: 8, idle: Duration::from_secs(60) };
    let mut session = Session::new("https://gw", limits);
    machine::run(input, |event| session.handle(event));
}
