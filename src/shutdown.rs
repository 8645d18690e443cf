//! What ends or wakes the process from outside: signals, and the death of its parent.

use std::{future::Future, io};

use tokio::sync::mpsc;

/// Why the process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM or SIGINT.
    Signal,
    /// The process that started us is gone.
    Orphaned,
}

#[cfg(unix)]
pub use unix::{Parent, hangups, requested, signalled};

#[cfg(unix)]
mod unix {
    use std::{os::fd::OwnedFd, time::Duration};

    use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
    use tokio::{
        io::{Interest, unix::AsyncFd},
        signal::unix::{SignalKind, signal},
    };

    use super::{Cause, Future, io, mpsc};

    /// How often the parent is looked at where its end can't be waited for.
    const LOOK: Duration = Duration::from_secs(1);

    /// The process that started us, noted before anything else is done, so that its death in
    /// the meantime is seen too.
    #[derive(Clone, Copy, Debug)]
    pub struct Parent(Option<Pid>);

    impl Parent {
        /// The parent as it is now.
        #[must_use]
        pub fn now() -> Self {
            Self(getppid())
        }

        /// Waits until the parent is gone; for ever if it can't be seen (another namespace).
        async fn gone(self) {
            let Some(parent) = self.0 else { return std::future::pending().await };
            let watched = watch(parent);
            if getppid() == self.0
                && let Ok(fd) = watched
                && fd.readable().await.is_ok()
            {
                return;
            }
            while getppid() == self.0 {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    #[expect(
        deprecated,
        reason = "its unsafe successor asks that the descriptor stay open while it is watched; \
                  it is owned"
    )]
    fn watch(process: Pid) -> io::Result<AsyncFd<OwnedFd>> {
        let fd = pidfd_open(process, PidfdFlags::NONBLOCK)?;
        AsyncFd::with_interest(fd, Interest::READABLE)
    }

    /// A future that resolves when the process is to end.
    ///
    /// # Errors
    /// When the signal handlers can't be set.
    pub fn requested(parent: Parent) -> io::Result<impl Future<Output = Cause>> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => Cause::Signal,
                _ = interrupt.recv() => Cause::Signal,
                () = parent.gone() => Cause::Orphaned,
            }
        })
    }

    /// The same for a process that outlives who started it: signals alone, and only those that
    /// come from now on.
    ///
    /// # Errors
    /// When the signal handlers can't be set.
    pub fn signalled() -> io::Result<impl Future<Output = Cause>> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => Cause::Signal,
                _ = interrupt.recv() => Cause::Signal,
            }
        })
    }

    /// One message a SIGHUP.
    ///
    /// # Errors
    /// When the signal handler can't be set.
    pub fn hangups() -> io::Result<mpsc::Receiver<()>> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

#[cfg(not(unix))]
pub use portable::{Parent, hangups, requested, signalled};

#[cfg(not(unix))]
mod portable {
    use super::{Cause, Future, io, mpsc};

    /// The process that started us; its end shows as the end of input here.
    #[derive(Clone, Copy, Debug)]
    pub struct Parent;

    impl Parent {
        /// The parent as it is now.
        #[must_use]
        pub fn now() -> Self {
            Self
        }
    }

    /// A future that resolves when the process is to end.
    ///
    /// # Errors
    /// Never.
    pub fn requested(_: Parent) -> io::Result<impl Future<Output = Cause>> {
        Ok(async {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            Cause::Signal
        })
    }

    /// The same for a process that outlives who started it.
    ///
    /// # Errors
    /// Never.
    pub fn signalled() -> io::Result<impl Future<Output = Cause>> {
        requested(Parent)
    }

    /// There is no such signal here.
    ///
    /// # Errors
    /// Never.
    pub fn hangups() -> io::Result<mpsc::Receiver<()>> {
        Ok(mpsc::channel(1).1)
    }
}
