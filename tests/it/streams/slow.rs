//! Upstreams that take their time: as much as they want while bytes come, the idle limit if none
//! do, and then the call is given up on both sides.

use std::time::Duration;

use serde_json::{Value, json};

use super::{HTTP, connected, hint, message};
use crate::support::{
    pki::Pki,
    script::{Fault, Form, Rule},
    upstream::Upstream,
};

const LATE: Duration = Duration::from_secs(600);

#[test]
fn a_head_that_comes_byte_by_byte_or_is_huge_is_a_head() {
    let pause = Duration::from_millis(3);
    let giant = || Fault::Header("x-giant", "x".repeat(40 * 1024));
    for http in HTTP {
        for fault in [Fault::SlowHead { bytes: 60, pause }, Fault::LateHead(50 * pause), giant()] {
            let pki = Pki::new();
            let upstream = Upstream::mutual(&pki);
            let mut client = connected(&pki, &upstream, &["--http", http]);
            upstream.script(Rule::call("echo"), fault);
            assert_eq!(client.tool("echo", json!({"a": 1})), json!({"a": 1}));
        }
    }
}

#[test]
fn a_head_without_bounds_is_refused_and_the_next_call_works() {
    for http in HTTP {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = connected(&pki, &upstream, &["--http", http]);
        let giant = Fault::Header("x-giant", "x".repeat(8 * 1024 * 1024));
        upstream.script(Rule::call("count"), giant);
        let id = client.call("count", json!({"n": 1}));
        let error = client.error(&id);
        assert!(message(&error).contains("may have run"), "{error}");
        assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1);
        assert_eq!(upstream.ran(1), 1);
    }
}

#[test]
fn a_call_without_a_byte_is_given_up_here_and_cancelled_there() {
    for http in HTTP {
        for fault in
            [Fault::Stall, Fault::RunThenStall, Fault::LateHead(LATE), Fault::StallAt { at: 10 }]
        {
            let pki = Pki::new();
            let upstream = Upstream::mutual(&pki);
            let arguments = ["--http", http, "--idle-timeout", "600ms"];
            let mut client = connected(&pki, &upstream, &arguments);
            upstream.script(Rule::call("count"), fault);
            let id = client.call("count", json!({"n": 1}));
            let error = client.error(&id);
            assert!(message(&error).contains("no byte for 600ms"), "{error}");
            assert!(hint(&error).contains("--idle-timeout"), "{error}");
            let cancelled = upstream.wait_for_method("notifications/cancelled");
            assert_eq!(cancelled.json()["params"]["requestId"], id);
            assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1);
            assert_eq!(upstream.posts("tools/call").len(), 2);
            assert_eq!(client.finish(), [] as [Value; 0]);
        }
    }
}

#[test]
fn an_event_stream_that_falls_silent_is_left() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream, &["--idle-timeout", "600ms"]);
    let id = client.call_with_progress("progress", json!({"steps": 1, "gate": "never"}));
    client.notification("notifications/progress");
    assert!(message(&client.error(&id)).contains("no byte for 600ms"));
    upstream.wait_until_left(&upstream.wait_for_method("tools/call"));
    upstream.wait_for_method("notifications/cancelled");
}

#[test]
fn the_streams_own_silence_is_no_fault() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).form(Form::Sse).start();
    let mut client = connected(&pki, &upstream, &["--idle-timeout", "300ms"]);
    // Three idle limits long no one says anything on the GET stream.
    for _ in 0..3 {
        upstream.script(Rule::call("echo"), Fault::Stall);
        let id = client.call("echo", json!({}));
        client.error(&id);
    }
    assert_eq!(upstream.notify("notifications/message", &json!({})), 1);
    client.notification("notifications/message");
    let gets = upstream.seen().into_iter().filter(|seen| seen.method == http::Method::GET);
    assert_eq!(gets.count(), 1);
}

#[test]
fn a_call_that_the_client_cancels_is_cancelled_there() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = connected(&pki, &upstream, &[]);
    let id = client.call("wait", json!({"gate": "never"}));
    upstream.wait_for_method("tools/call");
    client.notify("notifications/cancelled", json!({"requestId": id}));
    let cancelled = upstream.wait_for_method("notifications/cancelled");
    assert_eq!(cancelled.json()["params"]["requestId"], id);
    assert_eq!(client.finish(), [] as [Value; 0]);
}
