//! Carries out what the conversation decides, and tells it what came of it.
//!
//! Everything runs on one thread: an event is handled and its commands carried out in the call
//! that brings it, so that a call crosses no channel and wakes no other task.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::AbortHandle};

use super::{
    Audit, Settings,
    exchange::{self, Behind, Content, Outgoing, Wire},
    outlet::Outlet,
    socket::{self, Outbox},
};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        conversation::Conversation,
        exchange::{Awaits, Command, Context, End, Event, ExchangeId, Position},
        message::Message,
    },
    service::HttpService,
};

/// How long the DELETE of a session may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is kept for as long as something is under way to the upstream.
pub type Hold = Arc<dyn Any + Send + Sync>;

/// Exchanges that may be under way before the client is held back, for each call that it may have in
/// flight.
const BUSY: usize = 4;

/// The calls in flight and the session they belong to.
pub(super) struct Calls {
    wire: Wire,
    conversation: Mutex<Conversation>,
    audit: Option<Mutex<Audit>>,
    running: Mutex<HashMap<ExchangeId, AbortHandle>>,
    /// What is still to be sent on each WebSocket.
    sockets: Mutex<HashMap<ExchangeId, Arc<Outbox>>>,
    /// DELETEs and closing WebSockets under way.
    farewells: Mutex<tokio::task::JoinSet<()>>,
    /// An exchange is over.
    over: Notify,
    finished: Notify,
}

impl Calls {
    pub(super) fn new(
        settings: Settings,
        conversation: Conversation,
        service: HttpService,
        outlet: Outlet,
    ) -> Arc<Self> {
        let audit = settings.ledger.clone().map(|ledger| Mutex::new(Audit::new(ledger)));
        Arc::new(Self {
            audit,
            wire: Wire { settings, service, outlet },
            conversation: Mutex::new(conversation),
            running: Mutex::default(),
            sockets: Mutex::default(),
            farewells: Mutex::default(),
            over: Notify::new(),
            finished: Notify::new(),
        })
    }

    /// Tells the conversation what happened and carries out what it decides.
    pub(super) fn on(self: &Arc<Self>, event: Event) {
        self.on_holding(event, None);
    }

    /// The same, where what is sent at once keeps `hold` until its exchange has ended.
    pub(super) fn on_holding(self: &Arc<Self>, event: Event, hold: Option<&Hold>) {
        if let (Some(audit), Event::FromClient(message)) = (&self.audit, &event) {
            lock(audit).asked(message);
        }
        let commands = lock(&self.conversation).handle(event);
        for command in commands {
            self.carry_out(command, hold);
        }
    }

    fn carry_out(self: &Arc<Self>, command: Command, hold: Option<&Hold>) {
        match command {
            Command::Deliver(line) => {
                if let Some(audit) = &self.audit {
                    lock(audit).answered(&line);
                }
                self.wire.outlet.push(line);
            }
            Command::Post { exchange, body, awaits, context } => {
                let content = Content::Post { body };
                // A stream that only ends with its client is nothing that anybody waits for.
                let hold = hold.filter(|_| awaits != Awaits::Stream).cloned();
                self.start(exchange, Outgoing { context, content, awaits }, Duration::ZERO, hold);
            }
            Command::Listen { exchange, context, resume, awaits, after } => {
                let content = Content::Listen { resume };
                self.start(exchange, Outgoing { context, content, awaits }, after, None);
            }
            Command::Connect(exchange) => self.connect(exchange),
            Command::Send(exchange, body) => {
                if let Some(outbox) = lock(&self.sockets).get(&exchange) {
                    outbox.push(body);
                }
            }
            Command::Close(exchange) => self.close(exchange),
            Command::Cancel(exchange) => {
                lock(&self.sockets).remove(&exchange);
                if let Some(task) = self.over(exchange) {
                    task.abort();
                }
            }
            Command::After(pause, timer) => {
                let calls = Arc::clone(self);
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    calls.on(Event::Elapsed(timer));
                });
            }
            Command::End(context) => self.farewell(context),
            Command::Finished => self.finished.notify_one(),
        }
    }

    fn start(
        self: &Arc<Self>,
        id: ExchangeId,
        outgoing: Outgoing,
        after: Duration,
        hold: Option<Hold>,
    ) {
        let calls = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _hold = hold;
            let mut watch = Watch { calls: &calls, id, ended: false };
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            let on = |event| calls.on(event);
            let settled = || lock(&calls.conversation).settled(id);
            let behind = Behind { on: &on, settled: &settled };
            let (end, position) = exchange::run(&calls.wire, behind, id, outgoing).await;
            watch.ended = true;
            calls.over(id);
            calls.on(Event::Ended(id, end, position));
        });
        lock(&self.running).insert(id, task.abort_handle());
    }

    fn connect(self: &Arc<Self>, id: ExchangeId) {
        let calls = Arc::clone(self);
        let outbox = Arc::new(Outbox::default());
        lock(&self.sockets).insert(id, Arc::clone(&outbox));
        let task = tokio::spawn(async move {
            let mut watch = Watch { calls: &calls, id, ended: false };
            let on = |event| calls.on(event);
            let end = socket::run(&calls.wire, &on, id, &outbox).await;
            watch.ended = true;
            lock(&calls.sockets).remove(&id);
            calls.over(id);
            calls.on(Event::Ended(id, end, Position::default()));
        });
        lock(&self.running).insert(id, task.abort_handle());
    }

    /// Closes a WebSocket, in its own time but no more than a farewell has.
    fn close(&self, id: ExchangeId) {
        let Some(outbox) = lock(&self.sockets).remove(&id) else { return };
        let task = self.over(id);
        outbox.close();
        lock(&self.farewells).spawn(async move {
            let done = tokio::time::timeout(FAREWELL, outbox.ended()).await;
            tracing::debug!(in_time = done.is_ok(), "WebSocket closed");
            if let Some(task) = task {
                task.abort();
            }
        });
    }

    /// An exchange is over, and its task is nobody's any more.
    fn over(&self, id: ExchangeId) -> Option<AbortHandle> {
        let task = lock(&self.running).remove(&id);
        self.over.notify_one();
        task
    }

    /// Waits until there are not too many exchanges under way, each of which may have a connection of its
    /// own, and until a WebSocket has taken most of what it was given. For one who waits.
    pub(super) async fn room(&self) {
        // Calls are counted by their machine; what has no answer ends by itself, and leaves them room.
        let most = BUSY * self.wire.settings.max_in_flight.max(1);
        while lock(&self.running).len() >= most {
            self.over.notified().await;
        }
        let outboxes: Vec<Arc<Outbox>> = lock(&self.sockets).values().cloned().collect();
        for outbox in outboxes {
            outbox.room().await;
        }
    }

    fn farewell(self: &Arc<Self>, context: Context) {
        let calls = Arc::clone(self);
        lock(&self.farewells).spawn(async move {
            let outgoing = Outgoing { context, content: Content::Delete, awaits: Awaits::Answer };
            let sent = exchange::depart(&calls.wire, outgoing);
            let done = tokio::time::timeout(FAREWELL, sent).await;
            tracing::debug!(in_time = done.is_ok(), "session ended");
        });
    }

    /// Waits until nothing is in flight and nothing more will be.
    pub(super) async fn finished(&self) {
        self.finished.notified().await;
    }

    /// Waits until the server was told that the session ends, for a bounded time.
    pub(super) async fn departed(&self) {
        let mut farewells = std::mem::take(&mut *lock(&self.farewells));
        while farewells.join_next().await.is_some() {}
    }

    /// Takes one line of the client.
    pub(super) fn take(self: &Arc<Self>, line: bytes::Bytes) {
        match Message::parse(line) {
            Ok(message) => self.on(Event::FromClient(message)),
            Err(error) => {
                tracing::debug!(%error, "a line of the client is no message");
                for line in crate::mcp::fault::malformed(&error) {
                    self.wire.outlet.push(line);
                }
            }
        }
    }
}

