//! Who is at the other end of a connection, as far as the machine itself can tell.
//!
//! What a peer says of itself in a header is not here: that is for the guard to believe or not.

use std::{fmt, net::SocketAddr, sync::Arc};

use crate::service::Caller;

/// The other end of an inbound connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it comes from.
    pub from: From,
    /// The names in its verified client certificate: DNS names and URIs, in order, or its subject if
    /// it has neither; empty without a certificate.
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
    /// Whose sessions and cookies it may use: two peers that are one caller are one to the upstream.
    #[must_use]
    pub(super) fn caller(&self) -> Caller {
        match self.from {
            From::Unix(uid) => Caller::User(uid),
            From::Tcp(_) if self.names.is_empty() => Caller::Anyone,
            From::Tcp(_) => Caller::Certificate(Arc::clone(&self.names)),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URI (a SPIFFE id) is one workload's, a DNS name may be that of many. No DNS name has a colon.
        let uri = self.names.iter().find(|name| name.contains(':'));
        match (uri.or(self.names.first()), self.from) {
            (Some(name), From::Tcp(address)) => write!(f, "{name} at {address}"),
            (_, From::Tcp(address)) => write!(f, "{address}"),
            (_, From::Unix(uid)) => write!(f, "uid {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn named(names: &[&str]) -> Peer {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Peer { from: From::Tcp("192.0.2.1:50000".parse().unwrap()), names, exposed: true }
    }

    #[test]
    fn who_shares_a_name_is_not_the_same_for_it() {
        let one = named(&["agents.example", "spiffe://a/one"]);
        let renewed = Peer { from: From::Tcp("192.0.2.2:1".parse().unwrap()), ..one.clone() };
        assert_eq!(one.caller(), renewed.caller());
        for other in [&["agents.example", "spiffe://a/two"][..], &["agents.example"], &[]] {
            assert_ne!(one.caller(), named(other).caller(), "{other:?}");
        }
    }

    #[test]
    fn a_peer_is_shown_by_the_name_that_is_most_its_own() {
        for (names, expected) in [
            (&["agents.example", "spiffe://a/one"][..], "spiffe://a/one at 192.0.2.1:50000"),
            (&["a.example", "b.example"], "a.example at 192.0.2.1:50000"),
            (&["CN=agent"], "CN=agent at 192.0.2.1:50000"),
            (&[], "192.0.2.1:50000"),
        ] {
            assert_eq!(named(names).to_string(), expected);
        }
    }
}
