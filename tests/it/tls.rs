//! TLS, seen from both ends: who the upstream takes us for, whom we take for the upstream, what is
//! said when one of the two refuses, and what a rotation changes under a session that goes on.

mod connection;
mod identity;
mod keys;
#[cfg(feature = "pkcs11")]
pub(crate) mod pkcs11;
pub(crate) mod pkcs12;
mod refusal;
mod renewal;
pub(crate) mod rotation;
mod trust;

use http::Method;

use crate::support::upstream::{Seen, Upstream};

/// Drops all connections and waits until the client has noticed: its stream is there again. A
/// call that left before that would rightly have an unknown outcome.
#[track_caller]
fn reconnect(upstream: &Upstream) {
    let streams = |seen: &[Seen]| seen.iter().filter(|seen| seen.method == Method::GET).count();
    upstream.wait_for_listener();
    let before = streams(&upstream.seen());
    upstream.drop_connections();
    upstream.wait_for(|seen| streams(seen) > before);
}

/// Drops all connections and waits until the server has refused one, or the client the server.
#[track_caller]
fn reconnect_in_vain(upstream: &Upstream) {
    upstream.wait_for_listener();
    upstream.drop_connections();
    upstream.wait("a refusal", |record| {
        record.connections.iter().any(|connection| connection.refused.is_some()).then_some(())
    });
}
