//! From a connection of anyone to one whose other end is known: the handshake of TLS on a listener.
//!
//! It happens in the connection's own task and in bounded time, so that nobody who is slow in it
//! holds up anybody else. Who is let in stays no longer than its certificate would let it in anew.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{drain::Drain, listener::Stream, peer::Peer};
use crate::tls::inbound::{Caller, Inbound};

/// A certificate's end is looked at this often, for clocks that are set and machines that sleep.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// TLS of a listener: the current generation, and those to come.
#[derive(Clone)]
pub(super) struct Secure(pub(super) watch::Receiver<Arc<Inbound>>);

/// A connection that requests may be read from.
pub(super) struct Open {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    /// Tells when this connection is to end, be it with the sidecar or before.
    pub(super) drain: Drain,
}

impl Secure {
    /// Shakes hands over a connection of TCP; none where that fails, which concerns nobody but the
    /// two of us.
    pub(super) async fn shake(mut self, plain: Open, within: Duration) -> Option<Open> {
        let Open { stream: Stream::Tcp(stream), peer, drain } = plain else { return None };
        // What comes after this generation is seen by `dismiss`.
        let generation = Arc::clone(&self.0.borrow_and_update());
        let told = |reason: &dyn fmt::Display| {
            tracing::debug!(%peer, %reason, "a TLS handshake failed");
        };
        let accepting = TlsAcceptor::from(Arc::clone(&generation.config)).accept(stream);
        let stream = match timeout(within, accepting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                told(&error);
                return None;
            }
            Err(_) => {
                told(&"it took too long");
                return None;
            }
        };
        let caller = match generation.caller(stream.get_ref().1) {
            Ok(caller) => caller,
            Err(unnamed) => {
                told(&unnamed);
                return None;
            }
        };
        let stream = Stream::Tls(Box::new(stream));
        let Some(caller) = caller else {
            return Some(Open { stream, peer, drain });
        };
        let peer = Peer { names: Arc::clone(&caller.names), ..peer };
        let (drain, sender) = drain.of_connection();
        tokio::spawn(dismiss(self.0, caller, sender));
        Some(Open { stream, peer, drain })
    }
}

/// Tells a connection to end as soon as its certificate would not be let in any more: it is over, or
/// its authority was taken out of `--client-ca`. A new authority beside the old one, or a new
/// certificate of our own, ends nothing.
///
/// The end is the one of a sidecar that leaves: what is under way is answered, since it was let in
/// when it came; streams that are only listened to end, since they could last for days; and nothing
/// new is taken (`Connection: close`, GOAWAY). A caller that still belongs here connects anew.
async fn dismiss(
    mut generations: watch::Receiver<Arc<Inbound>>,
    caller: Caller,
    connection: watch::Sender<bool>,
) {
    loop {
        let look = caller.remaining().clamp(Duration::from_secs(1), LOOK);
        tokio::select! {
            // Tunnels included, which outlive the connection they began as.
            () = connection.closed() => return,
            Ok(()) = generations.changed() => {}
            () = sleep(look) => {}
        }
        if !generations.borrow_and_update().admits(&caller) {
            connection.send_replace(true);
            return;
        }
    }
}
