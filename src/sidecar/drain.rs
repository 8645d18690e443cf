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
    /// Whether one connection is to end before that.
    dismissed: Option<watch::Receiver<bool>>,
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
    (Drain { leaving, dismissed: None, _here: here }, Leave { leaving: says, gone })
}

impl Drain {
    /// The same for one connection, and who may end it alone.
    pub(super) fn of_connection(&self) -> (Self, watch::Sender<bool>) {
        let (says, dismissed) = watch::channel(false);
        (Self { dismissed: Some(dismissed), ..self.clone() }, says)
    }

    pub(super) fn is_leaving(&self) -> bool {
        // Without a sender nobody is left to say it.
        let said = |it: &watch::Receiver<bool>| *it.borrow() || it.has_changed().is_err();
        said(&self.leaving) || self.dismissed.as_ref().is_some_and(said)
    }

    /// Resolves when the sidecar leaves, or the connection is to.
    pub(super) fn leaving(&self) -> BoxFuture<'static, ()> {
        let (mut leaving, dismissed) = (self.leaving.clone(), self.dismissed.clone());
        async move {
            let leaving = leaving.wait_for(|leaving| *leaving);
            match dismissed {
                None => drop(leaving.await),
                Some(mut dismissed) => tokio::select! {
                    _ = leaving => {}
                    _ = dismissed.wait_for(|dismissed| *dismissed) => {}
                },
            }
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

    #[tokio::test]
    async fn one_connection_may_be_told_alone() {
        let (drain, leave) = new();
        let (mine, says) = drain.of_connection();
        let (other, _says) = drain.of_connection();
        says.send_replace(true);
        mine.leaving().await;
        assert!(mine.is_leaving() && !other.is_leaving() && !drain.is_leaving());
        assert!(other.leaving().now_or_never().is_none());
        leave.say();
        other.leaving().await;
    }
}
