//! Clients that do not read: memory stays bounded, nothing blocks, and what was written comes.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{DEADLINE, Process, Stream},
    script::{Fault, Rule},
    upstream::Upstream,
};

/// Waits until it reads nothing more, for as long as it likes: half a second of silence.
fn settle(process: &Process) {
    let until = Instant::now() + DEADLINE;
    let (mut read, mut since) = (process.bytes_read(), Instant::now());
    while since.elapsed() < Duration::from_millis(500) && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
        let now = process.bytes_read();
        if now != read {
            (read, since) = (now, Instant::now());
        }
    }
}

/// An event stream of 64 notifications of 1 MiB, then the response to `id`.
fn flood(id: u64) -> Vec<u8> {
    let text = "x".repeat(1024 * 1024);
    let notice =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":"{text}"}}"#);
    let mut events = format!("data: {notice}\n\n").repeat(64);
    events.push_str(&format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n\n"));
    events.into_bytes()
}

#[test]
fn a_client_that_does_not_read_costs_bounded_memory_and_gets_all_of_it() {
    for http in ["1.1", "2"] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        upstream.script(Rule::call("flood"), Fault::sse_text(flood(2)));
        let program = Client::bridge(&pki, &upstream).args(["--http", http]);
        let mut client = Client::start(&program.unread(Stream::Stdout));
        let opening = client.initialize("2025-11-25");
        upstream.wait_for_method("initialize");
        client.notify("notifications/initialized", Value::Null);
        upstream.wait_for_listener();
        let before = client.process.rss();
        let flooded = client.call("flood", json!({}));
        let others: Vec<Value> = (0..5).map(|n| client.call("echo", json!({"n": n}))).collect();
        upstream
            .wait_for(|seen| seen.iter().filter(|seen| seen.tool() == Some("echo")).count() == 5);
        settle(&client.process);
        client.process.read(Stream::Stdout);
        client.result(&opening);
        client.result(&flooded);
        others.iter().for_each(|id| drop(client.result(id)));
        let grown = client.process.peak_rss() - before;
        assert!(grown < 16 * 1024, "HTTP/{http}: {grown} KiB more");
        assert_eq!(client.finish().len(), 64);
    }
}

#[test]
fn a_client_that_never_reads_stderr_is_served() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).args(["--debug", "-vvv"]);
    let mut client = Client::start(&program.unread(Stream::Stderr));
    client.handshake();
    for n in 0..300 {
        assert_eq!(client.tool("echo", json!({"n": n})), json!({"n": n}));
    }
    client.process.read(Stream::Stderr);
    assert_eq!(client.finish(), [] as [Value; 0]);
}
