//! How much is measured: enough for steady figures, or only enough to see that all of it works.

use std::time::Duration;

/// Counts of one run.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Times that each side takes its turn.
    pub(crate) rounds: usize,
    /// Calls one after another in a round.
    pub(crate) sequential: usize,
    /// Calls with some in flight in a round.
    pub(crate) flood: usize,
    /// Large results in a round, in bytes altogether.
    pub(crate) volume: usize,
    pub(crate) notifications: usize,
    /// Starts in a round.
    pub(crate) starts: usize,
    /// How long a bridge is left alone before its memory is read.
    pub(crate) rest: Duration,
    /// Calls with 64 in flight over the far network in a round.
    pub(crate) far: usize,
    pub(crate) quick: bool,
}

impl Effort {
    pub(crate) const FULL: Self = Self {
        rounds: 7,
        sequential: 1_000,
        flood: 4_000,
        volume: 64 * 1024 * 1024,
        notifications: 10_000,
        starts: 5,
        rest: Duration::from_secs(2),
        far: 1_280,
        quick: false,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        sequential: 50,
        flood: 256,
        volume: 16 * 1024 * 1024,
        notifications: 500,
        starts: 1,
        rest: Duration::from_millis(100),
        far: 128,
        quick: true,
    };

    /// What the command line asks for. `cargo bench` says `--bench`; `cargo test`, which does
    /// not, wants to see it run and no more.
    pub(crate) fn asked(arguments: &[&str]) -> Self {
        let quick = arguments.contains(&"--quick") || !arguments.contains(&"--bench");
        if quick { Self::QUICK } else { Self::FULL }
    }
}
