//! Who is at the other end of a connection, as far as the machine itself can tell.
//!
//! What a peer says of itself in a header is not here: that is for the guard to believe or not.

use std::{fmt, net::SocketAddr, sync::Arc};

/// The other end of an inbound connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it comes from.
    pub from: From,
    /// The names in its verified client certificate: DNS names and URIs; empty without one.
    pub names: Arc<[String]>,
    /// Whether it came by a listener that the whole network may reach.
    pub exposed: bool,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a Unix socket, from a process of this user (`SO_PEERCRED`).
    Unix(u32),
}

impl Peer {
    /// Whose sessions it may use: two peers with the same key are one to the upstream.
    #[must_use]
    pub(super) fn identity(&self) -> Identity {
        match self.from {
            From::Unix(uid) => Identity::User(uid),
            From::Tcp(_) if self.names.is_empty() => Identity::Anyone,
            From::Tcp(_) => Identity::Certificate(Arc::clone(&self.names)),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.names.first(), self.from) {
            (Some(name), From::Tcp(address)) => write!(f, "{name} at {address}"),
            (_, From::Tcp(address)) => write!(f, "{address}"),
            (_, From::Unix(uid)) => write!(f, "uid {uid}"),
        }
    }
}

/// What an upstream session is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    /// Whoever has these names in its certificate, all of them and no other: one name may be that
    /// of many.
    Certificate(Arc<[String]>),
    /// Whoever runs as this user.
    User(u32),
    /// Whoever reaches the port, and knows the token if there is one.
    Anyone,
}
