//! Rotation: when the files change, a new generation is published; when they do not fit, not.
//!
//! Towards the upstream and on the listeners alike. Certificate, key and roots are loaded together and published together, so that no connection
//! ever has half of a rotation. The files are compared by content: events on files miss the way
//! Kubernetes swaps a link above them. This never ends the program and never goes back.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    Settings, Tls,
    files::{Fingerprint, Seen},
    generations::{Generations, Look},
    identity,
    spiffe::Agent,
};
use crate::failure::Failure;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Every so many looks, the files are read even if nothing about them seems new, for file
/// systems with coarse clocks; and what failed is tried again, as the cure may be elsewhere
/// (a passphrase, a permission).
const THOROUGH: u32 = 5;

/// How many may wait for a look: as many as there are connections being made.
const WAITING: usize = 64;

/// The generations, beginning with the first, and the future to spawn that makes the next ones;
/// none if there is no file or token that could change. It ends when the last of [`Generations`] is dropped.
/// `hangup` asks for a reload at once (SIGHUP).
pub fn start(
    settings: Settings,
    mut first: Tls,
    hangup: mpsc::Receiver<()>,
) -> (Generations, Option<impl Future<Output = ()> + Send + 'static>) {
    let agent = first.agent.take();
    // A token is looked at again when someone asks; nothing about it can be watched.
    let on_token = settings.identity.as_ref().is_some_and(identity::Settings::is_on_token);
    let changes = !first.seen.is_empty() || agent.is_some() || on_token;
    let (watch, current) = Watch::begin(ToUpstream { settings, agent }, first);
    let (asking, looks) = mpsc::channel(WAITING);
    let future = changes.then(|| watch.run(hangup, looks));
    (Generations::new(current, asking), future)
}

/// What generations are made from, again and again.
pub(super) trait Source: Send + Sync + 'static {
    type Generation: Send + Sync + 'static;
    /// What its files are called.
    const FILES: &'static str;

    fn load(&self) -> impl Future<Output = Result<Self::Generation, Failure>> + Send;

    /// Resolves when there is something new that is in no file.
    fn pushed(&mut self) -> impl Future<Output = ()> + Send;

    fn fingerprint(generation: &Self::Generation) -> Fingerprint;

    fn seen(generation: &Self::Generation) -> &[Seen];

    /// What is new about it, for people.
    fn told(generation: &Self::Generation) -> String;
}

struct ToUpstream {
    settings: Settings,
    agent: Option<Agent>,
}

impl Source for ToUpstream {
    type Generation = Tls;
    const FILES: &'static str = "the TLS files";

    async fn load(&self) -> Result<Tls, Failure> {
        super::again(&self.settings, self.agent.as_ref()).await
    }

    async fn pushed(&mut self) {
        match &mut self.agent {
            Some(agent) => agent.changed().await,
            None => std::future::pending().await,
        }
    }

    fn fingerprint(tls: &Tls) -> Fingerprint {
        tls.fingerprint
    }

    fn seen(tls: &Tls) -> &[Seen] {
        &tls.seen
    }

    fn told(tls: &Tls) -> String {
        match &tls.identity {
            Some(identity) => format!("the client certificate is {}", held(identity)),
            None => format!("{} trusted", tls.trusted()),
        }
    }
}

/// A certificate of ours, as the log tells of a new one.
pub(super) fn held(identity: &identity::Summary) -> String {
    let identity::Summary { subject, place, not_before, not_after, .. } = identity;
    format!("{subject} in {place}, valid from {not_before} until {not_after}")
}

/// Looks at the files of one source, and publishes what is made of them.
pub(super) struct Watch<S: Source> {
    source: S,
    seen: Vec<Seen>,
    generations: watch::Sender<Arc<S::Generation>>,
    /// What the last load failed with, as it was said.
    failed: Option<String>,
}

impl<S: Source> Watch<S> {
    /// The generations, beginning with the first; the next ones are made by `run`.
    pub(super) fn begin(
        source: S,
        first: S::Generation,
    ) -> (Self, watch::Receiver<Arc<S::Generation>>) {
        let seen = S::seen(&first).to_vec();
        let (generations, current) = watch::channel(Arc::new(first));
        (Self { source, seen, generations, failed: None }, current)
    }

