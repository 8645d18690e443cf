//! How much is under way at a time: what is beyond is told to come back, and never piles up.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::respond::Refusal;

/// Bodies up to this size are bounded by the number of requests.
const SMALL: usize = 64 * 1024;
/// As many of the largest bodies are held at a time.
const LARGEST_AT_ONCE: usize = 4;
/// Bodies are counted in pieces of this size.
const PIECE: usize = 1024;

/// What there is room for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections; one more is answered with 503 and closed.
    pub connections: usize,
    /// Requests under way, streams that are listened to included.
    pub requests: usize,
    /// Requests that wait for one of those to end.
    pub queue: usize,
    /// How long they do.
    pub patience: Duration,
    /// The largest body.
    pub max_message: usize,
}

/// The room that is left.
pub(super) struct Room {
    limits: Limits,
    requests: Arc<Semaphore>,
    queue: Semaphore,
    bodies: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// A place in the room, given back when the last who holds it has dropped it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    permit: Arc<OwnedSemaphorePermit>,
}

impl Place {
    /// What a body takes up that turned out to be this long; the rest is there for others.
    pub(super) fn fitted(self, size: usize) -> Option<Self> {
        // Nobody else holds it before it is known how long the body is.
        let mut permit = Arc::into_inner(self.permit)?;
        let fitted = (size > SMALL).then(|| permit.split(size / PIECE + 1))?;
        // One that was as long as could be keeps it all.
        Some(Self::of(fitted.unwrap_or(permit)))
    }

    fn of(permit: OwnedSemaphorePermit) -> Self {
        Self { permit: Arc::new(permit) }
    }
}

impl Room {
    pub(super) fn new(limits: Limits) -> Self {
        let bodies = (limits.max_message / PIECE + 1).saturating_mul(LARGEST_AT_ONCE);
        let bounded = |places: usize| places.min(Semaphore::MAX_PERMITS);
        Self {
            limits,
            requests: Arc::new(Semaphore::new(bounded(limits.requests))),
            queue: Semaphore::new(bounded(limits.queue)),
            bodies: Arc::new(Semaphore::new(bounded(bodies))),
            connections: Arc::new(Semaphore::new(bounded(limits.connections))),
        }
    }

    /// A place for a connection, if there is one.
    pub(super) fn connection(&self) -> Option<Place> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        Some(Place::of(permit))
    }

    /// A place for a request, at once or after a while.
    pub(super) async fn request(&self) -> Result<Place, Refusal> {
        self.take(&self.requests, 1, "too many requests are under way").await
    }

    /// Room for a body of this size; of the largest if it does not say.
    pub(super) async fn body(&self, size: Option<u64>) -> Result<Option<Place>, Refusal> {
        let largest = self.limits.max_message;
        let size = size.map_or(largest, |size| usize::try_from(size).unwrap_or(largest));
        if size <= SMALL {
            return Ok(None);
        }
        let pieces = u32::try_from(size / PIECE + 1).unwrap_or(u32::MAX);
        self.take(&self.bodies, pieces, "too many large bodies are under way").await.map(Some)
    }

    async fn take(
        &self,
        places: &Arc<Semaphore>,
        count: u32,
        full: &'static str,
    ) -> Result<Place, Refusal> {
        if let Ok(permit) = Arc::clone(places).try_acquire_many_owned(count) {
            return Ok(Place::of(permit));
        }
        let Ok(_waiting) = self.queue.try_acquire() else { return Err(Refusal::Busy(full)) };
        let permit = timeout(self.limits.patience, Arc::clone(places).acquire_many_owned(count));
        match permit.await {
            Ok(Ok(permit)) => Ok(Place::of(permit)),
            _ => Err(Refusal::Busy(full)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn room() -> Room {
        Room::new(Limits {
            connections: 1,
            requests: 1,
            queue: 1,
            patience: Duration::from_secs(1),
            max_message: 1 << 20,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_did_not_say_its_size_takes_up_what_it_was() {
        let room = room();
        let largest = || room.body(None);
        for _ in 0..2 * LARGEST_AT_ONCE {
            let place = largest().await.unwrap().unwrap();
            assert!(place.fitted(SMALL).is_none());
        }
        let mut held = Vec::new();
        for _ in 0..LARGEST_AT_ONCE {
            held.extend(largest().await.unwrap().unwrap().fitted(SMALL + 1));
        }
        assert_eq!(held.len(), LARGEST_AT_ONCE);
        // They leave room for all but one of the largest.
        for _ in 1..LARGEST_AT_ONCE {
            held.extend(largest().await.unwrap());
        }
        let whole = held.pop().unwrap().fitted(1 << 20).unwrap();
        assert_eq!(whole.permit.num_permits(), (1 << 20) / PIECE + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_beyond_the_queue_is_sent_away_at_once() {
        let room = room();
        let first = room.request().await.unwrap();
        let second = room.request();
        let third = async {
            tokio::task::yield_now().await;
            let sent_away = room.request().await.unwrap_err();
            drop(first);
            sent_away
        };
        let (second, third) = tokio::join!(second, third);
        assert!(matches!(third, Refusal::Busy(_)));
        second.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let room = room();
        let _first = room.request().await.unwrap();
        assert!(matches!(room.request().await, Err(Refusal::Busy(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_are_counted_and_small_ones_are_not() {
        let room = room();
        let mut held = Vec::new();
        for _ in 0..LARGEST_AT_ONCE {
            held.push(room.body(None).await.unwrap().unwrap());
        }
        assert!(matches!(room.body(Some(1 << 20)).await, Err(Refusal::Busy(_))));
        assert!(room.body(Some(100)).await.unwrap().is_none());
        held.pop();
        assert!(room.body(Some(1 << 20)).await.unwrap().is_some());
    }

    #[test]
    fn connections_are_counted() {
        let room = room();
        let first = room.connection().unwrap();
        assert!(room.connection().is_none());
        drop(first);
        assert!(room.connection().is_some());
    }
}
