//! Which of a client's streams a line belongs on: one engine says all of them in a row, and an HTTP
//! client has a stream for each of its requests, and perhaps one more on which it listens.
//!
//! An answer goes to who asked, progress to who gave the token. What names no request goes where the
//! client's era has it (`tell`). Nothing is kept for a stream that is gone.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{
    Notify,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::names::Names;
use crate::{
    bridge::{Backlog, Era},
    mcp::{
        annotations::Annotations,
        edit,
        message::{Envelope, Id, Message},
        metadata::SUBSCRIPTION_ID,
    },
};

/// Lines that are kept for a client which is about to listen; the oldest go first.
const KEPT: usize = 64;
/// Longer ones are not kept.
const KEPT_LINE: usize = 64 * 1024;

/// A line on its way to the client.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: Bytes,
    /// Nothing follows it on its stream.
    pub(super) last: bool,
}

/// A request, or some, that came in one POST.
pub(super) struct Post {
    /// Their ids, as the engine has them.
    pub(super) ids: Vec<Id>,
    /// Their progress tokens, likewise.
    pub(super) tokens: Vec<Id>,
    /// What the client calls them, where that is something else.
    pub(super) names: Option<Names>,
}

/// The streams of one client.
pub(super) struct Desk {
    era: Era,
    backlog: Backlog,
    streams: Mutex<Streams>,
    /// What lists of tools have said of headers.
    annotations: Mutex<Annotations>,
    /// A stream has ended.
    ended: Notify,
}

#[derive(Default)]
struct Streams {
    count: u64,
    posts: BTreeMap<u64, Waiting>,
    /// Which POST a request came in, by its id, and by its progress token.
    open: HashMap<Id, u64>,
    progress: HashMap<Id, u64>,
    /// The stream on which a client of the legacy era listens.
    listener: Option<(u64, UnboundedSender<Line>)>,
    kept: VecDeque<Bytes>,
}

struct Waiting {
    lines: UnboundedSender<Line>,
    post: Post,
}

impl Desk {
    pub(super) fn new(era: Era, backlog: Backlog) -> Self {
        let (streams, annotations) = (Mutex::default(), Mutex::default());
        Self { era, backlog, streams, annotations, ended: Notify::new() }
    }

    /// A number that nothing here was called by yet.
    pub(super) fn number(&self) -> u64 {
        self.lock().next()
    }

    /// The stream of a POST, and by which number it is left; none if a request of an id in it is open, or
    /// two of them have the same.
    pub(super) fn enter(&self, post: Post) -> Option<(u64, UnboundedReceiver<Line>)> {
        let mut streams = self.lock();
        let distinct = post.ids.iter().collect::<HashSet<_>>().len() == post.ids.len();
        if !distinct || post.ids.iter().any(|id| streams.open.contains_key(id)) {
            return None;
        }
        let ticket = streams.next();
        for id in &post.ids {
            streams.open.insert(id.clone(), ticket);
        }
        for token in &post.tokens {
            streams.progress.insert(token.clone(), ticket);
        }
        let (lines, stream) = unbounded_channel();
        streams.posts.insert(ticket, Waiting { lines, post });
        Some((ticket, stream))
    }

    /// The stream on which a client listens from now on; one that it listened to before ends.
    pub(super) fn listen(&self) -> (u64, UnboundedReceiver<Line>) {
        let mut streams = self.lock();
        let ticket = streams.next();
        let (lines, stream) = unbounded_channel();
        for text in std::mem::take(&mut streams.kept) {
            self.send(&lines, Line { text, last: false });
        }
        streams.listener = Some((ticket, lines));
        (ticket, stream)
    }

    /// A stream is gone: what it still waited for is nobody's any more.
    pub(super) fn leave(
        &self,
        ticket: u64,
        mut stream: Option<UnboundedReceiver<Line>>,
    ) -> Vec<Id> {
        if let Some(stream) = &mut stream {
            stream.close();
            while let Ok(line) = stream.try_recv() {
                self.taken(&line);
            }
        }
        let mut streams = self.lock();
        streams.listener.take_if(|(listening, _)| *listening == ticket);
        let open = streams.close(ticket);
        self.ended.notify_waiters();
        open
    }

    /// The engine owes no answer to this request any more.
    pub(super) fn withdraw(&self, id: &Id) {
        let mut streams = self.lock();
        let Some(ticket) = streams.open.remove(id) else { return };
        let Some(waiting) = streams.posts.get_mut(&ticket) else { return };
        waiting.post.ids.retain(|it| it != id);
        if waiting.post.ids.is_empty() {
            streams.close(ticket);
            self.ended.notify_waiters();
        }
    }

    /// A line left the client's queue.
    pub(super) fn taken(&self, line: &Line) {
        self.backlog.take(line.text.len());
    }

    /// Whether there is no stream.
    pub(super) fn is_quiet(&self) -> bool {
        let streams = self.lock();
        streams.posts.is_empty() && streams.listener.is_none()
    }

    /// Whether a request waits for its answer.
    pub(super) fn owes(&self) -> bool {
        !self.lock().posts.is_empty()
    }

    /// Waits until there is no stream.
    pub(super) async fn quiet(&self) {
        loop {
            let ended = self.ended.notified();
            if self.is_quiet() {
                return;
            }
            ended.await;
        }
    }

    /// Ends all streams.
    pub(super) fn close(&self) {
        *self.lock() = Streams::default();
        self.ended.notify_waiters();
    }

