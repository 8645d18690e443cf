//! The generations of the TLS configuration, as those see them who connect.
//!
//! There is the current one, and the question whether there is a newer one than that which was just
//! refused: it has the files looked at now instead of within two seconds, so that a rotation that
//! the other side has already finished costs no call.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::Tls;

/// How long a look may take for whoever asked for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Someone waits for the files to be looked at.
pub(super) type Look = oneshot::Sender<()>;

/// The current generation, and those to come. The clones share them.
#[derive(Clone, Debug)]
pub struct Generations {
    current: watch::Receiver<Arc<Tls>>,
    looks: Option<mpsc::Sender<Look>>,
}

impl Generations {
    pub(super) fn new(current: watch::Receiver<Arc<Tls>>, looks: mpsc::Sender<Look>) -> Self {
        Self { current, looks: Some(looks) }
    }

    /// The one that new connections are made with.
    #[must_use]
    pub fn current(&self) -> Arc<Tls> {
        Arc::clone(&self.current.borrow())
    }

    /// Tells of those to come.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Tls>> {
        self.current.clone()
    }

    /// Whether there is a newer one than `refused`, after a look at the files if need be. Of many
    /// who ask at once, the first has them looked at for all.
    pub async fn newer_than(&self, refused: &Arc<Tls>) -> bool {
        let newer = || !Arc::ptr_eq(&self.current.borrow(), refused);
        if newer() {
            return true;
        }
        let Some(looks) = &self.looks else { return false };
        let (look, looked) = oneshot::channel();
        let look = async {
            if looks.send(look).await.is_ok() {
                // An error is the end of the watch: nothing newer comes.
                let _ = looked.await;
            }
        };
        // A passphrase's program or a token may take its time: then there is none, for now.
        let _ = timeout(PATIENCE, look).await;
        newer()
    }
}

/// Generations that someone else publishes; there are no files to look at.
impl From<watch::Receiver<Arc<Tls>>> for Generations {
    fn from(current: watch::Receiver<Arc<Tls>>) -> Self {
        Self { current, looks: None }
    }
}
