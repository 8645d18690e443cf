//! What a service manager is told (sd_notify(3)): that the sidecar is ready, lives, and leaves.

use std::{os::unix::net::UnixDatagram, time::Duration};

/// Whom to tell.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The manager's socket (`NOTIFY_SOCKET`), `@` before the name of an abstract one.
    pub socket: Option<String>,
    /// How often it wants to hear of us (`WATCHDOG_USEC`).
    pub watchdog: Option<Duration>,
}

impl Settings {
    /// Tells one thing; nobody may be listening.
    pub(super) fn tell(&self, what: &str) {
        let Some(name) = &self.socket else { return };
        let told = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            match name.strip_prefix('@') {
                Some(name) => send_abstract(&socket, name, what),
                None => socket.send_to(what.as_bytes(), name).map(|_| ()),
            }
        });
        if let Err(error) = told {
            tracing::debug!(%error, "the service manager was not told: {what}");
        }
    }

    /// Says that we live, twice as often as it is asked for, for as long as the runtime turns.
    pub(super) async fn live(self) {
        let Some(every) = self.watchdog else { return };
        loop {
            self.tell("WATCHDOG=1");
            tokio::time::sleep(every / 2).await;
        }
    }
}

#[cfg(target_os = "linux")]
fn send_abstract(socket: &UnixDatagram, name: &str, what: &str) -> std::io::Result<()> {
    use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
    let address = SocketAddr::from_abstract_name(name)?;
    socket.send_to_addr(what.as_bytes(), &address).map(|_| ())
}

#[cfg(not(target_os = "linux"))]
fn send_abstract(_: &UnixDatagram, _: &str, _: &str) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
