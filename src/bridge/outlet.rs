//! Where lines for the client go: standard output, or whoever stands in for it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::stdout::Stdout;

/// With more bytes than this on their way to clients, streams wait before they bring more.
const FULL: usize = 1024 * 1024;

/// The way to the client.
#[derive(Clone)]
pub(super) enum Outlet {
    Stdout(Stdout),
    /// A front end with many of them.
    Front(Front),
}

/// A front end that takes lines as they are delivered.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) deliver: Arc<dyn Fn(Bytes) + Send + Sync>,
    pub(super) backlog: Backlog,
}

impl Outlet {
    /// Hands a line over.
    pub(super) fn push(&self, line: Bytes) {
        match self {
            Self::Stdout(stdout) => stdout.push(line),
            Self::Front(front) => (front.deliver)(line),
        }
    }

    /// Waits until there is room for more.
    pub(super) async fn room(&self) {
        match self {
            Self::Stdout(stdout) => stdout.room().await,
            Self::Front(front) => front.backlog.room().await,
        }
    }

    /// Gives a client on stdio time to read what was said just before.
    pub(super) async fn let_read(&self, since: Instant) {
        if let Self::Stdout(stdout) = self {
            stdout.let_read(since).await;
        }
    }
}

/// What lies ready and was not taken yet: whoever brings more waits, so that a client which does not
/// read holds its own upstream back.
#[derive(Clone, Default)]
pub struct Backlog(Arc<Held>);

#[derive(Default)]
struct Held {
    bytes: AtomicUsize,
    room: Notify,
}

impl Backlog {
    /// So many bytes lie ready.
    pub fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many were taken, or will never be.
    pub fn take(&self, bytes: usize) {
        let before = self.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before > FULL && before - bytes <= FULL {
            self.0.room.notify_waiters();
        }
    }

    async fn room(&self) {
        loop {
            let notified = self.0.room.notified();
            if self.0.bytes.load(Ordering::Relaxed) <= FULL {
                return;
            }
            notified.await;
        }
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backlog").field(&self.0.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn who_brings_more_waits_until_some_was_taken() {
        let backlog = Backlog::default();
        backlog.add(FULL + 1);
        let mut waiting = Box::pin(backlog.room());
        assert!(waiting.as_mut().now_or_never().is_none());
        backlog.take(1);
        assert!(waiting.now_or_never().is_some());
    }
}
