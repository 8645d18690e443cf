//! A machine of `mcp` under a script: one step a line, each begins with a letter.
//!
//! Whatever happens in whatever order, each request of the client gets one answer, or was cancelled;
//! no call is sent a second time unless the first was proven not to have run; what is done is bounded;
//! and the machine finishes once, when nothing is open any more.
//!
//! `c JSON` the client says it; `w N JSON` its result to the Nth question; `r N JSON` its retry of the Nth
//! call that needs input, with these answers (or some). `s N JSON` the server says it on the Nth
//! exchange; `a N JSON` its result to the Nth request that it was sent, `f N JSON` its error. `h N TEXT` a
//! head with this session id; `n N TEXT` a stream names its endpoint; `e N WORD` an exchange ends; `t N` the
//! Nth timer runs out; `x` the client closes, `z` its time is over.

#[path = "machine/ledger.rs"]
mod ledger;
#[path = "machine/script.rs"]
mod script;
#[path = "machine/sendings.rs"]
mod sendings;

use countersign::mcp::{
    edit,
    exchange::{Command, Event},
    message::Message,
};
use http::Uri;

use self::{ledger::Ledger, script::Script, sendings::Sendings};

/// Steps of one script that are taken.
const STEPS: usize = 200;

/// Runs `script` on the machine whose `handle` this is, before `https://gw`.
pub(super) fn run(script: &[u8], handle: impl FnMut(Event) -> Vec<Command>) {
    let mut run = Run {
        handle,
        script: Script::default(),
        ledger: Ledger::default(),
        sendings: Sendings::default(),
        size: script.len(),
        finished: false,
    };
    for step in script.split(|byte| *byte == b'\n').take(STEPS) {
        if let Some(event) = run.script.event(step) {
            run.on(event);
        }
    }
    run.on(Event::ClientClosed);
    run.on(Event::Expired);
    assert!(run.finished, "it never finishes");
    run.ledger.settled();
}

struct Run<H> {
    handle: H,
    script: Script,
    ledger: Ledger,
    sendings: Sendings,
    /// Of the script.
    size: usize,
    finished: bool,
}

impl<H: FnMut(Event) -> Vec<Command>> Run<H> {
    fn on(&mut self, event: Event) {
        if let Event::FromClient(message) = &event {
            self.ledger.asked(message);
            self.script.said(message);
        }
        if let Event::ClientClosed = event {
            self.ledger.closed();
        }
        self.sendings.heard(&event);
        let commands = (self.handle)(event);
        self.bounded(&commands);
        for command in commands {
            self.take(command);
        }
    }

    fn take(&mut self, command: Command) {
        self.script.note(&command);
        match command {
            Command::Post { exchange, body, context, .. } => {
                assert!(!self.finished, "it posts after its end");
                if let Some(endpoint) = context.endpoint {
                    stays(&endpoint);
                }
                self.sendings.sent(exchange, body);
            }
            Command::Send(exchange, body) => {
                assert!(!self.finished, "it sends after its end");
                self.sendings.sent(exchange, body);
            }
            Command::Deliver(line) => {
                assert!(!line.iter().any(|it| matches!(it, b'\n' | b'\r')), "more than a line");
                let message = Message::parse(line).expect("what is delivered is a message");
                self.ledger.delivered(&message);
                self.script.delivered(&message);
            }
            Command::Finished => {
                assert!(!self.finished, "finished twice");
                self.finished = true;
                // Whoever runs it stops here.
                self.ledger.settled();
            }
            _ => {}
        }
    }

    /// One event has no more consequences than what was said so far can have.
    fn bounded(&self, commands: &[Command]) {
        let bytes: usize = commands.iter().map(weight).sum();
        assert!(commands.len() <= 64 + self.size / 4, "{} commands", commands.len());
        assert!(bytes <= 64 * (4096 + self.size), "{bytes} bytes");
    }
}

fn weight(command: &Command) -> usize {
    match command {
        Command::Post { body, .. } | Command::Send(_, body) | Command::Deliver(body) => body.len(),
        _ => 0,
    }
}

/// Messages go to the origin that was configured, and take nothing with them in their URL.
fn stays(endpoint: &Uri) {
    assert_eq!(endpoint.scheme_str(), Some("https"), "{endpoint}");
    assert_eq!(endpoint.authority().map(http::uri::Authority::as_str), Some("gw"), "{endpoint}");
    assert!(!endpoint.to_string().contains(script::SECRET), "{endpoint}");
}

/// A member of a message that is a number.
fn number(message: &Message, path: &[&str]) -> Option<u64> {
    serde_json::from_str(edit::member(message.bytes(), path)?.get()).ok()
}
