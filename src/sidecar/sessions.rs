//! Whose an upstream session is: the id that one caller was given is of no use to another.
//!
//! Upstream, all callers are one: the sidecar's credentials are the same for all of them. What tells
//! them apart is here, and only here. The upstream alone says whose a session is, by giving it. An id
//! that nobody here was given (another replica may have carried that reply) belongs to the first whom
//! the upstream answers with success: to have shown it is no claim.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::guard::Denied;
use crate::service::Caller;

/// MCP 2025-11-25, basic/transports, "Session Management".
pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Sessions that are remembered, of all callers together.
const REMEMBERED: usize = 16 * 1024;

/// The sessions of one route.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Known>);

/// What is remembered of an id, however long it is: its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn of(id: &HeaderValue) -> Self {
        Self(Sha256::digest(id.as_bytes()).into())
    }
}

impl Sessions {
    /// The session that a request names, if it names one and `caller` may use it.
    pub(super) fn admit(
        &self,
        headers: &HeaderMap,
        caller: &Caller,
    ) -> Result<Option<Key>, Denied> {
        let mut ids = headers.get_all(SESSION).iter();
        let Some(id) = ids.next() else { return Ok(None) };
        let key = Key::of(id);
        if ids.next().is_none() && self.lock().uses(&key, caller) {
            Ok(Some(key))
        } else {
            Err(Denied::Session)
        }
    }

