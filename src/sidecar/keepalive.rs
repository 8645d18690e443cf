//! A caller that vanished without a word, with its machine or its network: the kernel asks after it.
//!
//! Nothing else would notice on a stream that is silent for hours, and it would hold its place for
//! ever. What was sent and never acknowledged is given up by the kernel itself, later.

use std::{os::fd::AsFd, time::Duration};

use rustix::{io, net::sockopt};

/// Silence before it is asked for the first time.
const AFTER: Duration = Duration::from_secs(60);
/// Between that and the next times.
const EVERY: Duration = Duration::from_secs(15);
/// Without an answer to so many, it is gone.
const PROBES: u32 = 4;

/// Has the other end of a TCP connection asked after.
pub(super) fn keep(stream: impl AsFd) -> io::Result<()> {
    sockopt::set_tcp_keepidle(&stream, AFTER)?;
    sockopt::set_tcp_keepintvl(&stream, EVERY)?;
    sockopt::set_tcp_keepcnt(&stream, PROBES)?;
    sockopt::set_socket_keepalive(&stream, true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::net::TcpStream;

    use super::*;
    use crate::sidecar::listener::{Access, Address, Listener, Stream};

    #[tokio::test]
    async fn a_caller_over_tcp_is_asked_after_and_hears_events_at_once() {
        let address = Address::Tcp("127.0.0.1:0".parse().unwrap());
        let access = Access { mode: 0o600, group: None };
        let mut inherited = listenfd::ListenFd::empty();
        let listener = Listener::open(&address, access, &mut inherited).unwrap();
        let _caller = TcpStream::connect(listener.name()).await.unwrap();
        let (Stream::Tcp(accepted), _) = listener.accept().await.unwrap() else { unreachable!() };
        assert!(sockopt::socket_keepalive(&accepted).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap(), AFTER);
        assert_eq!(sockopt::tcp_keepintvl(&accepted).unwrap(), EVERY);
        assert_eq!(sockopt::tcp_keepcnt(&accepted).unwrap(), PROBES);
        assert!(accepted.nodelay().unwrap());
    }
}
