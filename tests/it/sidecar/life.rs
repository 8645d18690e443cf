//! Leaving, and changing certificates, in the middle of everything: nothing that was accepted is
//! lost, nothing is sent twice, and the process goes when it was told to.

mod load;
mod room;

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use self::load::Load;
use super::{Scene, call, streams::HTTP};
use crate::support::{
    process::DEADLINE,
    sidecar::{Line, rules},
};

const LEAVING: &str = "leaving: what is under way ends first";
const RELOADED: &str = "reloaded the TLS files: the client certificate is ";

/// Calls of `wait` that the upstream has begun, each on a connection of its own.
fn held(scene: &Scene, session: &str, gate: &str, count: usize) -> Vec<Line> {
    let begin = |_| {
        let mut line = scene.sidecar.connect();
        line.write(call(session, "wait", &json!({"gate": gate})));
        line
    };
    let lines = (0..count).map(begin).collect();
    scene
        .upstream
        .wait_for(|seen| seen.iter().filter(|it| it.tool() == Some("wait")).count() >= count);
    lines
}

#[test]
fn a_sidecar_that_is_told_to_leave_under_load_loses_no_request() {
    for http in HTTP {
        let scene = Scene::obliging(&["--http", http]);
        let load = Load::start(&scene.sidecar, 16, 4);
        scene.upstream.wait_for(|seen| seen.len() > 300);
        let mut process = scene.sidecar.process;
        process.signal(Signal::TERM);
        let done = load.join();
        assert_eq!(process.wait_exit(DEADLINE).code(), Some(0), "{}", process.transcript());
        assert_eq!(done.lost, [""; 0], "HTTP/{http}");
        // Each was carried once, and each was answered.
        let mut carried: Vec<_> = scene.upstream.seen().into_iter().map(|it| it.path).collect();
        let mut answered = done.answered;
        carried.sort();
        answered.sort();
        assert!(carried == answered, "{} carried, {} answered", carried.len(), answered.len());
        assert_eq!(rules(&process.stderr()), [""; 0]);
    }
}

#[test]
fn what_is_under_way_ends_with_its_answer_and_nothing_new_begins() {
    for http in HTTP {
        let scene = Scene::new(&["--http", http]);
        let session = scene.session();
        let calls = held(&scene, &session, "end", 20);
        let mut streaming = scene.sidecar.connect();
        streaming.write(call(&session, "progress", &json!({"steps": 1, "gate": "end"})));
        assert!(streaming.head().status == 200 && streaming.chunk().contains("progress"));
        let mut listening = scene.listen(&session);
        let address = scene.sidecar.address();
        let mut process = scene.sidecar.process;
        process.signal(Signal::TERM);
        process.wait_for_stderr(LEAVING);
        // Who listens is sent elsewhere, with a stream that ended as it should.
        assert_eq!(listening.try_chunk(), Some(None));
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < until, "it still accepts connections");
            thread::sleep(Duration::from_millis(2));
        }
        assert!(process.is_running());
        scene.upstream.release("end");
        for mut line in calls {
            let answer = line.answer();
            assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
            assert_eq!(answer.json()["result"]["structuredContent"], json!({"gate": "end"}));
        }
        assert!(streaming.chunk().contains("\"steps\":1"));
        assert_eq!(streaming.try_chunk(), Some(None));
        assert_eq!(process.wait_exit(DEADLINE).code(), Some(0));
        assert_eq!(rules(&process.stderr()), [""; 0]);
    }
}

/// A connection may have a request on its way that was sent before the news.
#[test]
fn a_request_that_crosses_the_news_on_its_way_is_answered() {
    let scene = Scene::obliging(&[]);
    let mut idle = scene.sidecar.connect();
    idle.write(super::GOOD);
    assert_eq!(idle.answer().header("connection"), None);
    let mut fresh = scene.sidecar.connect();
    scene.sidecar.process.signal(Signal::TERM);
    scene.sidecar.process.wait_for_stderr(LEAVING);
    for line in [&mut idle, &mut fresh] {
        line.write(super::GOOD);
    }
    for line in [&mut idle, &mut fresh] {
        let answer = line.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    let mut process = scene.sidecar.process;
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(0));
}

#[test]
fn a_second_signal_or_the_time_that_was_set_ends_it_with_what_is_left() {
    for (flags, again, word) in [
        (&["--drain-timeout", "1h"][..], true, "left at once: some requests had not ended"),
        (&["--drain-timeout", "500ms"][..], false, "some requests had not ended in time"),
    ] {
        let scene = Scene::new(flags);
        let session = scene.session();
        let mut calls = held(&scene, &session, "never", 3);
        let mut process = scene.sidecar.process;
        process.signal(Signal::TERM);
        process.wait_for_stderr(LEAVING);
        if again {
            assert!(calls[0].is_silent(Duration::from_millis(200)));
            process.signal(Signal::TERM);
        }
        let status = process.wait_exit(DEADLINE);
        assert_eq!(status.code(), Some(0));
        assert!(process.stderr().contains(word), "{}", process.transcript());
        assert!(calls.iter_mut().all(|line| line.try_answer().is_none()));
    }
}

#[test]
fn a_certificate_is_replaced_under_two_hundred_calls_and_none_fails() {
    for http in HTTP {
        let scene = Scene::new(&["--http", http]);
        let session = scene.session();
        let calls = held(&scene, &session, "end", 200);
        scene.pki.client.overwrite(&scene.pki.issue_client("second"));
        scene.sidecar.process.signal(Signal::HUP);
        scene.sidecar.process.wait_for_stderr(&format!("{RELOADED}CN=second"));
        let answer = scene.sidecar.ask(call(&session, "count", &json!({"n": 1})));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(scene.upstream.seen().last().unwrap().client.as_deref(), Some("CN=second"));
        scene.upstream.release("end");
        for mut line in calls {
            let answer = line.answer();
            assert_eq!(answer.status, 200, "HTTP/{http}: {answer:?}");
            assert_eq!(answer.json()["result"]["structuredContent"], json!({"gate": "end"}));
        }
        assert_eq!(scene.upstream.posts("tools/call").len(), 201);
        assert_eq!(scene.sidecar.finish(), [""; 0]);
    }
}

#[test]
fn certificates_that_come_and_go_under_load_fail_no_request() {
    for http in HTTP {
        let scene = Scene::obliging(&["--http", http]);
        let load = Load::start(&scene.sidecar, 8, 2);
        for name in ["first", "second", "third"] {
            scene.pki.client.overwrite(&scene.pki.issue_client(name));
            scene.sidecar.process.signal(Signal::HUP);
            scene.sidecar.process.wait_for_stderr(&format!("{RELOADED}CN={name}"));
            let known = format!("CN={name}");
            scene.upstream.wait_for_request(|seen| seen.client.as_deref() == Some(&known));
        }
        let done = load.stop();
        assert_eq!(done.lost, [""; 0], "HTTP/{http}");
        assert_eq!(scene.upstream.seen().len(), done.answered.len());
        assert_eq!(scene.sidecar.finish(), [""; 0]);
    }
}
