//! The answer to a request on its way out. A `Log` holds the messages of one stream, as the tool
//! or the session writes them; readers turn them into events from any position, which is what
//! resuming is. `Outgoing` is the body that hyper sends, and where it stops too early.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;
use tokio::sync::watch;

use super::{Shared, connection::Control};
use crate::support::script::{Ending, Mangle};

/// The messages of one stream.
pub struct Log {
    id: String,
    written: watch::Sender<Written>,
}

#[derive(Default)]
struct Written {
    messages: Vec<Value>,
    done: bool,
    /// Counts the readers: the newest takes over from the one before.
    reader: usize,
}

/// How messages become events.
#[derive(Clone, Default)]
pub struct Style {
    /// Events have ids, and the first is a priming event, with this `retry` if there is one.
    pub resumable: Option<Option<u64>>,
    pub mangle: Option<Mangle>,
}

impl Log {
    pub fn new(id: String) -> Arc<Self> {
        Arc::new(Self { id, written: watch::Sender::default() })
    }

    /// Its name, the first part of its events' ids.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// One message more.
    pub fn push(&self, message: Value) {
        self.written.send_modify(|written| written.messages.push(message));
    }

    /// No more messages.
    pub fn finish(&self) {
        self.written.send_modify(|written| written.done = true);
    }

    /// All messages, when there are no more to come.
    pub async fn finished(&self) -> Vec<Value> {
        let mut written = self.written.subscribe();
        let Ok(written) = written.wait_for(|written| written.done).await else {
            return Vec::new();
        };
        written.messages.clone()
    }

    /// Whether anyone reads it now.
    pub fn has_reader(&self) -> bool {
        self.written.receiver_count() > 0
    }

    /// The position after the last message.
    pub fn end(&self) -> usize {
        self.written.borrow().messages.len()
    }

    /// The events from this position on. The reader before this one ends.
    pub fn events(self: Arc<Self>, from: usize, style: Style) -> BoxStream<'static, Bytes> {
        let mut mine = 0;
        self.written.send_modify(|written| {
            written.reader += 1;
            mine = written.reader;
        });
        let id = self.id.clone();
        let prime = style.resumable.map(|retry| {
            let retry = retry.map_or_else(String::new, |retry| format!("retry: {retry}\n"));
            Bytes::from(format!("{retry}id: {id}.{from}\ndata: \n\n"))
        });
        // The writing end stays alive with the stream, so that a forgotten log just says nothing.
        let reader = (self.written.subscribe(), from, self);
        let messages = stream::unfold(reader, move |(mut written, at, log)| async move {
            let message = {
                let now = written
                    .wait_for(|w| w.messages.len() > at || w.done || w.reader != mine)
                    .await
                    .ok()?;
                if now.reader != mine {
                    return None;
                }
                now.messages.get(at)?.clone()
            };
            Some(((at + 1, message), (written, at + 1, log)))
        });
        let events = messages.flat_map(move |(position, message)| {
            let event_id = style.resumable.map(|_| format!("{id}.{position}"));
            stream::iter(encode(&message, event_id.as_deref(), style.mangle.as_ref()))
        });
        stream::iter(prime).chain(events).boxed()
    }
}

/// A message as its events.
fn encode(message: &Value, id: Option<&str>, mangle: Option<&Mangle>) -> Vec<Bytes> {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    let text = document(message, mangle);
    let data = text.replace('\n', "\ndata: ");
    let mut event = format!("event: message\n{id}data: {data}\n\n");
    if matches!(mangle, Some(Mangle::CarriageReturns)) {
        event = event.replace('\n', "\r\n");
    }
    let event = Bytes::from(event);
    let twice = matches!(mangle, Some(Mangle::Twice)) && is_response(message);
    if twice { vec![event.clone(), event] } else { vec![event] }
}

/// A message as JSON text.
pub fn document(message: &Value, mangle: Option<&Mangle>) -> String {
    match mangle {
        Some(Mangle::LineFeeds) => serde_json::to_string_pretty(message).unwrap(),
        Some(Mangle::OtherId(other)) if is_response(message) => {
            let mut message = message.clone();
            message["id"] = other.clone();
            message.to_string()
        }
        _ => message.to_string(),
    }
}

fn is_response(message: &Value) -> bool {
    message.get("method").is_none()
}

/// Where a body stops before its end.
#[derive(Clone, Copy)]
pub enum Stop {
    Cut(usize, Ending),
    Truncate(usize),
    Stall(usize),
    AfterEvents(usize),
}

/// The body of an answer.
pub struct Outgoing {
    source: BoxStream<'static, Bytes>,
    length: Option<u64>,
    stop: Option<Stop>,
    bytes: usize,
    chunks: usize,
    finished: bool,
    request: usize,
    control: Arc<Control>,
    shared: Arc<Shared>,
}

impl Outgoing {
    /// A body whose length is known.
    pub fn whole(
        body: Bytes,
        request: usize,
        control: &Arc<Control>,
        shared: &Arc<Shared>,
    ) -> Self {
        let length = Some(body.len() as u64);
        let source = stream::iter((!body.is_empty()).then_some(body)).boxed();
        let mut outgoing = Self::streaming(source, request, control, shared);
        outgoing.length = length;
        outgoing
    }

    /// A body that comes as it comes, one event a chunk.
    pub fn streaming(
        source: BoxStream<'static, Bytes>,
        request: usize,
        control: &Arc<Control>,
        shared: &Arc<Shared>,
    ) -> Self {
        let (control, shared) = (Arc::clone(control), Arc::clone(shared));
        Self {
            source,
            length: None,
            stop: None,
            bytes: 0,
            chunks: 0,
            finished: false,
            request,
            control,
            shared,
        }
    }

    /// The same, stopping there.
    pub fn stopping(mut self, stop: Stop) -> Self {
        if matches!(stop, Stop::Truncate(_)) {
            self.length = None;
        }
        self.stop = Some(stop);
        self
    }

    /// How many bytes may still leave, and whether this is the place to stop.
    fn room(&self) -> usize {
        match self.stop {
            Some(Stop::Cut(at, _) | Stop::Truncate(at) | Stop::Stall(at)) => at - self.bytes,
            Some(Stop::AfterEvents(events)) if self.chunks >= events => 0,
            Some(Stop::AfterEvents(_)) | None => usize::MAX,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let room = self.room();
        if let (0, Some(stop)) = (room, self.stop) {
            return match stop {
                Stop::Cut(_, ending) => {
                    self.control.part(Bytes::new(), ending);
                    Poll::Pending
                }
                Stop::Stall(_) => Poll::Pending,
                Stop::Truncate(_) | Stop::AfterEvents(_) => {
                    self.finished = true;
                    Poll::Ready(None)
                }
            };
        }
        let Some(mut chunk) = std::task::ready!(self.source.poll_next_unpin(cx)) else {
            self.finished = true;
            return Poll::Ready(None);
        };
        chunk.truncate(room);
        self.bytes += chunk.len();
        self.chunks += 1;
        // hyper polls no further once it has the whole `Content-Length`.
        self.finished = self.length == Some(self.bytes as u64);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0) && self.stop.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, |length| {
            SizeHint::with_exact(length - self.bytes as u64)
        })
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.finished && self.length != Some(0) && !self.control.parting() {
            self.shared.recorder.note(|record| record.left.push(self.request));
        }
    }
}
