//! The bridge without its stdio: messages are handed in by a front end, which gets the lines for its
//! client in return.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Settings,
    calls::{Calls, Hold},
    converse,
    outlet::{Backlog, Front, Outlet},
};
use crate::{
    mcp::{era::Era, exchange::Event, message::Message},
    service::HttpService,
};

/// A conversation with the upstream on behalf of one client.
pub struct Engine(Arc<Calls>);

impl Engine {
    /// One that speaks as `settings` say over `service`, with an upstream of the era `before`. It hands
    /// each line for the client to `deliver`, from within whatever call brings it. What lies in `backlog` holds the upstream back.
    #[must_use]
    pub fn new(
        mut settings: Settings,
        service: HttpService,
        before: Era,
        deliver: impl Fn(Bytes) + Send + Sync + 'static,
        backlog: Backlog,
    ) -> Self {
        let conversation = converse(&mut settings).before(before);
        let front = Front { deliver: Arc::new(deliver), backlog };
        Self(Calls::new(settings, conversation, service, Outlet::Front(front)))
    }

    /// Takes a message of the client. What is sent for it keeps `hold` until the upstream is done with
    /// that, whether or not somebody still waits for it.
    pub fn take(&self, message: Message, hold: Option<&Hold>) {
        self.0.on_holding(Event::FromClient(message), hold);
    }

    /// Ends the conversation: what is in flight has so long, then the upstream is told.
    pub async fn end(&self, drain: Duration) {
        self.0.on(Event::ClientClosed);
        tokio::select! {
            () = self.0.finished() => {}
            () = tokio::time::sleep(drain) => self.0.on(Event::Expired),
        }
        self.0.departed().await;
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}
