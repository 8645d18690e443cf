//! What the service manager is told (sd_notify(3)): ready, stopping, still alive.
//!
//! A datagram of a few words to the socket that it named. It is told, not asked: a manager that is
//! not there ends nothing, since the variable may have come from one that is none of ours.

use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    io,
    os::unix::{ffi::OsStrExt as _, net::UnixDatagram},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

/// A service manager that wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its socket: a path, or a name that begins with `@` (`NOTIFY_SOCKET`).
    pub socket: OsString,
    /// How long it waits for a sign of life (`WATCHDOG_USEC`).
    pub watchdog: Option<Duration>,
}

/// The way to a service manager.
pub struct Manager {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Finds the way; says so where there is none.
    #[must_use]
    pub fn find(settings: &Settings) -> Option<Self> {
        match connected(&settings.socket) {
            Ok(socket) => Some(Self { socket, watchdog: settings.watchdog }),
            Err(error) => {
                let name = settings.socket.display();
                tracing::warn!("NOTIFY_SOCKET: nobody is told anything at {name}: {error}");
                None
            }
        }
    }

    /// Everything listens.
    pub(super) fn ready(&self) {
        self.say("READY=1");
    }

    /// What is under way ends.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Gives signs of life, twice as often as they are waited for; from the one thread, so that they
    /// are those of the requests as well.
    pub(super) async fn live(&self) -> Infallible {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut ticks = interval(watchdog / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.say("WATCHDOG=1");
        }
    }

    fn say(&self, what: &str) {
        if let Err(error) = self.socket.send(what.as_bytes()) {
            tracing::debug!("the service manager was not told {what}: {error}");
        }
    }
}

fn connected(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => abstractly(&socket, name)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}

/// A name that stands in no folder.
#[cfg(target_os = "linux")]
fn abstractly(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};

    socket.connect_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn abstractly(_: &UnixDatagram, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[tokio::test]
    async fn a_manager_hears_at_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let watchdog = Some(Duration::from_millis(20));
        let ours = Manager::find(&Settings { socket: path.into(), watchdog }).unwrap();
        ours.ready();
        ours.stopping();
        assert_eq!((heard(&manager), heard(&manager)), ("READY=1".into(), "STOPPING=1".into()));
        let lived = tokio::time::timeout(Duration::from_millis(50), ours.live()).await;
        assert!(lived.is_err());
        assert_eq!((heard(&manager), heard(&manager)), ("WATCHDOG=1".into(), "WATCHDOG=1".into()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_manager_hears_by_its_name() {
        use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};

        let name = format!("countersign-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let socket = format!("@{name}").into();
        Manager::find(&Settings { socket, watchdog: None }).unwrap().ready();
        assert_eq!(heard(&manager), "READY=1");
    }

    #[test]
    fn a_manager_that_is_not_there_ends_nothing() {
        let settings = Settings { socket: "/nowhere/notify".into(), watchdog: None };
        assert!(Manager::find(&settings).is_none());
    }
}
