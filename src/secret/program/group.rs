//! A program and the process group it leads, which is gone when this is: killed as a whole, also
//! when its leader has ended by itself and left something running.
//!
//! The group has its leader's id. That id can be given to another process as soon as the leader
//! has been waited for, so its end is looked at without taking it (`WNOWAIT`), the group is
//! killed, and only then is the leader waited for. What makes a session of its own escapes.

use std::{io, process::ExitStatus};

use tokio::process::{Child, Command};

#[cfg(unix)]
pub(super) use unix::Group;

#[cfg(not(unix))]
pub(super) use portable::Group;

#[cfg(unix)]
mod unix {
    use std::time::Duration;

    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
    use tokio::{
        signal::unix::{Signal as Signals, SignalKind, signal},
        time::timeout,
    };

    use super::{Child, Command, ExitStatus, io};

    /// How often the leader is looked at where no signal tells of its end: whoever started us may
    /// have left SIGCHLD blocked.
    const LOOK: Duration = Duration::from_secs(1);

    pub(in super::super) struct Group {
        pub(in super::super) child: Child,
        /// None once it has been waited for: the id may be another's.
        leader: Option<Pid>,
        /// Heard from before the start, so that no end is missed.
        ends: Signals,
    }

    impl Group {
        pub(in super::super) fn start(command: &mut Command) -> io::Result<Self> {
            let ends = signal(SignalKind::child())?;
            let child = command.process_group(0).kill_on_drop(true).spawn()?;
            let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
            Ok(Self { child, leader, ends })
        }

        /// Waits until the leader has ended; it stays to be waited for.
        pub(in super::super) async fn leader_ended(&mut self) -> io::Result<()> {
            let Some(leader) = self.leader else { return Ok(()) };
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            while waitid(WaitId::Pid(leader), look)?.is_none() {
                let _ = timeout(LOOK, self.ends.recv()).await;
            }
            Ok(())
        }

        /// Kills what is left of the group, and waits for its leader.
        pub(in super::super) async fn end(mut self) -> io::Result<ExitStatus> {
            self.kill();
            let status = self.child.wait().await;
            self.leader = None;
            status
        }

        fn kill(&self) {
            if let Some(leader) = self.leader {
                // It fails when nobody is left, which is what is wanted.
                let _ = kill_process_group(leader, Signal::KILL);
            }
        }
    }

    /// The leader is waited for by tokio, in its own time.
    impl Drop for Group {
        fn drop(&mut self) {
            self.kill();
        }
    }
}

#[cfg(not(unix))]
mod portable {
    use super::{Child, Command, ExitStatus, io};

    /// There are no groups: the program alone is killed.
    pub(in super::super) struct Group {
        pub(in super::super) child: Child,
    }

    impl Group {
        pub(in super::super) fn start(command: &mut Command) -> io::Result<Self> {
            Ok(Self { child: command.kill_on_drop(true).spawn()? })
        }

        pub(in super::super) async fn leader_ended(&mut self) -> io::Result<()> {
            self.child.wait().await.map(drop)
        }

        pub(in super::super) async fn end(mut self) -> io::Result<ExitStatus> {
            self.child.wait().await
        }
    }
}
