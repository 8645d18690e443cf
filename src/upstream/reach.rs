//! Whether the upstream can be reached: a connection as requests have them, from the name to the
//! TLS handshake with our identity, and not a byte of HTTP on it.
//!
//! No credential is spent, since none belongs to a connection. What was found holds for a few
//! seconds, and who asks while it is looked for waits for the same: however many probes there are,
//! the upstream sees one connection every few seconds.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use tokio::time::Instant;

use super::{Settings, connector::Connector, proxy::Proxy};
use crate::{
    failure::Failure,
    tls::{Generations, Tls},
};

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long what was found holds.
const KEPT: Duration = Duration::from_secs(5);

/// The way to one upstream, to be looked at.
pub struct Reach {
    settings: Settings,
    proxy: Option<Arc<Proxy>>,
    tls: Generations,
    last: Mutex<Option<Look>>,
}

/// A look, which may still be under way.
struct Look {
    since: Instant,
    generation: Arc<Tls>,
    found: Shared<BoxFuture<'static, Result<(), Failure>>>,
}

impl Reach {
    /// The way that requests of these settings take.
    ///
    /// # Errors
    ///
    /// At [`Configuration`](crate::failure::Stage::Configuration): the proxy can't be used.
    pub fn new(settings: &Settings, tls: impl Into<Generations>) -> Result<Self, Failure> {
        let proxy = settings.proxy.choose(&settings.url)?.map(Arc::new);
        let connect_timeout = settings.connect_timeout.min(PATIENCE);
        let settings = Settings { connect_timeout, ..settings.clone() };
        Ok(Self { settings, proxy, tls: tls.into(), last: Mutex::default() })
    }

    /// Looks, or tells what was found a moment ago. Takes two seconds at most.
    ///
    /// # Errors
    ///
    /// As a request that was not sent: at the step of the way that failed.
    pub async fn look(&self) -> Result<(), Failure> {
        let found = {
            let generation = self.tls.current();
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = |look: &Look| {
                look.since.elapsed() < KEPT && Arc::ptr_eq(&look.generation, &generation)
            };
            match last.as_ref().filter(|look| fresh(look)) {
                Some(look) => look.found.clone(),
                None => last.insert(self.begin(generation)).found.clone(),
            }
        };
        found.await
    }

    fn begin(&self, generation: Arc<Tls>) -> Look {
        let (proxy, tls) = (self.proxy.clone(), Arc::clone(&generation));
        let connector = Connector::new(&self.settings, proxy, tls);
        let found = async move { connector.knock(PATIENCE).await }.boxed().shared();
        Look { since: Instant::now(), generation, found }
    }
}

#[cfg(test)]
mod tests;
