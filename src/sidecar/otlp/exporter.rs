//! From requests to batches: a bounded queue, and the one task that empties it.
//!
//! A span that finds no room is lost and counted. The task rests while there is nothing to send; when
//! the sidecar leaves it waits no longer for a batch to fill.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{Collector, Finished, sending::Sending, wire::Encoder};
use crate::{
    failure::Failure,
    sidecar::{drain::Drain, route::Route},
};

/// Spans that may wait; a few megabytes at most.
const QUEUE: usize = 2048;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// How long the first of a batch waits for others.
const EVERY: Duration = Duration::from_secs(5);
/// How long the last ones are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes spans. The clones share one queue.
#[derive(Clone)]
pub(in crate::sidecar) struct Exporter {
    queue: mpsc::Sender<Finished>,
    lost: Arc<AtomicU64>,
}

/// The task behind it.
pub(in crate::sidecar) struct Exporting(JoinHandle<()>);

/// Begins to export what goes over `routes`. Must be called within the runtime.
#[expect(clippy::unnecessary_wraps, reason = "a build without the feature has none")]
pub(in crate::sidecar) fn start(
    collector: &Collector,
    routes: &[Route],
    drain: &Drain,
) -> Result<(Exporter, Exporting), Failure> {
    let (queue, spans) = mpsc::channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    let leaving = drain.leaving().shared();
    let batches = Batches { spans, leaving: leaving.clone() };
    let sending = Sending::new(collector, leaving, Arc::clone(&lost));
    let task = tokio::spawn(export(batches, Encoder::new(routes), sending));
    Ok((Exporter { queue, lost }, Exporting(task)))
}

impl Exporter {
    /// Leaves a span behind; it never waits.
    pub(in crate::sidecar) fn tell(&self, span: Finished) {
        if self.queue.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Exporting {
    /// Resolves when the last spans were sent, which is when no request is left to tell of one; or
    /// when that has taken long enough.
    pub(in crate::sidecar) async fn finish(mut self) {
        if timeout(PATIENCE, &mut self.0).await.is_err() {
            self.0.abort();
            tracing::warn!("left, and the collector had not taken the last spans");
        }
    }
}

async fn export(mut batches: Batches, encoder: Encoder, mut sending: Sending) {
    let mut batch = Vec::new();
    while batches.next(&mut batch).await {
        sending.send(encoder.encode(&batch), batch.len()).await;
        // What a busy moment needed is given back.
        batch = Vec::new();
    }
}

/// The queue's end, by batches.
struct Batches {
    spans: mpsc::Receiver<Finished>,
    leaving: Shared<BoxFuture<'static, ()>>,
}

impl Batches {
    /// Fills the next one; false when there is none and none will come.
    async fn next(&mut self, batch: &mut Vec<Finished>) -> bool {
        let Self { spans, leaving } = self;
        if spans.recv_many(batch, BATCH).await == 0 {
            return false;
        }
        let full = async {
            while batch.len() < BATCH && spans.recv_many(batch, BATCH - batch.len()).await > 0 {}
        };
        tokio::select! {
            () = full => {}
            () = sleep(EVERY) => {}
            // A clone, since what was polled to its end must not be polled again.
            () = leaving.clone() => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::tests::finished, *};

    fn queue(leaving: impl Future<Output = ()> + Send + 'static) -> (Exporter, Batches) {
        let (queue, spans) = mpsc::channel(QUEUE);
        let exporter = Exporter { queue, lost: Arc::default() };
        (exporter, Batches { spans, leaving: leaving.boxed().shared() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_full_or_old_enough() {
        let (exporter, mut batches) = queue(std::future::pending());
        for _ in 0..=BATCH {
            exporter.tell(finished());
        }
        let (mut full, mut old) = (Vec::new(), Vec::new());
        let before = tokio::time::Instant::now();
        assert!(batches.next(&mut full).await);
        assert_eq!((full.len(), before.elapsed()), (BATCH, Duration::ZERO));
        assert!(batches.next(&mut old).await);
        assert_eq!(old.len(), 1);
        assert!(before.elapsed() >= EVERY && before.elapsed() < EVERY * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_does_not_wait_and_what_is_left_comes_first() {
        let (exporter, mut batches) = queue(std::future::ready(()));
        exporter.tell(finished());
        let before = tokio::time::Instant::now();
        assert!(batches.next(&mut Vec::new()).await);
        exporter.tell(finished());
        drop(exporter);
        assert!(batches.next(&mut Vec::new()).await);
        assert!(!batches.next(&mut Vec::new()).await);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_counted() {
        let (exporter, _batches) = queue(std::future::pending());
        for _ in 0..QUEUE + 3 {
            exporter.tell(finished());
        }
        assert_eq!(exporter.lost.load(Ordering::Relaxed), 3);
    }
}