    /// Ends when nobody is left to publish to. Whoever waits for a look sends by `looks`.
    pub(super) async fn run(
        mut self,
        mut hangup: mpsc::Receiver<()>,
        mut looks: mpsc::Receiver<Look>,
    ) {
        let mut ticks = interval_at(Instant::now() + LOOK, LOOK);
        // After a sleep of the machine one look is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waiting = Vec::new();
        let mut signals = true;
        for count in 1_u32.. {
            let (mut asked, mut pushed) = (false, false);
            tokio::select! {
                () = self.generations.closed() => return,
                signal = hangup.recv(), if signals => {
                    signals = signal.is_some();
                    asked = signals;
                }
                () = self.source.pushed() => pushed = true,
                1.. = looks.recv_many(&mut waiting, WAITING) => {}
                _ = ticks.tick() => {}
            }
            let due = count.is_multiple_of(THOROUGH) && waiting.is_empty();
            // What failed is tried again in its own time, not for each call that asks.
            let thorough = due || !waiting.is_empty();
            // All of them, each time: what was seen must be as old for one as for the others.
            let changed =
                self.seen.iter_mut().fold(false, |any, seen| seen.changed(thorough) | any);
            if asked || pushed || changed || (due && self.failed.is_some()) {
                self.load(asked).await;
            }
            for look in waiting.drain(..) {
                // Who asked may have gone.
                let _ = look.send(());
            }
        }
    }

    async fn load(&mut self, asked: bool) {
        let loaded = self.source.load().await;
        tracing::info!(target: "figures", reload = loaded.is_ok());
        match loaded {
            Ok(next) => self.publish(next, asked),
            Err(failure) => self.keep(&failure, asked),
        }
    }

    fn publish(&mut self, next: S::Generation, asked: bool) {
        self.seen = S::seen(&next).to_vec();
        let recovered = self.failed.take().is_some();
        if S::fingerprint(&self.generations.borrow()) == S::fingerprint(&next) {
            // The same content: connections and sessions stay, there is nothing to renew.
            if asked || recovered {
                tracing::info!("{} are as they were loaded before", S::FILES);
            }
            return;
        }
        tracing::info!("reloaded {}: {}", S::FILES, S::told(&next));
        self.generations.send_replace(Arc::new(next));
    }

