//! Who takes their time: they cost what they hold and no more, and nobody waits for them.

use std::time::{Duration, Instant};

use super::{super::Scene, get};
use crate::support::{
    script::{Fault, Reply, Rule},
    sidecar::A_WHILE,
};

/// A limit short enough to wait for; nothing that is good comes near it.
const SHORT: &str = "700ms";

#[test]
fn a_head_that_dribbles_is_not_waited_for() {
    let scene = Scene::obliging(&["--header-timeout", SHORT]);
    // On a new connection, and after a request that was good.
    for good in [false, true] {
        let mut line = scene.sidecar.connect();
        if good {
            line.write(get("Host: localhost"));
            assert_eq!(line.answer().status, 200);
        }
        let started = Instant::now();
        line.write("GET /mcp/dribbled HTTP/1.1\r\nHost: localhost\r\n");
        while line.send("X-A: b\r\n").is_ok() {
            assert!(started.elapsed() < Duration::from_secs(10), "still served");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(started.elapsed() >= Duration::from_millis(600), "{:?}", started.elapsed());
    }
    scene.goes_on();
    assert_eq!(scene.seen(), ["/mcp"]);
    assert_eq!(scene.sidecar.finish(), ["slow"; 2]);
}

#[test]
fn a_caller_who_says_nothing_is_let_go_without_a_word() {
    let scene = Scene::obliging(&["--header-timeout", SHORT]);
    let mut silent = scene.sidecar.connect();
    let mut idle = scene.sidecar.connect();
    idle.write(get("Host: localhost"));
    assert_eq!(idle.answer().status, 200);
    assert!(silent.is_closed());
    assert!(idle.is_closed());
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn a_body_that_never_comes_is_answered_for() {
    let scene = Scene::obliging(&["--body-timeout", SHORT]);
    for (lines, part) in [
        ("Content-Length: 9", ""),
        ("Content-Length: 9", "half"),
        ("Transfer-Encoding: chunked", "4\r\nhalf\r\n"),
    ] {
        let mut line = scene.sidecar.connect();
        line.write(format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n{part}"));
        // Others do not wait for it.
        scene.goes_on();
        let answer = line.answer();
        assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
        assert!(line.is_closed());
    }
    assert_eq!(scene.seen(), [""; 0]);
    assert_eq!(scene.sidecar.finish(), ["unread"; 3]);
}

/// The upstream's bytes stay with the upstream: what is held here is a few windows, not the answer.
#[test]
fn a_caller_who_never_reads_costs_no_memory_and_no_one_elses_time() {
    const SIZE: usize = 64 << 20;
    let scene = Scene::new(&[]);
    let big = Rule::matching(|seen| seen.path == "/mcp/big").times(4);
    scene.upstream.script(big, Fault::Answer(Reply::new(200).body(vec![b'x'; SIZE])));
    let reply = Reply::json(200, &serde_json::json!({"from": "upstream"}));
    scene.upstream.script(Rule::next().always(), Fault::Answer(reply));
    scene.goes_on();
    let before = scene.sidecar.process.rss();
    let mut lines: Vec<_> = (0..4).map(|_| scene.sidecar.connect()).collect();
    for line in &mut lines {
        line.write("GET /mcp/big HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(line.head().status, 200);
    }
    let until = Instant::now() + A_WHILE;
    while Instant::now() < until {
        scene.goes_on();
    }
    let grown = scene.sidecar.process.peak_rss().saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB for callers who read nothing of 256 MiB");
    // Who reads after all gets all of it.
    let mut line = lines.pop().unwrap();
    assert_eq!(line.body(SIZE).len(), SIZE);
    drop((line, lines));
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn a_caller_who_takes_nothing_of_an_answer_is_let_go() {
    for http in ["1.1", "2"] {
        let limits = ["--body-timeout", SHORT, "--max-requests", "1", "--http", http];
        let scene = Scene::new(&limits);
        let big = Fault::Answer(Reply::new(200).body(vec![b'x'; 64 << 20]));
        scene.upstream.script(Rule::next(), big);
        let reply = Reply::json(200, &serde_json::json!({"from": "upstream"}));
        scene.upstream.script(Rule::next().always(), Fault::Answer(reply));
        let mut line = scene.sidecar.connect();
        line.write(get("Host: localhost"));
        assert_eq!(line.head().status, 200);
        // There is room for one request alone, and it is given back.
        scene.goes_on();
        line.ends();
        assert_eq!(scene.sidecar.finish(), ["stuck"]);
    }
}
