//! A server behind a WebSocket under a script. Frames are read by tungstenite; what is ours begins with
//! their text: whether it is a message (see `message` too), and what that means to whom.

use std::time::Duration;

use countersign::mcp::{duplex::Duplex, exchange::Limits};

use super::machine;

pub(super) fn run(input: &[u8]) {
    let limits = Limits { in_flight: 8, idle: Duration::from_secs(60) };
    let mut duplex = Duplex::websocket("https://gw", limits, 0);
    machine::run(input, |event| duplex.handle(event));
}
