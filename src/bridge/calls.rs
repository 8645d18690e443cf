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
                if let Some(task) = lock(&self.running).remove(&exchange) {
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
            lock(&calls.running).remove(&id);
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
            lock(&calls.running).remove(&id);
            calls.on(Event::Ended(id, end, Position::default()));
        });
        lock(&self.running).insert(id, task.abort_handle());
    }

    /// Closes a WebSocket, in its own time but no more than a farewell has.
    fn close(&self, id: ExchangeId) {
        let Some(outbox) = lock(&self.sockets).get(&id).cloned() else { return };
        let task = lock(&self.running).remove(&id);
        outbox.close();
        lock(&self.farewells).spawn(async move {
            let done = tokio::time::timeout(FAREWELL, outbox.ended()).await;
            tracing::debug!(in_time = done.is_ok(), "WebSocket closed");
            if let Some(task) = task {
                task.abort();
            }
        });
    }

    /// Waits until a WebSocket has taken most of what it was given.
    pub(super) async fn room(&self) {
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
