//! What may have run is answered as such, and never sent again.

use serde_json::{Value, json};

use super::without_stream;
use crate::support::{
    pki::Pki,
    script::{Ending, Fault, Rule, Wire},
    upstream::Upstream,
};

/// Calls `count` once under this fault; the error that the client saw, and how often it ran.
fn under(http: &str, fault: Fault) -> (Value, usize) {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = without_stream(&pki, &upstream, http);
    upstream.script(Rule::call("count"), fault);
    let id = client.call("count", json!({"n": 1}));
    let error = client.error(&id);
    let sent = upstream.posts("tools/call").len();
    assert_eq!(sent, 1, "it was sent {sent} times: {error}");
    assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1, "the next call works");
    assert_eq!(client.finish(), [] as [Value; 0]);
    (error, upstream.ran(1))
}

#[track_caller]
fn assert_unknown(error: &Value) {
    assert!(error["message"].as_str().unwrap().contains("outcome unknown"), "{error}");
    assert_eq!(error["data"]["stage"], "send", "{error}");
    assert!(error["data"]["hint"].as_str().unwrap().contains("may have run"), "{error}");
}

const ENDINGS: [Ending; 3] = [Ending::CloseNotify, Ending::NoNotify, Ending::Reset];

#[test]
fn a_connection_that_ends_without_an_answer_leaves_the_outcome_unknown() {
    for http in ["1.1", "2"] {
        for ending in ENDINGS {
            let (error, ran) = under(http, Fault::RunThenHangup(ending));
            assert_unknown(&error);
            assert_eq!(ran, 1, "{http} {ending:?}");
            // The client can't tell that this one did not run; it must not guess.
            let (error, ran) = under(http, Fault::Hangup(ending));
            assert_unknown(&error);
            assert_eq!(ran, 0, "{http} {ending:?}");
        }
    }
}

#[test]
fn an_answer_that_breaks_off_leaves_the_outcome_unknown() {
    for http in ["1.1", "2"] {
        for ending in ENDINGS {
            for at in [0, 10] {
                let (error, ran) = under(http, Fault::Cut { at, ending });
                assert_unknown(&error);
                assert_eq!(ran, 1, "{http} {ending:?} {at}");
            }
        }
    }
}

#[test]
fn an_answer_that_ends_early_may_have_run() {
    for http in ["1.1", "2"] {
        let (error, ran) = under(http, Fault::Truncate { at: 10 });
        assert!(error["data"]["hint"].as_str().unwrap().contains("may have run"), "{error}");
        assert_eq!(ran, 1, "{http}");
    }
}

#[test]
fn a_request_that_was_reset_unread_may_have_run_for_all_that_can_be_seen() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = without_stream(&pki, &upstream, "1.1");
    upstream.wire(Wire::ResetUnread);
    let id = client.call("count", json!({"n": 1}));
    assert_unknown(&client.error(&id));
    assert_eq!((upstream.ran(1), upstream.posts("tools/call").len()), (0, 0));
    assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1);
}
