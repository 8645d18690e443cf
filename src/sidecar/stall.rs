//! An answer that stops in its middle: the upstream has its idle time for each piece, not for ever.
//!
//! Event streams may be silent for as long as they like, and are not watched.

use std::{pin::Pin, task::Context, time::Duration};

use tokio::time::{Sleep, sleep};

use crate::failure::{Failure, Stage};

/// How long the next piece of an answer may take.
pub(super) struct Stall {
    limit: Duration,
    /// None while something comes.
    due: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// An answer each piece of which has this long.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, due: None }
    }

    /// The failure, once nothing has come for too long.
    pub(super) fn watch(&mut self, waiting: bool, cx: &mut Context<'_>) -> Option<Failure> {
        if !waiting {
            self.due = None;
            return None;
        }
        let due = self.due.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        if due.as_mut().poll(cx).is_pending() {
            return None;
        }
        let limit = humantime::format_duration(self.limit);
        let what = format!("the upstream sent no more of its answer for {limit}");
        let hint = "--idle-timeout gives it more time";
        tracing::warn!(rule = "stalled", stage = Stage::Response.name(), hint, "{what}");
        Some(Failure::new(Stage::Response, what).hint(hint))
    }
}
