//! Whose an upstream session is: the id that one caller was given is of no use to another.
//!
//! Upstream, all callers are one: the sidecar's credentials are the same for all of them. What tells
//! them apart is here, and only here. An id that nobody here was given (another replica may have
//! carried that reply) belongs to the first who shows it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::{guard::Denied, peer::Identity};

/// MCP 2025-11-25, basic/transports, "Session Management".
pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Sessions that are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 16 * 1024;
/// No server's ids are longer.
const LONGEST: usize = 1024;

/// The sessions of one route.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Known>);

#[derive(Default)]
struct Known {
    owners: HashMap<Box<[u8]>, Identity>,
    /// From the oldest on.
    order: VecDeque<Box<[u8]>>,
}

impl Sessions {
    /// Whether `identity` may use the session that a request names, if it names one.
    pub(super) fn admit(&self, headers: &HeaderMap, identity: &Identity) -> Result<(), Denied> {
        let mut ids = headers.get_all(SESSION).iter();
        let Some(id) = ids.next() else { return Ok(()) };
        if ids.next().is_some() || id.len() > LONGEST {
            return Err(Denied::Session);
        }
        if *self.lock().owner(id.as_bytes(), identity) == *identity {
            Ok(())
        } else {
            Err(Denied::Session)
        }
    }

    /// Notes the session that a response gives to `identity`, or that it ends.
    pub(super) fn note(
        &self,
        method: &Method,
        status: StatusCode,
        (asked, given): (Option<&[u8]>, &HeaderMap),
        identity: &Identity,
    ) {
        if let Some(id) = given.get(SESSION).filter(|id| id.len() <= LONGEST) {
            self.lock().owner(id.as_bytes(), identity);
        }
        let ended = *method == Method::DELETE && status.is_success();
        if let Some(id) = asked.filter(|_| ended) {
            self.lock().forget(id);
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

impl Known {
    /// The owner of a session: `identity`, if it has none yet.
    fn owner(&mut self, id: &[u8], identity: &Identity) -> &Identity {
        if !self.owners.contains_key(id) {
            if self.order.len() == REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.owners.remove(&oldest);
            }
            self.order.push_back(id.into());
        }
        self.owners.entry(id.into()).or_insert_with(|| identity.clone())
    }

    fn forget(&mut self, id: &[u8]) {
        if self.owners.remove(id).is_some() {
            self.order.retain(|known| **known != *id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;

    use super::*;

    const ALICE: Identity = Identity::User(1);
    const BOB: Identity = Identity::User(2);

    fn with(id: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(SESSION, HeaderValue::from_static(id))])
    }

    #[test]
    fn a_session_is_for_who_was_given_it() {
        let sessions = Sessions::default();
        sessions.note(&Method::POST, StatusCode::OK, (None, &with("a")), &ALICE);
        assert_eq!(sessions.admit(&with("a"), &ALICE), Ok(()));
        assert_eq!(sessions.admit(&with("a"), &BOB), Err(Denied::Session));
        assert_eq!(sessions.admit(&HeaderMap::new(), &BOB), Ok(()));
        // One that another replica gave.
        assert_eq!(sessions.admit(&with("b"), &BOB), Ok(()));
        assert_eq!(sessions.admit(&with("b"), &ALICE), Err(Denied::Session));
    }

    #[test]
    fn a_session_that_was_ended_is_forgotten_and_one_that_was_not_is_kept() {
        let sessions = Sessions::default();
        let nothing = HeaderMap::new();
        sessions.note(&Method::POST, StatusCode::OK, (None, &with("a")), &ALICE);
        sessions.note(
            &Method::DELETE,
            StatusCode::METHOD_NOT_ALLOWED,
            (Some(b"a"), &nothing),
            &ALICE,
        );
        assert_eq!(sessions.len(), 1);
        sessions.note(&Method::DELETE, StatusCode::OK, (Some(b"a"), &nothing), &ALICE);
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn two_ids_in_a_request_are_none() {
        let mut two = with("a");
        two.append(SESSION, HeaderValue::from_static("b"));
        assert_eq!(Sessions::default().admit(&two, &ALICE), Err(Denied::Session));
    }

    #[test]
    fn memory_is_bounded() {
        let sessions = Sessions::default();
        for n in 0..REMEMBERED + 10 {
            let id = HeaderValue::from(n);
            sessions.admit(&HeaderMap::from_iter([(SESSION, id)]), &ALICE).unwrap();
        }
        assert_eq!(sessions.len(), REMEMBERED);
        assert_eq!(sessions.0.lock().unwrap().order.len(), REMEMBERED);
    }
}
