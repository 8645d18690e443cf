//! Who speaks for a client that is of another era than the upstream: an engine of the bridge, and the
//! desk that takes what it says to the client's streams.
//!
//! One is there for each session of the legacy era, and for each identity that asks in the modern one.
//! It ends when it was not used for a while, when its session is ended, or when the sidecar leaves and
//! nothing waits for it any more.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc::UnboundedReceiver},
    time::{Instant, sleep_until},
};
use tower::{Service as _, service_fn};

use super::desk::{Desk, Line, Post};
use crate::{
    bridge::{Backlog, Engine, Era, Hold, Settings},
    mcp::{
        message::{Envelope, Id, Message},
        notification,
    },
    service::{Caller, HttpService, Request},
    sidecar::{drain::Drain, respond::Refusal, sessions::Key},
};

/// Of all clients of a route together.
pub(super) const MOST: usize = 1024;
/// One that is not used for so long is gone.
pub(super) const IDLE: Duration = Duration::from_secs(30 * 60);
/// How long what is in flight at the end may take.
const ENDING: Duration = Duration::from_secs(5);

/// What it is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// A session of the legacy era.
    Session(Key),
    /// All that one identity asks in the modern era.
    Caller(Caller),
}

/// An engine and its client's streams.
pub(super) struct Interpreter {
    pub(super) desk: Arc<Desk>,
    engine: Engine,
    era: Era,
    owner: Caller,
    used: Mutex<Instant>,
    dismissed: Notify,
}

impl Interpreter {
    fn new(mut settings: Settings, service: &HttpService, era: Era, owner: Caller) -> Self {
        settings.protocol = Some(era);
        let backlog = Backlog::default();
        let desk = Arc::new(Desk::new(era, backlog.clone()));
        let told = Arc::clone(&desk);
        let deliver = move |line| told.deliver(line);
        let upstream = match era {
            Era::Legacy => Era::Modern,
            Era::Modern => Era::Legacy,
        };
        let service = on_behalf(service, &owner);
        let engine = Engine::new(settings, service, upstream, deliver, backlog);
        let (used, dismissed) = (Mutex::new(Instant::now()), Notify::new());
        Self { desk, engine, era, owner, used, dismissed }
    }

    /// Hands a message of the client on.
    pub(super) fn take(&self, message: Message, hold: Option<&Hold>) {
        *self.used() = Instant::now();
        self.engine.take(message, hold);
    }

    /// Hands on the requests of a POST; none if one of the same id is under way.
    pub(super) fn ask(
        self: &Arc<Self>,
        post: Post,
        message: Message,
        hold: Option<&Hold>,
    ) -> Option<Reply> {
        let (ticket, lines) = self.desk.enter(post)?;
        // There before the answer, which may come at once.
        let reply = Reply { interpreter: Arc::clone(self), ticket, lines: Some(lines) };
        self.take(message, hold);
        Some(reply)
    }

    /// What the server says by itself.
    pub(super) fn listen(self: &Arc<Self>) -> Reply {
        *self.used() = Instant::now();
        let (ticket, lines) = self.desk.listen();
        Reply { interpreter: Arc::clone(self), ticket, lines: Some(lines) }
    }

    /// Ends it.
    pub(super) fn dismiss(&self) {
        self.dismissed.notify_one();
    }

    fn used(&self) -> MutexGuard<'_, Instant> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream is gone. In the modern era that is how a request is cancelled (2026-07-28
    /// streamable-http, "Cancellation"), in the legacy one it is not.
    fn left(&self, ticket: u64, lines: Option<UnboundedReceiver<Line>>) {
        let open = self.desk.leave(ticket, lines);
        *self.used() = Instant::now();
        if self.era == Era::Legacy {
            return;
        }
        for id in open {
            if let Ok(cancel) = Message::parse(notification::cancel(&id, "the client has left")) {
                self.engine.take(cancel, None);
            }
        }
    }

    async fn live(self: Arc<Self>, name: Name, all: Arc<Interpreters>, drain: Drain) {
        let (mut leaving, mut left) = (drain.leaving(), false);
        loop {
            let due = *self.used() + IDLE;
            tokio::select! {
                () = self.dismissed.notified() => break,
                () = &mut leaving, if !left => left = true,
                () = self.desk.quiet(), if left => break,
                () = sleep_until(due) => {
                    let mut used = self.used();
                    if !self.desk.is_quiet() {
                        *used = Instant::now();
                    } else if *used + IDLE <= Instant::now() {
                        break;
                    }
                }
            }
        }
        all.remove(&name, &self);
        self.engine.end(ENDING).await;
        self.desk.close();
    }
}

