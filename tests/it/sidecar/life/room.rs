//! How much at a time: what is beyond waits a little or is sent away with a time to come back, and
//! never piles up.

use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::json;

use super::{
    super::{GOOD, Scene, call, get},
    held,
};

#[test]
fn a_connection_too_many_is_told_to_come_back() {
    let scene = Scene::obliging(&["--max-connections", "1"]);
    let mut only = scene.sidecar.connect();
    only.write(GOOD);
    assert_eq!(only.answer().status, 200);
    for _ in 0..3 {
        let mut line = scene.sidecar.connect();
        let answer = line.answer();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert!(line.is_closed());
    }
    only.write(GOOD);
    assert_eq!(only.answer().status, 200);
    drop(only);
    // Its place is free as soon as its end was noticed.
    let until = Instant::now() + Duration::from_secs(10);
    let mut sent_away = 3;
    while scene.sidecar.ask(GOOD).status != 200 {
        sent_away += 1;
        assert!(Instant::now() < until);
    }
    assert_eq!(scene.sidecar.finish(), vec!["connections"; sent_away]);
}

#[test]
fn a_request_waits_for_its_turn_and_not_for_ever() {
    let scene = Scene::new(&["--max-requests", "1"]);
    let session = scene.session();
    let mut calls = held(&scene, &session, "end", 1);
    let started = Instant::now();
    let answer = scene.sidecar.ask(call(&session, "count", &json!({"n": 1})));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    assert!(started.elapsed() >= Duration::from_secs(4), "{:?}", started.elapsed());
    let mut waiting = scene.sidecar.connect();
    waiting.write(call(&session, "count", &json!({"n": 2})));
    assert!(waiting.is_silent(Duration::from_millis(200)));
    scene.upstream.release("end");
    assert_eq!(waiting.answer().status, 200);
    assert_eq!(calls.remove(0).answer().status, 200);
    assert_eq!((scene.upstream.ran(1), scene.upstream.ran(2)), (0, 1));
    assert_eq!(scene.sidecar.finish(), ["busy"]);
}

/// The guard comes before the queue: who may not ask takes nobody's turn.
#[test]
fn a_full_house_refuses_as_quickly_as_an_empty_one() {
    let scene = Scene::new(&["--max-requests", "1"]);
    let session = scene.session();
    let calls = held(&scene, &session, "end", 1);
    let started = Instant::now();
    assert_eq!(scene.sidecar.ask(get("Host: evil.example")).status, 421);
    assert!(started.elapsed() < Duration::from_secs(4));
    drop(calls);
    scene.upstream.release("end");
    assert_eq!(scene.sidecar.finish(), ["host"]);
}

/// How long the queue is waited in.
const PATIENCE: Duration = Duration::from_secs(5);

/// 1,024 wait; those beyond are sent away while they do.
#[test]
fn what_is_beyond_the_queue_is_sent_away_at_once() {
    const QUEUE: usize = 1024;
    const BEYOND: usize = 100;
    let scene = Scene::new(&["--max-requests", "1"]);
    let session = scene.session();
    let mut calls = held(&scene, &session, "end", 1);
    let connections: Vec<_> = (0..5).map(|_| scene.sidecar.connect_two()).collect();
    let asked: Vec<_> = (0..QUEUE + BEYOND)
        .map(|number| {
            let two = &connections[number % connections.len()];
            let mut sender = two.sender();
            let request = Request::get("http://localhost/mcp").body(Full::default()).unwrap();
            two.runtime.spawn(async move {
                let started = Instant::now();
                let answer = sender.send_request(request).await.unwrap();
                let told = answer.headers().get("retry-after").is_some_and(|it| it == "1");
                let status = answer.status().as_u16();
                assert!(status != 503 || told);
                answer.into_body().collect().await.unwrap();
                (status, started.elapsed())
            })
        })
        .collect();
    let answers: Vec<(u16, Duration)> =
        asked.into_iter().map(|asked| connections[0].runtime.block_on(asked).unwrap()).collect();
    assert!(answers.iter().all(|(status, _)| *status == 503));
    // Who waits in the queue waits for all of its time; a machine that is busy may be slow to tell
    // those beyond it.
    let at_once = answers.iter().filter(|(_, after)| *after < PATIENCE).count();
    assert!((1..=BEYOND).contains(&at_once), "{at_once}");
    scene.upstream.release("end");
    assert_eq!(calls.remove(0).answer().status, 200);
    assert_eq!(scene.upstream.seen().len(), 2, "the session and the call");
    assert_eq!(scene.sidecar.finish(), vec!["busy"; QUEUE + BEYOND]);
}
