//! The stdio bridge: MCP messages from standard input to the upstream, and back to standard
//! output.
//!
//! It outlives its upstream, and ends when its client does: at the end of standard input, when
//! the parent dies, when nobody reads standard output, or when it is told to.

mod audit;
mod calls;
mod endpoint;
mod engine;
mod exchange;
mod outlet;
mod refusing;
mod socket;
mod stdin;
mod stdout;

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use http::Uri;
use zeroize::Zeroizing;

use self::{
    audit::Audit,
    calls::Calls,
    outlet::Outlet,
    stdin::{Line, Lines},
    stdout::Stdout,
};
pub use self::{calls::Hold, engine::Engine, outlet::Backlog, refusing::refuse};
pub use crate::mcp::era::Era;
use crate::{
    failure::{Failure, Stage},
    ledger::Ledger,
    mcp::{
        conversation::Conversation,
        exchange::{Event, Limits},
        fault,
    },
    service::HttpService,
    stdio::{Input, Output},
};

/// How long what is in flight may take after SIGTERM or the parent's death.
const HURRY: Duration = Duration::from_secs(1);
/// How long the last lines may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The bridge's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where requests go.
    pub uri: Uri,
    /// The upstream's origin, for messages.
    pub upstream: String,
    /// Whether it is reached by WebSocket.
    pub websocket: bool,
    /// The longest line of the client and the largest message of the server.
    pub max_message: usize,
    /// How long a request may go without a byte from the upstream.
    pub idle_timeout: Duration,
    /// Requests of the client that may wait for their answers at a time.
    pub max_in_flight: usize,
    /// How long what is in flight may take after the end of input.
    pub drain: Duration,
    /// The era that the client speaks; none where it shows that by how it opens.
    pub protocol: Option<Era>,
    /// Where each request of the client is noted.
    pub ledger: Option<Ledger>,
}

/// Runs the bridge between `input` and `output`, and the upstream behind `service`, until its
/// client is gone.
///
/// `stop` resolves when the process is to end before the end of input.
pub async fn run(
    mut settings: Settings,
    service: HttpService,
    (input, output): (Input, Output),
    stop: impl Future<Output: std::fmt::Debug>,
) {
    let conversation = converse(&mut settings);
    let mut lines = Lines::new(input, settings.max_message);
    let stdout = Stdout::new(output);
    let (drain, max_message) = (settings.drain, settings.max_message);
    let calls = Calls::new(settings, conversation, service, Outlet::Stdout(stdout.clone()));

    let reading = async {
        loop {
            // A client that reads nothing is not listened to for ever.
            stdout.room().await;
            // Nor is one whose messages nobody takes.
            calls.room().await;
            let Some(line) = lines.next().await else { break };
            match line {
                Line::Message(bytes) => calls.take(bytes),
                // Its answer to a question of the server's: the server gets the error instead.
                Line::TooLong(Some(id), false) => {
                    calls.take(fault::answer(&id, &too_long(max_message)));
                }
                Line::TooLong(id, _) => {
                    stdout.push(fault::unreadable(id.as_ref(), &too_long(max_message)));
                }
            }
        }
    };
    let mut stop = std::pin::pin!(stop);
    let hurried = tokio::select! {
        () = reading => false,
        reason = &mut stop => {
            tracing::info!(?reason, "ending");
            true
        }
        () = stdout.run() => true,
    };
    calls.on(Event::ClientClosed);
    let time = async {
        if !hurried {
            tokio::select! {
                () = tokio::time::sleep(drain) => return,
                _ = &mut stop => {}
            }
        }
        tokio::time::sleep(HURRY).await;
    };
    tokio::select! {
        () = calls.finished() => {}
        () = time => calls.on(Event::Expired),
        // Nobody reads answers any more.
        () = stdout.run() => calls.on(Event::Expired),
    }
    calls.departed().await;
    // A client that is gone reads nothing; one that is slow gets its last answers.
    tokio::select! {
        () = stdout.drained() => {}
        () = stdout.run() => {}
        () = tokio::time::sleep(LAST_WORDS) => {}
    }
}

/// The conversation that the settings ask for.
fn converse(settings: &mut Settings) -> Conversation {
    // How messages name it, so that nobody takes its refusals for ours.
    settings.upstream = format!("the upstream {}", settings.upstream);
    let limits = Limits { in_flight: settings.max_in_flight, idle: settings.idle_timeout };
    let (upstream, protocol) = (&settings.upstream, settings.protocol);
    let key = key();
    match settings.websocket {
        true => Conversation::over_websocket(upstream, limits, protocol, &key),
        false => Conversation::new(upstream, settings.uri.clone(), limits, protocol, &key),
    }
}

#[expect(clippy::expect_used, reason = "AWS-LC ends the process rather than return an error")]
fn key() -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *key).expect("the system has random numbers");
    key
}

fn too_long(limit: usize) -> Failure {
    Failure::new(Stage::Downstream, format!("a message is longer than {limit} bytes"))
        .hint("raise --max-message to let it pass")
}
