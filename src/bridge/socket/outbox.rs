//! What is to be sent on a WebSocket, in order: given at once, taken when the peer has room.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

/// Bytes that may wait before the client is held back.
const ROOM: usize = 1 << 20;

/// See the module's head.
#[derive(Default)]
pub(in crate::bridge) struct Outbox {
    state: Mutex<State>,
    filled: Notify,
    emptied: Notify,
    gone: Notify,
}

/// See [`Outbox::ending`].
pub(super) struct Ending<'a>(&'a Outbox);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.emptied.notify_one();
        self.0.gone.notify_one();
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    closing: bool,
    ended: bool,
}

impl Outbox {
    pub(in crate::bridge) fn push(&self, body: Bytes) {
        let mut state = self.state();
        if !state.closing && !state.ended {
            state.bytes += body.len();
            state.waiting.push_back(body);
            self.filled.notify_one();
        }
    }

    /// What is there is still to be sent, and nothing more will be.
    pub(in crate::bridge) fn close(&self) {
        self.state().closing = true;
        self.filled.notify_one();
    }

    /// Marks the socket as gone when it is dropped, however that comes.
    pub(super) fn ending(&self) -> Ending<'_> {
        Ending(self)
    }

    /// Waits until the socket is gone.
    pub(in crate::bridge) async fn ended(&self) {
        while !self.state().ended {
            self.gone.notified().await;
        }
    }

    /// Waits until there is room for more.
    pub(in crate::bridge) async fn room(&self) {
        while self.is_full() {
            self.emptied.notified().await;
        }
    }

    fn is_full(&self) -> bool {
        let state = self.state();
        state.bytes >= ROOM && !state.ended
    }

    /// The next message; none once it is closed and all are taken.
    pub(super) async fn next(&self) -> Option<Bytes> {
        loop {
            {
                let mut state = self.state();
                if let Some(body) = state.waiting.pop_front() {
                    state.bytes -= body.len();
                    self.emptied.notify_one();
                    return Some(body);
                }
                if state.closing {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn messages_are_taken_in_order_and_the_end_comes_after_them() {
        let outbox = Outbox::default();
        outbox.push(Bytes::from_static(b"1"));
        outbox.push(Bytes::from_static(b"2"));
        outbox.close();
        outbox.push(Bytes::from_static(b"3"));
        assert_eq!(outbox.next().await.as_deref(), Some(&b"1"[..]));
        assert_eq!(outbox.next().await.as_deref(), Some(&b"2"[..]));
        assert_eq!(outbox.next().await, None);
    }

    #[tokio::test]
    async fn there_is_no_room_until_enough_was_taken_or_nobody_takes() {
        let outbox = Outbox::default();
        outbox.push(Bytes::from(vec![b'x'; ROOM]));
        assert_eq!(outbox.room().now_or_never(), None);
        outbox.next().await;
        assert_eq!(outbox.room().now_or_never(), Some(()));
        outbox.push(Bytes::from(vec![b'x'; ROOM]));
        drop(outbox.ending());
        assert_eq!(outbox.room().now_or_never(), Some(()));
    }
}
