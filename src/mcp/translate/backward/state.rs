//! `requestState`: which held call a retry goes on with, sealed so that nobody else can make one, and
//! bound to what was called (2026-07-28 patterns/mrtr, "Server Requirements" 4 and 5).
//!
//! A state is a ticket and its seal. It lives as long as its ticket is held, and is good for one retry:
//! that is looked up, not written into it.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::mcp::message::Message;

/// Makes states and knows them again.
pub(super) struct Seal(hmac::Key);

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The state for `ticket`, good for a request like `message` alone; none where the parameters of
    /// that can't be compared.
    pub(super) fn state(&self, ticket: u64, method: &str, message: &Message) -> Option<String> {
        let sealed = sealed(ticket, method, message)?;
        let seal = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &sealed));
        Some(format!("{ticket}.{seal}"))
    }

    /// The ticket of a state that was made here, for a request like `message`.
    pub(super) fn ticket(&self, state: &str, method: &str, message: &Message) -> Option<u64> {
        let (ticket, seal) = state.split_once('.')?;
        let ticket = ticket.parse().ok()?;
        let seal = BASE64_URL_SAFE_NO_PAD.decode(seal).ok()?;
        hmac::verify(&self.0, &sealed(ticket, method, message)?, &seal).ok()?;
        Some(ticket)
    }
}

/// What a seal stands for: the ticket, the method and what is asked of it. `_meta` is no part of that:
/// a retry is a request of its own, with a progress token of its own.
fn sealed(ticket: u64, method: &str, message: &Message) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        params: &'a RawValue,
    }
    let request: Request<'_> = serde_json::from_slice(message.bytes()).ok()?;
    // Its members are sorted: a client may write them in another order the second time.
    let mut params: Value = serde_json::from_str(request.params.get()).ok()?;
    let members = params.as_object_mut()?;
    for name in ["_meta", "inputResponses", "requestState"] {
        members.remove(name);
    }
    params.sort_all_objects();
    let mut sealed = ticket.to_be_bytes().to_vec();
    sealed.extend((method.len() as u64).to_be_bytes());
    sealed.extend(method.as_bytes());
    sealed.extend(params.to_string().as_bytes());
    Some(sealed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;

    fn message(params: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
        Message::parse(Bytes::from(text)).unwrap()
    }

    /// patterns/mrtr, "Server Requirements" 4 and 5.
    #[test]
    fn a_state_is_good_for_the_call_that_it_was_made_for() {
        let seal = Seal::new(&[7; 32]);
        let params = r#"{"name":"run","arguments":{"a":1,"b":[2.5]},"_meta":{"progressToken":1}}"#;
        let state = seal.state(9, "tools/call", &message(params)).unwrap();
        let retry = r#"{"requestState":"x","inputResponses":{},"_meta":{"progressToken":2},"arguments":{"b":[2.5],"a":1},"name":"run"}"#;
        let good = |method: &str, params: &str| seal.ticket(&state, method, &message(params));
        assert_eq!(good("tools/call", params), Some(9));
        assert_eq!(good("tools/call", retry), Some(9), "in another order");
        assert_eq!(good("prompts/get", params), None, "another method");
        for other in [
            r#"{"name":"run","arguments":{"a":2,"b":[2.5]}}"#,
            r#"{"name":"run"}"#,
            r#"{"name":"run","arguments":{"a":1,"b":[2.5]},"x":1}"#,
            "[]",
        ] {
            assert_eq!(good("tools/call", other), None, "{other}");
        }
        let other = Seal::new(&[8; 32]);
        assert_eq!(other.ticket(&state, "tools/call", &message(params)), None, "another key");
    }

    proptest::proptest! {
        #[test]
        fn no_other_text_is_a_state(at in 0_usize..44, byte in b' '..b'~', any in ".{0,60}") {
            let seal = Seal::new(&[7; 32]);
            let message = message(r#"{"name":"run"}"#);
            let state = seal.state(9, "tools/call", &message).unwrap();
            let mut changed = state.clone().into_bytes();
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            let known = seal.ticket(&changed, "tools/call", &message);
            proptest::prop_assert_eq!(known.is_some(), changed == state);
            proptest::prop_assert_eq!(seal.ticket(&any, "tools/call", &message), None);
        }
    }
}
