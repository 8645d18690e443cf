//! The sidecar as its callers meet it: `countersign serve` on a free port of loopback, mTLS to the
//! support upstream behind it, and lines to it that send whatever bytes a test likes.

mod line;
mod two;

use std::{net::SocketAddr, time::Duration};

use rustix::process::Signal;

pub use self::{
    line::{Answer, Line},
    two::Two,
};
use super::{
    pki::Pki,
    process::{Countersign, DEADLINE, Process},
    upstream::Upstream,
};

const LISTENING: &str = "listening on ";

/// A running sidecar.
pub struct Sidecar {
    pub process: Process,
    address: SocketAddr,
}

impl Sidecar {
    /// What starts one: `CN=client` to this upstream, on a port of its choice.
    pub fn program(pki: &Pki, upstream: &Upstream) -> Countersign {
        let program = Self::bare().identity(&pki.client).cacert(&pki.ca);
        program.arg(upstream.url())
    }

    /// The same without a word of where to go.
    pub fn bare() -> Countersign {
        Countersign::new().args(["serve", "-v", "--listen", "127.0.0.1:0"])
    }

    /// Starts it, and waits until it listens.
    #[track_caller]
    pub fn start(program: &Countersign) -> Self {
        let process = program.start();
        process.wait_for_stderr(&format!("{LISTENING}127.0.0.1:"));
        let said = process.stderr();
        let address = |line: &str| line.split(LISTENING).nth(1)?.parse::<SocketAddr>().ok();
        let address = said.lines().find_map(address).unwrap();
        Self { process, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection.
    pub fn connect(&self) -> Line {
        Line::tcp(self.address)
    }

    /// A new connection with HTTP/2 from its first byte on.
    pub fn connect_two(&self) -> Two {
        Two::connect(self.address)
    }

    /// The answer to these bytes on a connection of their own.
    #[track_caller]
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut line = self.connect();
        line.write(request);
        line.answer()
    }

    /// Ends it with SIGTERM: it exits with 0. Its warnings from first to last, each by its rule.
    #[track_caller]
    pub fn finish(mut self) -> Vec<String> {
        self.process.signal(Signal::TERM);
        let status = self.process.wait_exit(DEADLINE);
        assert_eq!(status.code(), Some(0), "{}", self.process.transcript());
        rules(&self.process.stderr())
    }
}

/// What was refused, from the log: the `rule=` of each warning, or the whole of one without.
pub fn rules(log: &str) -> Vec<String> {
    let rule = |line: &str| match line.split("rule=\"").nth(1) {
        Some(rest) => rest.split('"').next().unwrap().to_owned(),
        None => line.to_owned(),
    };
    log.lines().filter(|line| line.contains("warning:")).map(rule).collect()
}

/// A time in which what must not happen would have, where nothing can be waited for instead.
pub const A_WHILE: Duration = Duration::from_millis(300);
