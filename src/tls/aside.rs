//! Work that may take long and cannot be interrupted: not on the thread that everything else is on.
//!
//! A hostile PKCS#12 file can ask for hours of key derivation, and a network HSM can be out of
//! reach. Such work has a thread of its own and a limit, after which nobody waits for it. Only one
//! piece is under way at a time, so that what never ends keeps one thread, however often the files
//! are looked at again.

use std::time::Duration;

use tokio::{sync::Semaphore, task, time};

/// Far more than an honest file or token takes, even on a slow machine.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

static TURN: Semaphore = Semaphore::const_new(1);

/// What `work` gives; `None` when that takes too long, or panics.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    run_within(&TURN, LIMIT, work).await
}

async fn run_within<T: Send + 'static>(
    turns: &'static Semaphore,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let done = async {
        let turn = turns.acquire().await.ok()?;
        task::spawn_blocking(move || {
            // Given back when the work ends, not when the waiting does.
            let _turn = turn;
            work()
        })
        .await
        .ok()
    };
    time::timeout(limit, done).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_that_does_not_end_is_given_up_and_has_no_company() {
        static ALONE: Semaphore = Semaphore::const_new(1);
        let short = Duration::from_millis(50);
        let (release, released) = mpsc::channel::<()>();
        assert!(run_within(&ALONE, short, move || released.recv().is_ok()).await.is_none());
        assert!(run_within(&ALONE, short, || ()).await.is_none(), "a second thread");
        release.send(()).unwrap();
        assert_eq!(run_within(&ALONE, LIMIT, || 1).await, Some(1));
    }
}
