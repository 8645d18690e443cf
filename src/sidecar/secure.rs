//! From a connection of anyone to one whose other end is known: TLS on a listener.
//!
//! The handshake happens in the connection's own task and in bounded time, so that nobody who is slow
//! in it holds up anybody else. Who is let in stays no longer than it would be let in anew.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    connection::{serve, slow},
    forward::Forward,
    listener::Stream,
    peer::Peer,
};
use crate::tls::inbound::{Caller, Current};

/// The end of a certificate is looked at this often, for clocks that are set and machines that sleep.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// The requests of a connection after its handshake, which has the time of a head.
pub(super) async fn shake(forward: Arc<Forward>, stream: Stream, peer: Peer, mut tls: Current) {
    // Whatever comes after this generation is seen by `dismiss`.
    let generation = Arc::clone(&tls.borrow_and_update());
    let accepting = TlsAcceptor::from(Arc::clone(&generation.config)).accept(stream);
    let stream = match timeout(forward.times.head, accepting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return refused(&peer, &error),
        Err(_) => return slow(&peer),
    };
    match generation.caller(stream.get_ref().1) {
        Err(unnamed) => refused(&peer, &unnamed),
        Ok(None) => {
            let drain = forward.drain.clone();
            serve(forward, stream, peer, drain).await;
        }
        Ok(Some(caller)) => {
            let peer = Peer { names: Arc::clone(&caller.names), ..peer };
            let (drain, says) = forward.drain.of_connection();
            tokio::spawn(dismiss(tls, caller, says));
            serve(forward, stream, peer, drain).await;
        }
    }
}

fn refused(peer: &Peer, error: &dyn fmt::Display) {
    let hint = "what callers must trust is --listen-cert, what they must show --client-ca";
    tracing::warn!(%peer, rule = "tls", stage = "downstream", hint, "{error}");
}

/// Tells a connection to end as soon as its certificate would not be let in any more: it is over, or
/// its authority was taken out of `--client-ca`. A new authority beside the old one, or a new
/// certificate of our own, ends nothing.
///
/// The end is the one of a sidecar that leaves: what is under way is answered, since it was let in
/// when it came; what is only listened to and WebSockets end, since they could go on for days; and
/// nothing new is taken (`Connection: close`, GOAWAY). A caller that still belongs here connects anew.
async fn dismiss(mut tls: Current, caller: Caller, connection: watch::Sender<bool>) {
    loop {
        let look = caller.remaining().clamp(Duration::from_secs(1), LOOK);
        tokio::select! {
            // Its WebSocket included, which outlives the connection that it began as.
            () = connection.closed() => return,
            Ok(()) = tls.changed() => {}
            () = sleep(look) => {}
        }
        if !tls.borrow_and_update().admits(&caller) {
            connection.send_replace(true);
            return;
        }
    }
}
