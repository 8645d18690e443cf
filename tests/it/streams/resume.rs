//! A stream that ends or breaks before its answer is continued by GET, never by a second POST;
//! where that can't be done, the outcome is unknown.

use std::time::Duration;

use serde_json::{Value, json};

use super::{HTTP, connected, hint, message};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Ending, Fault, Lost, Rule},
    upstream::{Seen, Upstream},
};

const RETRY: Duration = Duration::from_millis(250);

fn resumable(pki: &Pki) -> Upstream {
    Upstream::options(pki).resumable(Some(RETRY)).start()
}

/// A GET that continues a call's stream, not the session's own.
fn continues(seen: &Seen) -> bool {
    seen.header("last-event-id").is_some_and(|id| id.starts_with("stream-"))
}

fn continued(upstream: &Upstream) -> Vec<Seen> {
    let mut seen = upstream.seen();
    seen.retain(continues);
    seen
}

/// Calls `progress` with three steps; each must come once, in order, and then the result.
#[track_caller]
fn assert_whole(client: &mut Client) {
    let id = client.call_with_progress("progress", json!({"steps": 3}));
    client.result(&id);
    let of_call =
        |message: &&Value| message["params"]["progressToken"] == id || message["id"] == id;
    let came: Vec<&Value> = client.received().iter().filter(of_call).collect();
    let steps: Vec<&Value> = came.iter().map(|message| &message["params"]["progress"]).collect();
    assert_eq!(steps, [&json!(1), &json!(2), &json!(3), &Value::Null], "{came:?}");
}

#[test]
fn a_stream_that_was_closed_goes_on_after_the_pause_that_the_server_asked_for() {
    for http in HTTP {
        let pki = Pki::new();
        let upstream = resumable(&pki);
        let mut client = connected(&pki, &upstream, &["--http", http]);
        upstream.script(Rule::call("progress"), Fault::EndAfterEvents(2));
        assert_whole(&mut client);
        let call = upstream.wait_for_method("tools/call");
        let [get] = &*continued(&upstream) else { panic!("one continuation") };
        assert!(get.at - call.at >= RETRY, "{:?}", get.at - call.at);
        assert_eq!(
            (get.session(), get.header("accept")),
            (call.session(), Some("text/event-stream"))
        );
        assert_eq!(upstream.posts("tools/call").len(), 1);
    }
}

#[test]
fn a_server_that_closes_every_time_is_polled() {
    let pki = Pki::new();
    let upstream = resumable(&pki);
    let mut client = connected(&pki, &upstream, &[]);
    // The priming event alone: nothing is gained, and still it is no failure.
    upstream.script(Rule::call("progress"), Fault::EndAfterEvents(1));
    upstream.script(Rule::matching(continues).times(4), Fault::EndAfterEvents(1));
    assert_whole(&mut client);
    let gets = continued(&upstream);
    assert_eq!(gets.len(), 5);
    assert!(gets.windows(2).all(|pair| pair[1].at - pair[0].at >= RETRY), "{gets:?}");
}

#[test]
fn a_stream_that_was_cut_anywhere_gives_each_message_once() {
    // Within the priming event, after it, within and between the events that follow.
    for at in [45, 60, 100, 170, 260, 400] {
        let pki = Pki::new();
        let upstream = resumable(&pki);
        let mut client = connected(&pki, &upstream, &[]);
        let ending = if at % 20 == 0 { Ending::Reset } else { Ending::NoNotify };
        upstream.script(Rule::call("progress"), Fault::Cut { at, ending });
        assert_whole(&mut client);
        assert_eq!((continued(&upstream).len(), upstream.posts("tools/call").len()), (1, 1));
        assert_eq!(client.finish().len(), 3, "the three steps, and nothing that came late");
    }
}

#[test]
fn a_continuation_that_is_cut_is_continued() {
    let pki = Pki::new();
    let upstream = resumable(&pki);
    let mut client = connected(&pki, &upstream, &["--http", "1.1"]);
    upstream.script(Rule::call("progress"), Fault::EndAfterEvents(2));
    upstream.script(Rule::matching(continues), Fault::Cut { at: 170, ending: Ending::NoNotify });
    upstream.script(Rule::matching(continues), Fault::Hangup(Ending::Reset));
    assert_whole(&mut client);
    assert_eq!(continued(&upstream).len(), 3);
}

/// Calls `progress` under this fault; the error.
fn broken(client: &mut Client, upstream: &Upstream, fault: Fault) -> Value {
    upstream.script(Rule::call("progress"), fault);
    let id = client.call_with_progress("progress", json!({"steps": 3}));
    let error = client.error(&id);
    assert_eq!(upstream.posts("tools/call").len(), 1, "{error}");
    error
}

#[test]
fn a_continuation_that_is_refused_leaves_the_outcome_unknown() {
    for status in [400, 404, 405] {
        let pki = Pki::new();
        let upstream = resumable(&pki);
        let mut client = connected(&pki, &upstream, &[]);
        upstream.script(Rule::matching(continues), Fault::status(status));
        let error = broken(&mut client, &upstream, Fault::EndAfterEvents(2));
        assert!(message(&error).contains("outcome unknown"), "{error}");
        assert!(message(&error).contains(&status.to_string()), "{error}");
        assert_whole(&mut client);
    }
}

#[test]
fn a_continuation_that_is_refused_for_now_is_asked_for_again() {
    for status in [409, 503] {
        let pki = Pki::new();
        let upstream = resumable(&pki);
        let mut client = connected(&pki, &upstream, &[]);
        upstream.script(Rule::call("progress"), Fault::EndAfterEvents(2));
        upstream.script(Rule::matching(continues), Fault::status(status));
        assert_whole(&mut client);
        assert_eq!((continued(&upstream).len(), upstream.posts("tools/call").len()), (2, 1));
    }
}

#[test]
fn a_session_that_is_lost_in_the_middle_of_a_stream_leaves_the_outcome_unknown() {
    let pki = Pki::new();
    let upstream = resumable(&pki);
    let mut client = connected(&pki, &upstream, &[]);
    upstream.script(Rule::matching(continues), Fault::Lost(Lost::NotFound));
    let error = broken(&mut client, &upstream, Fault::EndAfterEvents(2));
    assert!(message(&error).contains("outcome unknown"), "{error}");
    client.notification("notifications/tools/list_changed");
    assert_whole(&mut client);
    assert_eq!(upstream.posts("initialize").len(), 2);
}

#[test]
fn a_stream_without_event_ids_can_not_be_continued() {
    let cut = Fault::Cut { at: 150, ending: Ending::Reset };
    for (fault, said) in [(Fault::EndAfterEvents(1), "without answering"), (cut, "outcome unknown")]
    {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = connected(&pki, &upstream, &[]);
        let error = broken(&mut client, &upstream, fault);
        assert!(message(&error).contains(said), "{error}");
        assert!(hint(&error).contains("may have run"), "{error}");
        assert!(continued(&upstream).is_empty());
        assert_whole(&mut client);
    }
}