    /// Notes the session that a response gives to `caller`, that it goes on with, or that it ends.
    pub(super) fn note(
        &self,
        method: &Method,
        status: StatusCode,
        (asked, given): (Option<Key>, &HeaderMap),
        caller: &Caller,
    ) {
        let given = given.get(SESSION).map(Key::of);
        if asked.is_none() && given.is_none() {
            return;
        }
        let mut known = self.lock();
        // Some servers repeat the id in each answer, refusals too: that gives nothing.
        if let Some(key) = given.filter(|given| asked != Some(*given)) {
            known.forget(&key);
            known.bind(key, caller);
        }
        let Some(key) = asked.filter(|_| status.is_success()) else { return };
        let own = known.owners.get(&key).map(|bound| bound.owner == *caller);
        match (*method == Method::DELETE, own) {
            (true, Some(true)) => known.forget(&key),
            (false, None) => known.bind(key, caller),
            // Given to another meanwhile: that one is neither ended nor taken.
            _ => {}
        }
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.lock().owners.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Known {
    owners: HashMap<Key, Bound>,
    /// What each caller has, from the least recently used on.
    held: HashMap<Caller, BTreeMap<u64, Key>>,
    /// Counts uses: they are told apart by it and ordered.
    now: u64,
}

struct Bound {
    owner: Caller,
    used: u64,
}

impl Known {
    /// Whether `caller` may use a session: it is not another's. If so it was used just now.
    fn uses(&mut self, key: &Key, caller: &Caller) -> bool {
        let Some(bound) = self.owners.get_mut(key) else { return true };
        if bound.owner != *caller {
            return false;
        }
        self.now += 1;
        if let Some(held) = self.held.get_mut(caller) {
            held.remove(&bound.used);
            held.insert(self.now, *key);
        }
        bound.used = self.now;
        true
    }

    /// Remembers a session that is not known.
    fn bind(&mut self, key: Key, caller: &Caller) {
        if self.owners.len() == REMEMBERED {
            self.make_room();
        }
        self.now += 1;
        self.held.entry(caller.clone()).or_default().insert(self.now, key);
        self.owners.insert(key, Bound { owner: caller.clone(), used: self.now });
    }

    /// Forgets one of who has most, so that nobody can have those of others forgotten.
    fn make_room(&mut self) {
        let most = self.held.values().max_by_key(|held| {
            (held.len(), Reverse(held.first_key_value().map(|(used, _)| *used)))
        });
        if let Some((_, key)) = most.and_then(|held| held.first_key_value()) {
            let key = *key;
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &Key) {
        let Some(Bound { owner, used }) = self.owners.remove(key) else { return };
        if let Some(held) = self.held.get_mut(&owner) {
            held.remove(&used);
            if held.is_empty() {
                self.held.remove(&owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ALICE: Caller = Caller::User(1);
    const BOB: Caller = Caller::User(2);

    fn with(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(SESSION, id.parse().unwrap())])
    }

    fn key(id: &str) -> Key {
        Key::of(&id.parse().unwrap())
    }

    fn give(sessions: &Sessions, id: &str, caller: &Caller) {
        sessions.note(&Method::POST, StatusCode::OK, (None, &with(id)), caller);
    }

    /// A request that shows this id and is answered with this status, by who repeats the id.
    fn show(sessions: &Sessions, id: &str, caller: &Caller, status: u16) -> Result<(), Denied> {
        let asked = sessions.admit(&with(id), caller)?;
        let status = StatusCode::from_u16(status).unwrap();
        sessions.note(&Method::POST, status, (asked, &with(id)), caller);
        Ok(())
    }

    #[test]
    fn a_session_is_for_who_was_given_it() {
        let sessions = Sessions::default();
        give(&sessions, "a", &ALICE);
        assert_eq!(sessions.admit(&with("a"), &ALICE), Ok(Some(key("a"))));
        assert_eq!(sessions.admit(&with("a"), &BOB), Err(Denied::Session));
        assert_eq!(sessions.admit(&HeaderMap::new(), &BOB), Ok(None));
    }

    #[test]
    fn one_that_another_replica_gave_is_for_the_first_whom_the_upstream_knows_by_it() {
        let sessions = Sessions::default();
        for status in [404, 401, 307] {
            assert_eq!(show(&sessions, "b", &BOB, status), Ok(()));
        }
        assert_eq!(sessions.len(), 0);
        assert_eq!(show(&sessions, "b", &ALICE, 202), Ok(()));
        assert_eq!(show(&sessions, "b", &BOB, 200), Err(Denied::Session));
        assert_eq!(show(&sessions, "b", &ALICE, 200), Ok(()));
    }

    #[test]
    fn who_shows_an_id_before_it_is_given_has_nothing_of_it() {
        let sessions = Sessions::default();
        // Even with the upstream's blessing, from one that does not look at ids.
        assert_eq!(show(&sessions, "a", &BOB, 200), Ok(()));
        let early = sessions.admit(&with("a"), &BOB).unwrap();
        give(&sessions, "a", &ALICE);
        assert_eq!(show(&sessions, "a", &BOB, 200), Err(Denied::Session));
        // An answer that was under way.
        for method in [Method::POST, Method::DELETE] {
            sessions.note(&method, StatusCode::OK, (early, &HeaderMap::new()), &BOB);
        }
        assert_eq!(show(&sessions, "a", &ALICE, 200), Ok(()));
        assert_eq!(show(&sessions, "a", &BOB, 200), Err(Denied::Session));
    }

    #[test]
    fn a_session_that_was_ended_is_forgotten_and_one_that_was_not_is_kept() {
        let sessions = Sessions::default();
        let asked = (Some(key("a")), &HeaderMap::new());
        give(&sessions, "a", &ALICE);
        sessions.note(&Method::DELETE, StatusCode::METHOD_NOT_ALLOWED, asked, &ALICE);
        assert_eq!(sessions.len(), 1);
        sessions.note(&Method::DELETE, StatusCode::OK, asked, &ALICE);
        // And is not bound by the same again.
        sessions.note(&Method::DELETE, StatusCode::OK, asked, &ALICE);
        assert_eq!(sessions.len(), 0);
        assert!(sessions.lock().held.is_empty());
    }

    #[test]
    fn two_ids_in_a_request_are_none() {
        let mut two = with("a");
        two.append(SESSION, HeaderValue::from_static("b"));
        assert_eq!(Sessions::default().admit(&two, &ALICE), Err(Denied::Session));
    }

    #[test]
    fn an_id_may_be_as_long_as_a_header() {
        let sessions = Sessions::default();
        let (long, other) = ("x".repeat(60_000), "x".repeat(59_999));
        give(&sessions, &long, &ALICE);
        assert_eq!(show(&sessions, &long, &ALICE, 200), Ok(()));
        assert_eq!(show(&sessions, &long, &BOB, 200), Err(Denied::Session));
        assert_eq!(show(&sessions, &other, &BOB, 200), Ok(()));
    }

    #[test]
    fn what_is_only_shown_takes_no_memory() {
        let sessions = Sessions::default();
        for n in 0..100 {
            sessions.admit(&with(&n.to_string()), &BOB).unwrap();
        }
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn who_has_most_loses_first_what_it_used_least_recently() {
        let sessions = Sessions::default();
        give(&sessions, "alice", &ALICE);
        for n in 0..REMEMBERED + 9 {
            give(&sessions, &n.to_string(), &BOB);
            // Its first one is in use all the time.
            assert_eq!(show(&sessions, "0", &BOB, 200), Ok(()));
        }
        assert_eq!(sessions.len(), REMEMBERED);
        let known = sessions.lock();
        assert_eq!(known.held.values().map(BTreeMap::len).sum::<usize>(), REMEMBERED);
        for (id, is_known) in
            [("alice", true), ("0", true), ("1", false), ("10", false), ("11", true)]
        {
            assert_eq!(known.owners.contains_key(&key(id)), is_known, "{id}");
        }
    }
}