    /// Takes a line of the engine's to where it belongs.
    pub(super) fn deliver(&self, line: Bytes) {
        let message = match Message::parse(line) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%error, "a line that is no message is dropped");
                return;
            }
        };
        match message.single() {
            Some(Envelope::Response { id: Some(id), .. }) => self.answer(id, &message),
            Some(Envelope::Response { id: None, .. }) => {
                tracing::debug!("an answer to nobody is dropped");
            }
            Some(Envelope::Request { .. }) => self.tell("", &message),
            Some(Envelope::Notification { method }) => self.tell(method, &message),
            None => message.parts().for_each(|part| self.deliver(part)),
        }
    }

    fn answer(&self, id: &Id, message: &Message) {
        let mut streams = self.lock();
        let ticket = streams.open.remove(id);
        let Some((ticket, waiting)) =
            ticket.and_then(|it| streams.posts.get_mut(&it).map(|waiting| (it, waiting)))
        else {
            tracing::debug!("an answer is dropped: its client did not wait for it");
            return;
        };
        waiting.post.ids.retain(|it| it != id);
        let last = waiting.post.ids.is_empty();
        let text = match &waiting.post.names {
            Some(names) => {
                if names.lists_tools() {
                    drop(self.annotations().learn(message));
                }
                names.answer(message)
            }
            None => message.line(),
        };
        self.send(&waiting.lines, Line { text, last });
        if last {
            streams.close(ticket);
            self.ended.notify_waiters();
        }
    }

    /// What is known of the server's tools.
    pub(super) fn annotations(&self) -> MutexGuard<'_, Annotations> {
        self.annotations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a notification, or a question (without a method), to its stream.
    fn tell(&self, method: &str, message: &Message) {
        let mut streams = self.lock();
        let token = |path: &[&str]| {
            edit::member(message.bytes(), path).and_then(|raw| Id::from_token(raw.get()))
        };
        if method == "notifications/progress" {
            let token = token(&["params", "progressToken"]);
            let waiting = token.and_then(|token| streams.progress.get(&token).copied());
            return self.say(&streams, waiting, |names| names.progress(message), message);
        }
        if self.era == Era::Legacy {
            return self.tell_session(&mut streams, method, message);
        }
        if let Some(id) = token(&["params", "_meta", SUBSCRIPTION_ID]) {
            let waiting = streams.open.get(&id).copied();
            return self.say(&streams, waiting, |names| names.subscribed(message), message);
        }
        if method == "notifications/message" {
            // 2026-07-28 server/utilities/logging, "Per-request log level".
            let wanting = |names: &Names| names.wants(message);
            let posts = streams.posts.iter();
            let wanting: Vec<u64> = posts
                .filter(|(_, it)| it.post.names.as_ref().is_some_and(wanting))
                .map(|(ticket, _)| *ticket)
                .collect();
            for ticket in wanting {
                self.say(&streams, Some(ticket), |_| message.line(), message);
            }
            return;
        }
        self.say(&streams, streams.only(), |_| message.line(), message);
    }

    /// Of the streams of a session (2025-11-25 transports, "Sending Messages to the Server" 6, "Listening
    /// for Messages from the Server"): what belongs to a request goes to the only one there is; what
    /// does not, to where the client listens.
    fn tell_session(&self, streams: &mut Streams, method: &str, message: &Message) {
        let of_a_call = OF_A_CALL.contains(&method);
        let text = message.line();
        let line = Line { text: text.clone(), last: false };
        let only = streams.only();
        let stream = match (&streams.listener, only) {
            (_, Some(ticket)) if of_a_call => streams.lines(ticket),
            (Some((_, lines)), _) => Some(lines),
            // Which one it is can't be seen; the client takes it on any.
            (None, None) if of_a_call => streams.posts.values().last().map(|it| &it.lines),
            (None, only) => only.and_then(|ticket| streams.lines(ticket)),
        };
        if let Some(lines) = stream {
            self.send(lines, line);
        } else if text.len() <= KEPT_LINE {
            if streams.kept.len() == KEPT {
                streams.kept.pop_front();
            }
            streams.kept.push_back(text);
        }
    }

    fn say(
        &self,
        streams: &Streams,
        ticket: Option<u64>,
        renamed: impl FnOnce(&Names) -> Bytes,
        message: &Message,
    ) {
        let Some(waiting) = ticket.and_then(|ticket| streams.posts.get(&ticket)) else {
            tracing::debug!("a notification is dropped: nobody waits for it");
            return;
        };
        let text = waiting.post.names.as_ref().map_or_else(|| message.line(), renamed);
        self.send(&waiting.lines, Line { text, last: false });
    }

    fn send(&self, lines: &UnboundedSender<Line>, line: Line) {
        let length = line.text.len();
        self.backlog.add(length);
        if lines.send(line).is_err() {
            self.backlog.take(length);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server says in the course of a call: questions, what becomes of them, and its log.
const OF_A_CALL: [&str; 3] = ["", "notifications/cancelled", "notifications/message"];

impl Streams {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// The one POST that waits for an answer, if it is one.
    fn only(&self) -> Option<u64> {
        let (ticket, _) = self.posts.first_key_value().filter(|_| self.posts.len() == 1)?;
        Some(*ticket)
    }

    fn lines(&self, ticket: u64) -> Option<&UnboundedSender<Line>> {
        self.posts.get(&ticket).map(|waiting| &waiting.lines)
    }

    /// Ends the stream of a POST; the ids of its requests without an answer.
    fn close(&mut self, ticket: u64) -> Vec<Id> {
        let Some(Waiting { post, .. }) = self.posts.remove(&ticket) else { return Vec::new() };
        for id in &post.ids {
            self.open.remove(id);
        }
        for token in &post.tokens {
            // Another request may go by the same one meanwhile.
            if self.progress.get(token) == Some(&ticket) {
                self.progress.remove(token);
            }
        }
        post.ids
    }
}

#[cfg(test)]
mod tests;
