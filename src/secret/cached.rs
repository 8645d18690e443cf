//! A value that has to be fetched, and goes stale: tokens, and what programs print.
//!
//! One fetch serves all who wait for it. A value with a lifetime is renewed in the background
//! once 70 % of it are over, while callers go on with the one there is; a renewal that fails
//! leaves that one in use until it expires, by the clock that sleeps with the machine or by the other. Every value has a generation, so that twenty callers
//! who were refused with the same one cause one fetch. What is fetched, and how, is not known
//! here; the clock is tokio's.

use std::{
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use tokio::{sync::watch, task::AbortHandle, time::Instant};

/// How much of a lifetime has to be over before a renewal, in percent.
const RENEW_AT_PERCENT: u32 = 70;

/// How long to wait after a renewal in the background has failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// For how long "fetched again, and it is still the same" answers those who were refused with
/// it: they were on their way together.
const SETTLED_FOR: Duration = Duration::from_secs(1);

/// The fetch ended without a result: it panicked, or the program is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fetching the value was interrupted")]
pub struct Interrupted;

/// What a fetch brought.
#[derive(Debug)]
pub struct Fetched<T> {
    /// The value.
    pub value: T,
    /// How long it is good for from now on; without it, until it is refused.
    pub lifetime: Option<Duration>,
}

/// The value, shared, and its generation: which one it is. The first is 1.
type Current<T, E> = Result<(Arc<T>, u64), E>;
type Fetch<T, E> = Box<dyn Fn() -> BoxFuture<'static, Result<Fetched<T>, E>> + Send + Sync>;

/// A value kept current by fetching it. It belongs in one place, shared by all who use it.
///
/// A fetch runs as a task of its own: a caller that goes away does not take it along (a refresh
/// token that rotates would be lost with it); dropping the `Cached` does.
pub struct Cached<T, E>(Arc<Inner<T, E>>);

struct Inner<T, E> {
    name: String,
    fetch: Fetch<T, E>,
    state: Mutex<State<T, E>>,
}

struct State<T, E> {
    kept: Option<Kept<T>>,
    flight: Option<Flight<T, E>>,
    /// Whether the last fetch failed: said once, not at every try.
    failing: bool,
}

struct Kept<T> {
    value: Arc<T>,
    generation: u64,
    renew: Option<Instant>,
    expires: Option<Instant>,
    /// The same moment on the clock that goes on while the machine sleeps.
    expires_by_wall: Option<SystemTime>,
    /// When it was last fetched again for someone who was refused, and found to be the same.
    settled: Option<Instant>,
}

struct Flight<T, E> {
    outcome: watch::Receiver<Option<Current<T, E>>>,
    task: AbortHandle,
    /// Whether it began after a refusal, so that what it brings is newer than what was refused.
    asked: bool,
}

impl<T, E> Cached<T, E>
where
    T: PartialEq + Send + Sync + 'static,
    E: From<Interrupted> + Display + Clone + Send + Sync + 'static,
{
    /// Nothing is fetched before the first [`current`](Self::current).
    ///
    /// `name` is for the log; `fetch` has to end by itself, by a deadline of its own.
    pub fn new<F>(name: impl Into<String>, fetch: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Fetched<T>, E>> + Send + 'static,
    {
        let state = State { kept: None, flight: None, failing: false };
        Self(Arc::new(Inner {
            name: name.into(),
            fetch: Box::new(move || Box::pin(fetch())),
            state: Mutex::new(state),
        }))
    }

    /// The value and its generation; waits only when there is none that is still good.
    ///
    /// # Errors
    ///
    /// What the fetch said, when there was nothing to fall back on.
    pub async fn current(&self) -> Result<(Arc<T>, u64), E> {
        let now = Instant::now();
        let outcome = {
            let mut state = self.0.lock();
            if let Some(kept) = state.kept.as_ref().filter(|kept| kept.is_good(now)) {
                let current = (Arc::clone(&kept.value), kept.generation);
                if kept.renew.is_some_and(|renew| renew <= now) {
                    self.depart(&mut state, false);
                }
                return Ok(current);
            }
            self.depart(&mut state, false)
        };
        arrive(outcome).await
    }

    /// The value of `generation` was refused: fetches again, unless someone else has already.
    /// Whether a different value is there now.
    ///
    /// # Errors
    ///
    /// What the fetch said; the value there was stays.
    pub async fn refresh(&self, generation: u64) -> Result<bool, E> {
        loop {
            let (outcome, asked) = {
                let mut state = self.0.lock();
                match &state.kept {
                    Some(kept) if kept.generation != generation => return Ok(true),
                    Some(kept) if kept.settled.is_some_and(|at| at.elapsed() < SETTLED_FOR) => {
                        return Ok(false);
                    }
                    _ => {
                        let outcome = self.depart(&mut state, true);
                        (outcome, state.flight.as_ref().is_none_or(|flight| flight.asked))
                    }
                }
            };
            match arrive(outcome).await {
                Ok((_, current)) if current != generation => return Ok(true),
                // A renewal that was under way already may have read what was there before.
                _ if !asked => {}
                Ok(_) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Joins the fetch that is under way, or starts one.
    fn depart(
        &self,
        state: &mut State<T, E>,
        asked: bool,
    ) -> watch::Receiver<Option<Current<T, E>>> {
        // A flight whose sender is gone has panicked; one that has landed is no longer here.
        if let Some(flight) = &state.flight
            && flight.outcome.has_changed().is_ok()
        {
            return flight.outcome.clone();
        }
        let (sender, outcome) = watch::channel(None);
        let fetching = (self.0.fetch)();
        let home: Weak<Inner<T, E>> = Arc::downgrade(&self.0);
        let task = tokio::spawn(async move {
            let fetched = fetching.await;
            if let Some(home) = home.upgrade() {
                sender.send_replace(Some(home.land(fetched)));
            }
        });
        state.flight = Some(Flight { outcome: outcome.clone(), task: task.abort_handle(), asked });
        outcome
    }
}

async fn arrive<T, E: From<Interrupted> + Clone>(
    mut outcome: watch::Receiver<Option<Current<T, E>>>,
) -> Current<T, E> {
    let landed = outcome.wait_for(Option::is_some).await;
    landed.ok().and_then(|seen| seen.clone()).unwrap_or_else(|| Err(Interrupted.into()))
}

impl<T: PartialEq, E: Display> Inner<T, E> {
    /// Keeps what a fetch brought, or what there was when it brought nothing.
    fn land(&self, fetched: Result<Fetched<T>, E>) -> Current<T, E> {
        tracing::info!(target: "figures", refresh = fetched.is_ok());
        let now = Instant::now();
        let mut state = self.lock();
        let asked = state.flight.take().is_some_and(|flight| flight.asked);
        match fetched {
            Ok(fetched) => {
                if std::mem::take(&mut state.failing) {
                    tracing::info!("{}: renewed again", self.name);
                }
                let kept = Kept::follow(state.kept.take(), fetched, (now, asked));
                let current = (Arc::clone(&kept.value), kept.generation);
                state.kept = Some(kept);
                Ok(current)
            }
            Err(error) => {
                let first = !std::mem::replace(&mut state.failing, true);
                if let Some(kept) = state.kept.as_mut().filter(|kept| kept.is_good(now)) {
                    kept.renew = kept.renew.map(|_| now + RETRY_AFTER);
                    if first {
                        tracing::warn!("{error}; the last value stays in use");
                    }
                }
                Err(error)
            }
        }
    }
}

impl<T, E> Inner<T, E> {
    /// Nothing that holds the lock can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, E> Drop for Inner<T, E> {
    fn drop(&mut self) {
        if let Some(flight) = self.lock().flight.take() {
            flight.task.abort();
        }
    }
}

impl<T> Kept<T> {
    fn is_good(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
            && self.expires_by_wall.is_none_or(|expires| SystemTime::now() < expires)
    }
}

impl<T: PartialEq> Kept<T> {
    /// What to keep after `fetched`: the same value again keeps its generation.
    fn follow(last: Option<Self>, fetched: Fetched<T>, (now, asked): (Instant, bool)) -> Self {
        let lifetime = fetched.lifetime;
        let renew = lifetime.and_then(|all| now.checked_add(all / 100 * RENEW_AT_PERCENT));
        let expires = lifetime.and_then(|all| now.checked_add(all));
        let expires_by_wall = lifetime.and_then(|all| SystemTime::now().checked_add(all));
        match last {
            Some(last) if *last.value == fetched.value => {
                let settled = asked.then_some(now);
                Self { renew, expires, expires_by_wall, settled, ..last }
            }
            last => Self {
                value: Arc::new(fetched.value),
                generation: last.map_or(1, |last| last.generation + 1),
                renew,
                expires,
                expires_by_wall,
                settled: None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use futures_util::future::join_all;
    use tokio::time::{advance, sleep};

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
    enum Broken {
        #[error("down")]
        Down,
        #[error("{0}")]
        Interrupted(#[from] Interrupted),
    }

    /// What the next fetches bring, and how many there were.
    #[derive(Default)]
    struct Source {
        value: AtomicU64,
        fetches: AtomicU64,
    }

    const DOWN: u64 = 1_000;
    const PANIC: u64 = 1_001;

    impl Source {
        fn cached(self: &Arc<Self>, lifetime: Option<Duration>) -> Cached<u64, Broken> {
            let source = Arc::clone(self);
            Cached::new("token", move || {
                let source = Arc::clone(&source);
                async move {
                    source.fetches.fetch_add(1, SeqCst);
                    sleep(Duration::from_millis(100)).await;
                    match source.value.load(SeqCst) {
                        DOWN => Err(Broken::Down),
                        PANIC => panic!("on purpose"),
                        value => Ok(Fetched { value, lifetime }),
                    }
                }
            })
        }

        fn fetches(&self) -> u64 {
            self.fetches.load(SeqCst)
        }
    }

    async fn value(cached: &Cached<u64, Broken>) -> (u64, u64) {
        let (value, generation) = cached.current().await.unwrap();
        (*value, generation)
    }

    #[tokio::test(start_paused = true)]
    async fn one_fetch_serves_all_who_wait() {
        let source = Arc::new(Source::default());
        let cached = source.cached(None);
        assert_eq!(source.fetches(), 0, "nothing is fetched before it is needed");
        assert_eq!(join_all((0..20).map(|_| value(&cached))).await, [(0, 1); 20]);
        assert_eq!(source.fetches(), 1);
        source.value.store(DOWN, SeqCst);
        let failing = source.cached(None);
        let all = join_all((0..20).map(|_| failing.current())).await;
        assert!(all.into_iter().all(|one| one == Err(Broken::Down)));
        assert_eq!(source.fetches(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn renewed_early_while_callers_go_on_with_what_there_is() {
        let source = Arc::new(Source::default());
        let cached = source.cached(Some(Duration::from_secs(100)));
        assert_eq!(value(&cached).await, (0, 1));
        source.value.store(7, SeqCst);
        advance(Duration::from_secs(69)).await;
        assert_eq!(value(&cached).await, (0, 1));
        assert_eq!(source.fetches(), 1);
        advance(Duration::from_secs(1)).await;
        let asked = Instant::now();
        assert_eq!(join_all((0..20).map(|_| value(&cached))).await, [(0, 1); 20]);
        assert_eq!(asked, Instant::now(), "nobody waited");
        sleep(Duration::from_millis(101)).await;
        assert_eq!(value(&cached).await, (7, 2));
        assert_eq!(source.fetches(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_renewal_keeps_the_last_good_value_until_it_expires() {
        let source = Arc::new(Source::default());
        let cached = source.cached(Some(Duration::from_secs(100)));
        assert_eq!(value(&cached).await, (0, 1));
        source.value.store(DOWN, SeqCst);
        for second in 1..100 {
            advance(Duration::from_secs(1)).await;
            assert_eq!(value(&cached).await, (0, 1), "after {second} s");
        }
        assert!((2..=8).contains(&source.fetches()), "{} fetches", source.fetches());
        advance(Duration::from_secs(2)).await;
        assert_eq!(cached.current().await, Err(Broken::Down));
        source.value.store(7, SeqCst);
        assert_eq!(value(&cached).await, (7, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_who_were_refused_cause_one_fetch() {
        let source = Arc::new(Source::default());
        let cached = source.cached(None);
        assert_eq!(value(&cached).await, (0, 1));
        source.value.store(7, SeqCst);
        let all = join_all((0..20).map(|_| cached.refresh(1))).await;
        assert!(all.into_iter().all(|one| one == Ok(true)));
        assert_eq!(cached.refresh(1).await, Ok(true), "late, and served by the same fetch");
        assert_eq!(source.fetches(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_began_before_the_refusal_is_followed_by_another() {
        let source = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&source);
        let cached: Cached<u64, Broken> = Cached::new("token", move || {
            // Read at once, and brought later.
            let value = shared.load(SeqCst);
            async move {
                sleep(Duration::from_millis(100)).await;
                Ok(Fetched { value, lifetime: Some(Duration::from_secs(100)) })
            }
        });
        assert_eq!(value(&cached).await, (0, 1));
        advance(Duration::from_secs(70)).await;
        assert_eq!(value(&cached).await, (0, 1), "which begins the renewal");
        source.store(7, SeqCst);
        assert_eq!(cached.refresh(1).await, Ok(true));
        assert_eq!(value(&cached).await, (7, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_value_again_is_no_reason_to_try_again() {
        let source = Arc::new(Source::default());
        let cached = source.cached(None);
        assert_eq!(value(&cached).await, (0, 1));
        let all = join_all((0..20).map(|_| cached.refresh(1))).await;
        assert!(all.into_iter().all(|one| one == Ok(false)));
        assert_eq!(cached.refresh(1).await, Ok(false));
        assert_eq!(source.fetches(), 2);
        advance(SETTLED_FOR).await;
        source.value.store(7, SeqCst);
        assert_eq!(cached.refresh(1).await, Ok(true));
        assert_eq!(value(&cached).await, (7, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_refresh_leaves_the_value_there() {
        let source = Arc::new(Source::default());
        let cached = source.cached(None);
        assert_eq!(value(&cached).await, (0, 1));
        source.value.store(DOWN, SeqCst);
        assert_eq!(cached.refresh(1).await, Err(Broken::Down));
        assert_eq!(value(&cached).await, (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_does_not_take_the_fetch_along() {
        let source = Arc::new(Source::default());
        let cached = source.cached(None);
        let gone = tokio::time::timeout(Duration::from_millis(50), cached.current()).await;
        assert!(gone.is_err());
        assert_eq!(value(&cached).await, (0, 1));
        assert_eq!(source.fetches(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_it_ends_the_fetch() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let cached: Cached<u64, Broken> = Cached::new("token", move || {
            let held = Arc::clone(&held);
            async move {
                std::future::pending::<()>().await;
                drop(held);
                Err(Broken::Down)
            }
        });
        let _ = tokio::time::timeout(Duration::from_millis(50), cached.current()).await;
        drop(cached);
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_an_answer_and_not_the_last_one() {
        let source = Arc::new(Source::default());
        source.value.store(PANIC, SeqCst);
        let cached = source.cached(None);
        assert_eq!(cached.current().await, Err(Broken::Interrupted(Interrupted)));
        source.value.store(7, SeqCst);
        assert_eq!(value(&cached).await, (7, 1));
    }
}