    /// Keeps what there is, and says why: once for each reason, and to whoever asks.
    fn keep(&mut self, failure: &Failure, asked: bool) {
        let what = failure.to_string();
        if asked || self.failed.as_ref() != Some(&what) {
            let hint = failure.next_step().map(|hint| format!(" ({hint})")).unwrap_or_default();
            tracing::warn!(
                "{} are not used as they are now, the ones before stay: {what}{hint}",
                S::FILES
            );
        }
        self.failed = Some(what);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{cell::RefCell, io, sync::Once};

    use tokio::time::sleep;

    use super::*;
    use crate::tls::{
        load,
        pki::{Ca, Folder, settings},
        roots,
    };

    struct Rotation {
        folder: Folder,
        ca: Ca,
        current: watch::Receiver<Arc<Tls>>,
        generations: Generations,
        hangup: mpsc::Sender<()>,
    }

    impl Rotation {
        async fn start() -> Self {
            let (folder, ca) = (Folder::new(), Ca::new("ca"));
            let identity = Some(folder.identity(&ca.leaf("first")));
            let settings = Settings { identity, ..folder.trusting(&ca) };
            let (hangup, signals) = mpsc::channel(1);
            let (current, future) =
                super::start(settings.clone(), load(&settings).await.unwrap(), signals);
            tokio::spawn(future.unwrap());
            let generations = current;
            let current = generations.watch();
            Self { folder, ca, current, generations, hangup }
        }

        fn subject(&mut self) -> String {
            self.current.borrow_and_update().identity.as_ref().unwrap().subject.clone()
        }

        /// Several looks later.
        async fn later(&self) {
            sleep(LOOK * (2 * THOROUGH + 1)).await;
        }
    }

    thread_local! {
        static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// What this thread logs. The subscriber is the process's: one that comes and goes with a
    /// test races with the interest that other tests' threads register.
    #[derive(Clone, Copy)]
    struct Log;

    impl Log {
        fn listen() -> Self {
            static ONCE: Once = Once::new();
            ONCE.call_once(|| {
                let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time();
                // Another module's tests may have been first with one that hears as much.
                let _ = tracing::subscriber::set_global_default(
                    subscriber.with_writer(|| Log).finish(),
                );
            });
            Self
        }

        fn lines(self) -> Vec<String> {
            let bytes = LOGGED.take();
            let text = String::from_utf8(bytes).unwrap();
            // What is said to people; who counts is told as well.
            let said = text.lines().filter(|line| !line.contains(" figures: "));
            said.map(str::to_owned).collect()
        }
    }

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            LOGGED.with_borrow_mut(|logged| logged.extend(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotation_is_published_with_fresh_configuration() {
        let mut rotation = Rotation::start().await;
        let before = Arc::clone(&rotation.current.borrow().config);
        rotation.folder.identity(&rotation.ca.leaf("second"));
        rotation.current.changed().await.unwrap();
        assert_eq!(rotation.subject(), "CN=second");
        assert!(!Arc::ptr_eq(&before, &rotation.current.borrow().config));
    }

    #[tokio::test(start_paused = true)]
    async fn new_roots_are_a_rotation_too() {
        let mut rotation = Rotation::start().await;
        rotation.folder.write("ca.pem", Ca::new("another").pem);
        rotation.current.changed().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_rotation_waits_for_the_other_half() {
        let mut rotation = Rotation::start().await;
        let second = rotation.ca.leaf("second");
        rotation.folder.write("client.pem", &second.pem);
        rotation.later().await;
        assert!(!rotation.current.has_changed().unwrap());
        rotation.folder.write("client.key", second.key.serialize_pem());
        rotation.current.changed().await.unwrap();
        assert_eq!(rotation.subject(), "CN=second");
    }

    #[tokio::test(start_paused = true)]
    async fn broken_files_keep_the_old_and_are_told_once_for_each_reason() {
        let mut rotation = Rotation::start().await;
        let log = Log::listen();

        rotation.folder.write("client.pem", "half a fi");
        rotation.later().await;
        let lines = log.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("not used as they are now, the ones before stay"), "{lines:?}");

        std::fs::remove_file(rotation.folder.path("client.pem")).unwrap();
        rotation.later().await;
        let lines = log.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("there is no such file"), "{lines:?}");
        assert!(!rotation.current.has_changed().unwrap());
        assert_eq!(rotation.subject(), "CN=first");

        rotation.folder.identity(&rotation.ca.leaf("second"));
        rotation.current.changed().await.unwrap();
        let lines = log.lines();
        assert!(lines.iter().any(|line| line.contains("reloaded") && line.contains("CN=second")));
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_content_is_no_rotation() {
        let rotation = Rotation::start().await;
        let path = rotation.folder.path("client.pem");
        let content = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        rotation.folder.write("client.pem", content);
        rotation.hangup.send(()).await.unwrap();
        rotation.later().await;
        assert!(!rotation.current.has_changed().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hangup_reloads_at_once_and_its_end_changes_nothing() {
        let mut rotation = Rotation::start().await;
        let begin = Instant::now();
        rotation.folder.identity(&rotation.ca.leaf("second"));
        rotation.hangup.send(()).await.unwrap();
        rotation.current.changed().await.unwrap();
        assert!(begin.elapsed() < LOOK);
        assert_eq!(rotation.subject(), "CN=second");

        rotation.hangup = mpsc::channel(1).0;
        rotation.folder.identity(&rotation.ca.leaf("third"));
        rotation.current.changed().await.unwrap();
        assert_eq!(rotation.subject(), "CN=third");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_refused_has_the_files_looked_at_now_and_once_for_all() {
        let rotation = Rotation::start().await;
        let refused = rotation.generations.current();
        let begin = Instant::now();
        assert!(!rotation.generations.newer_than(&refused).await, "they are the same files");
        rotation.folder.identity(&rotation.ca.leaf("second"));
        let all = (0..100).map(|_| rotation.generations.newer_than(&refused));
        assert!(futures_util::future::join_all(all).await.into_iter().all(|newer| newer));
        assert!(begin.elapsed() < LOOK);
        let second = rotation.generations.current();
        assert!(rotation.generations.newer_than(&refused).await, "without another look");
        assert!(Arc::ptr_eq(&second, &rotation.generations.current()));
    }

    #[tokio::test(start_paused = true)]
    async fn without_files_there_is_nothing_to_watch_and_without_readers_no_one_to_tell() {
        let without = settings(roots::Settings::default());
        let first = load(&without).await.unwrap();
        let (current, future) = super::start(without, first, mpsc::channel(1).1);
        assert!(future.is_none());
        assert!(current.current().identity.is_none());

        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let with = folder.trusting(&ca);
        let (current, future) =
            super::start(with.clone(), load(&with).await.unwrap(), mpsc::channel(1).1);
        drop(current);
        future.unwrap().await;
    }
}
