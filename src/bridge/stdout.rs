//! Standard output: one line a message, each written by itself.
//!
//! A line goes out in the call that brings it when the pipe has room; otherwise it waits in a
//! queue, and whoever brings more from the upstream waits for room first, so that a client that
//! does not read holds its own streams back and nothing else.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::stdio::Output;

/// With more than this in the queue, streams wait before they bring more.
const FULL: usize = 1024 * 1024;
/// How long a client gets to read a notification before the response that follows it, where it
/// can't be seen whether it has.
const READING_TIME: Duration = Duration::from_millis(5);
/// The same where it can be seen, at most.
const READING_LIMIT: Duration = Duration::from_millis(20);

/// The writing end, shared by all that deliver.
#[derive(Clone, Debug)]
pub(super) struct Stdout(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    output: Output,
    queue: Mutex<Queue>,
    /// There is something to write that did not go out at once.
    waiting: Notify,
    /// The queue is no longer full, or broken.
    room: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Bytes>,
    bytes: usize,
    /// How much of the first line and its end is written.
    written: usize,
    broken: bool,
}

impl Stdout {
    pub(super) fn new(output: Output) -> Self {
        Self(Arc::new(Shared {
            output,
            queue: Mutex::default(),
            waiting: Notify::new(),
            room: Notify::new(),
        }))
    }

    /// Writes a line (without its end), now or as soon as there is room.
    pub(super) fn push(&self, line: Bytes) {
        let mut queue = self.queue();
        if queue.broken {
            return;
        }
        queue.bytes += line.len() + 1;
        queue.lines.push_back(line);
        if queue.lines.len() == 1 && !self.write(&mut queue) {
            self.0.waiting.notify_one();
        }
    }

    /// Writes what is queued as room comes; ends when the reader is gone. May be dropped and
    /// called again.
    pub(super) async fn run(&self) {
        loop {
            let done = self.write(&mut self.queue());
            if self.queue().broken {
                return;
            }
            if done {
                self.0.waiting.notified().await;
            } else if self.0.output.writable().await.is_err() {
                self.fail(&mut self.queue());
            }
        }
    }

    /// Waits until the queue is no longer full.
    pub(super) async fn room(&self) {
        loop {
            let notified = self.0.room.notified();
            if self.queue().bytes <= FULL {
                return;
            }
            notified.await;
        }
    }

    /// Waits until everything is written, or the reader is gone.
    pub(super) async fn drained(&self) {
        loop {
            let notified = self.0.room.notified();
            if self.queue().lines.is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// Gives the client time to read what was written at `since`, so that a response does not
    /// arrive in the same read as the notification before it: the official TypeScript hosts
    /// drop progress that does.
    pub(super) async fn let_read(&self, since: Instant) {
        loop {
            let age = since.elapsed();
            let enough = match self.0.output.unread() {
                Some(unread) => !unread || age >= READING_LIMIT,
                None => age >= READING_TIME,
            };
            if enough {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until the queue is empty (true) or there is no room (false).
    fn write(&self, queue: &mut Queue) -> bool {
        while let Some(line) = queue.lines.front() {
            let rest = &line[queue.written.min(line.len())..];
            match self.0.output.try_write(&[IoSlice::new(rest), IoSlice::new(b"\n")]) {
                Ok(written) => {
                    let (length, full) = (line.len() + 1, queue.bytes > FULL);
                    queue.written += written;
                    if queue.written == length {
                        queue.lines.pop_front();
                        queue.written = 0;
                        queue.bytes -= length;
                    }
                    if queue.lines.is_empty() || (full && queue.bytes <= FULL) {
                        self.0.room.notify_waiters();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    tracing::debug!(%error, "standard output broke");
                    self.fail(queue);
                }
            }
        }
        true
    }

    fn fail(&self, queue: &mut Queue) {
        *queue = Queue { broken: true, ..Queue::default() };
        self.0.room.notify_waiters();
        // Whoever runs the queue sleeps when it was a line's own write that found it broken.
        self.0.waiting.notify_one();
    }
}