impl fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interpreter").field("era", &self.era).finish_non_exhaustive()
    }
}

/// The way to the upstream for one caller, which has what is kept for it there.
fn on_behalf(service: &HttpService, owner: &Caller) -> HttpService {
    let (service, owner) = (service.clone(), owner.clone());
    HttpService::new(service_fn(move |mut request: Request| {
        request.extensions_mut().insert(owner.clone());
        service.clone().call(request)
    }))
}

/// What is said to a request, or to who listens, line by line; to drop it is to leave.
pub(super) struct Reply {
    interpreter: Arc<Interpreter>,
    ticket: u64,
    /// None only while it is dropped.
    lines: Option<UnboundedReceiver<Line>>,
}

impl Reply {
    /// The next line; none at the end.
    pub(super) async fn next(&mut self) -> Option<Line> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// The same for who polls.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Line>> {
        let Some(lines) = &mut self.lines else { return Poll::Ready(None) };
        let line = std::task::ready!(Pin::new(lines).poll_recv(cx));
        Poll::Ready(line.inspect(|line| self.interpreter.desk.taken(line)))
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.interpreter.left(self.ticket, self.lines.take());
    }
}

/// All of a route.
#[derive(Default)]
pub(super) struct Interpreters(Mutex<HashMap<Name, Arc<Interpreter>>>);

impl Interpreters {
    /// The one of this name, if it is `caller`'s; whether there is one at all is nobody else's business.
    pub(super) fn find(&self, name: &Name, caller: &Caller) -> Option<Arc<Interpreter>> {
        self.lock().get(name).filter(|it| it.owner == *caller).cloned()
    }

    /// Whether there is one of this name.
    pub(super) fn knows(&self, name: &Name) -> bool {
        self.lock().contains_key(name)
    }

    /// Begins one, which lives until nobody needs it any more.
    ///
    /// # Errors
    ///
    /// There are as many as there may be, and all of them are in use.
    pub(super) fn begin(
        self: &Arc<Self>,
        name: Name,
        (settings, service): (&Settings, &HttpService),
        (era, owner): (Era, &Caller),
        drain: &Drain,
    ) -> Result<Arc<Interpreter>, Refusal> {
        let mut all = self.lock();
        if all.len() >= MOST {
            let least = least(&all, owner).ok_or(Refusal::Busy("too many sessions are open"))?;
            if let Some(gone) = all.remove(&least) {
                gone.dismiss();
            }
        }
        let interpreter = Interpreter::new(settings.clone(), service, era, owner.clone());
        let interpreter = Arc::new(interpreter);
        all.insert(name.clone(), Arc::clone(&interpreter));
        tokio::spawn(Arc::clone(&interpreter).live(name, Arc::clone(self), drain.clone()));
        Ok(interpreter)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn remove(&self, name: &Name, gone: &Arc<Interpreter>) {
        let mut all = self.lock();
        if all.get(name).is_some_and(|it| Arc::ptr_eq(it, gone)) {
            all.remove(name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Arc<Interpreter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which one makes room for one of `newcomer`'s: of who has most, the least recently used one that no
/// request waits for, before one that is listened to.
///
/// So that nobody can end those of others by having many in use, others are left with no fewer than the
/// newcomer has then; so that nobody is kept out by who has many, being listened to does not save one.
fn least(all: &HashMap<Name, Arc<Interpreter>>, newcomer: &Caller) -> Option<Name> {
    let mut held: HashMap<&Caller, usize> = HashMap::new();
    for interpreter in all.values() {
        *held.entry(&interpreter.owner).or_default() += 1;
    }
    let count = |caller: &Caller| held.get(caller).copied().unwrap_or_default();
    let own = count(newcomer);
    let may_go = all.values().zip(all.keys()).filter(|(it, _)| match it.owner == *newcomer {
        true => it.desk.is_quiet(),
        false => !it.desk.owes() && count(&it.owner) > own + 1,
    });
    let least = may_go.max_by_key(|(it, _)| {
        (count(&it.owner), it.desk.is_quiet(), std::cmp::Reverse(*it.used()))
    });
    least.map(|(_, name)| name.clone())
}

/// The ids of the requests that `message` withdraws.
pub(super) fn withdrawn(message: &Message) -> Vec<Id> {
    let cancels = |it: &Envelope| matches!(it, Envelope::Notification { method } if &**method == "notifications/cancelled");
    let parts = message.parts().zip(message.envelopes()).filter(|(_, it)| cancels(it));
    let parts = parts.filter_map(|(part, _)| Message::parse(part).ok());
    parts.filter_map(|part| notification::cancelled_id(&part)).collect()
}

#[cfg(test)]
mod tests;
