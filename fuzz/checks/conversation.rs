//! All machines behind one client, under a script: whichever eras meet, and over whatever. Its first
//! line may hold words of the configuration: `websocket`, and `modern` or `legacy` of the client.

use std::time::Duration;

use countersign::mcp::{conversation::Conversation, era::Era, exchange::Limits};
use http::Uri;

use super::machine;

pub(super) fn run(input: &[u8]) {
    let limits = Limits { in_flight: 8, idle: Duration::from_secs(60) };
    let (first, _) = input.split_at(input.iter().position(|it| *it == b'\n').unwrap_or(0));
    let says = |word: &[u8]| first.split(|it| *it == b' ').any(|it| it == word);
    let protocol = match (says(b"modern"), says(b"legacy")) {
        (true, _) => Some(Era::Modern),
        (_, true) => Some(Era::Legacy),
        _ => None,
    };
    let mut conversation = if says(b"websocket") {
        Conversation::over_websocket("https://gw", limits, protocol, &[7; 32])
    } else {
        let url = Uri::from_static("https://gw/sse");
        Conversation::new("https://gw", url, limits, protocol, &[7; 32])
    };
    machine::run(input, |event| conversation.handle(event));
}
