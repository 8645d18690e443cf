//! HTTP/2: a connection on which nothing is asked any more.
//!
//! Between two requests of HTTP/1.1 hyper waits for no longer than for a head. Over HTTP/2 it waits for
//! ever, while pings are answered; and a head that has begun and does not end is no request yet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    open: AtomicUsize,
    begun: AtomicUsize,
}

/// One stream, until its answer is over.
#[derive(Debug)]
pub(super) struct Open(Arc<Quiet>);

impl Quiet {
    pub(super) fn begin(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Resolves when there were streams, and there was none for all of `time`, which may be twice as
    /// long. Over HTTP/1.1 never.
    pub(super) async fn lasts(&self, time: Duration) {
        loop {
            let before = self.begun.load(Ordering::Relaxed);
            let none = self.open.load(Ordering::Relaxed) == 0;
            sleep(time).await;
            if none && before > 0 && self.begun.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const TIME: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_is_quiet_when_streams_were_and_none_is() {
        let quiet = Arc::new(Quiet::default());
        let lasts = || timeout(10 * TIME, quiet.lasts(TIME));
        assert!(lasts().await.is_err(), "no stream yet, or HTTP/1.1");
        let open = quiet.begin();
        assert!(lasts().await.is_err());
        drop(open);
        assert!(lasts().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_in_between_begins_it_anew() {
        let quiet = Arc::new(Quiet::default());
        drop(quiet.begin());
        let begun = tokio::time::Instant::now();
        let streams = async {
            for _ in 0..4 {
                sleep(TIME / 2).await;
                drop(quiet.begin());
            }
        };
        tokio::join!(streams, quiet.lasts(TIME));
        assert!(begun.elapsed() >= 3 * TIME);
    }
}