/// Sees to it that an exchange whose task panics ends like any other that breaks.
struct Watch<'a> {
    calls: &'a Arc<Calls>,
    id: ExchangeId,
    ended: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.ended && std::thread::panicking() {
            self.calls.over(self.id);
            let failure = Failure::new(Stage::Send, "a defect in countersign broke the exchange")
                .hint("report it with the output of --debug");
            self.calls.on(Event::Ended(self.id, End::Broken(failure), Position::default()));
        }
    }
}

/// A panic elsewhere does not end the others: what it left is consistent, since events are
/// handled without panics in between.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::FutureExt as _;
    use http::StatusCode;
    use http_body_util::{BodyExt as _, Empty};
    use tokio::sync::Semaphore;
    use tower::service_fn;

    use super::*;
    use crate::{
        bridge::{
            converse,
            outlet::{Backlog, Front},
        },
        service::{Body, Request, Response},
    };

    /// A bridge to an upstream that answers as many POSTs as it is let.
    fn calls(let_through: &Arc<Semaphore>) -> Arc<Calls> {
        let let_through = Arc::clone(let_through);
        let service = HttpService::new(service_fn(move |_: Request| {
            let let_through = Arc::clone(&let_through);
            async move {
                let_through.acquire().await.unwrap().forget();
                let body = Empty::new().map_err(|never| match never {});
                let mut response = Response::new(Body::new(body));
                *response.status_mut() = StatusCode::ACCEPTED;
                Ok(response)
            }
        }));
        let mut settings = Settings {
            uri: "https://gw.example/mcp".parse().unwrap(),
            upstream: "https://gw.example".to_owned(),
            websocket: false,
            max_message: 1 << 20,
            idle_timeout: Duration::from_secs(60),
            max_in_flight: 2,
            drain: Duration::from_secs(1),
            protocol: None,
            ledger: None,
        };
        let conversation = converse(&mut settings);
        let front = Front { deliver: Arc::new(|_| {}), backlog: Backlog::default() };
        Calls::new(settings, conversation, service, Outlet::Front(front))
    }

    #[tokio::test]
    async fn a_client_is_held_back_while_too_much_of_it_is_under_way() {
        let let_through = Arc::new(Semaphore::new(0));
        let calls = calls(&let_through);
        let line = || bytes::Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/x"}"#);
        for _ in 0..2 * BUSY {
            assert_eq!(calls.room().now_or_never(), Some(()));
            calls.take(line());
        }
        assert_eq!(calls.room().now_or_never(), None);
        let_through.add_permits(1);
        calls.room().await;
        calls.take(line());
        assert_eq!(calls.room().now_or_never(), None);
    }
}
