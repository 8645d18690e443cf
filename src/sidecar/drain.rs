//! Leaving without losing anything: who is told, and who is waited for.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::{mpsc, watch};

/// How long a connection without a request is kept for the one that may be on its way to it: to
/// close it would lose that one.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// Tells when the sidecar leaves; what holds one is waited for.
#[derive(Clone)]
pub(super) struct Drain {
    leaving: watch::Receiver<bool>,
    _here: mpsc::Sender<()>,
}

/// The other end: says so, and waits.
pub(super) struct Leave {
    leaving: watch::Sender<bool>,
    gone: mpsc::Receiver<()>,
}

pub(super) fn new() -> (Drain, Leave) {
    let (says, leaving) = watch::channel(false);
    let (here, gone) = mpsc::channel(1);
    (Drain { leaving, _here: here }, Leave { leaving: says, gone })
}

impl Drain {
    pub(super) fn is_leaving(&self) -> bool {
        *self.leaving.borrow()
    }

    /// Resolves when the sidecar leaves.
    pub(super) fn leaving(&self) -> BoxFuture<'static, ()> {
        let mut leaving = self.leaving.clone();
        async move {
            // Without a sender nobody is left to say it.
            let _ = leaving.wait_for(|leaving| *leaving).await;
        }
        .boxed()
    }
}

impl Leave {
    /// Tells all.
    pub(super) fn say(&self) {
        self.leaving.send_replace(true);
    }

    /// Resolves when all are gone who were told.
    pub(super) async fn finished(&mut self) {
        // Nothing is ever sent: it ends with the last sender.
        while self.gone.recv().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_are_told_and_waited_for() {
        let (drain, mut leave) = new();
        let other = drain.clone();
        let waiting = tokio::spawn(async move {
            other.leaving().await;
            assert!(other.is_leaving());
        });
        assert!(!drain.is_leaving());
        leave.say();
        drop(drain);
        leave.finished().await;
        assert!(waiting.await.is_ok());
    }
}
