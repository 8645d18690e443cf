//! WebSocket (RFC 6455): a handshake as guarded as any request, and then whatever both sides say,
//! until one of them has enough. Both sides are tungstenite, or bytes where it would be too polite.

use std::{path::Path, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, handshake::derive_accept_key},
};

use super::{GOOD, Scene, get, streams::HTTP};
use crate::support::{
    process::DEADLINE,
    script::{Fault, Reply, Rule, Socket},
    sidecar::Line,
    upstream::Upstream,
};

/// The key of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// A limit short enough to wait for.
const SHORT: &str = "700ms";

/// A sidecar whose upstream opens a WebSocket to who asks for one, and answers 200 to the others.
fn scene(socket: Socket, flags: &[&str]) -> Scene {
    let scene = Scene::new(flags);
    let asks = Rule::matching(|seen| seen.header("upgrade").is_some()).always();
    scene.upstream.script(asks, Fault::Socket(socket));
    let reply = Reply::json(200, &serde_json::json!({"from": "upstream"}));
    scene.upstream.script(Rule::next().always(), Fault::Answer(reply));
    scene
}

/// The handshake, with these lines more.
fn handshake(lines: &str) -> String {
    get(&format!(
        "Host: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}{lines}"
    ))
}

/// A WebSocket that is open, as bytes.
#[track_caller]
fn open(scene: &Scene) -> Line {
    let mut line = scene.sidecar.connect();
    line.write(handshake(""));
    let head = line.head();
    assert_eq!((head.status, head.header("upgrade")), (101, Some("websocket")), "{head:?}");
    assert_eq!(
        head.header("sec-websocket-accept"),
        Some(&*derive_accept_key(KEY.as_bytes())),
        "{head:?}"
    );
    line
}

/// The same, as messages.
async fn connect(scene: &Scene, headers: &[(&'static str, &str)]) -> WebSocketStream<TcpStream> {
    let mut request = "ws://localhost/mcp/socket?a=b".into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(scene.sidecar.address()).await.unwrap();
    timeout(DEADLINE, client_async(request, stream)).await.unwrap().unwrap().0
}

/// The message comes back as it went.
async fn echoes(socket: &mut WebSocketStream<TcpStream>, message: Message) {
    socket.send(message.clone()).await.unwrap();
    let back = timeout(DEADLINE, socket.next()).await.unwrap().unwrap().unwrap();
    assert!(back == message, "{} bytes", back.len());
}

/// Waits until the upstream has no connection of a WebSocket any more.
#[track_caller]
fn ended(upstream: &Upstream) {
    upstream.wait("the end of a WebSocket", |record| {
        let asked = record.requests.iter().filter(|seen| seen.header("upgrade").is_some());
        let mut asked = asked.map(|seen| seen.connection).peekable();
        asked.peek()?;
        asked.all(|connection| !record.connections[connection].open).then_some(())
    });
}

/// The one line of the log that tells of a WebSocket; there is no other.
#[track_caller]
fn told(log: &Path) -> Value {
    let text = std::fs::read_to_string(log).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut sockets = lines.filter(|line| line["status"] == 101).collect::<Vec<_>>();
    assert_eq!(sockets.len(), 1, "{text}");
    sockets.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn messages_go_both_ways_after_a_handshake_with_our_credentials() {
    for http in HTTP {
        let scene = scene(Socket::Echo, &["--bearer", "env:TOKEN", "--http", http]);
        let theirs = [("authorization", "Bearer theirs"), ("cookie", "session=theirs")];
        let mut socket = connect(&scene, &theirs).await;
        let seen = scene.upstream.wait_for_request(|seen| seen.header("upgrade").is_some());
        assert_eq!(seen.client.as_deref(), Some("CN=client"));
        assert_eq!(seen.path, "/mcp/socket?a=b");
        assert_eq!(seen.header("authorization"), Some("Bearer canary"));
        assert_eq!(seen.header("cookie"), None);
        assert_eq!(
            seen.header("connection").map(str::to_ascii_lowercase).as_deref(),
            Some("upgrade")
        );
        assert_eq!(seen.header("sec-websocket-version"), Some("13"));
        // HTTP/2 has no such handshake, whatever else goes there by it.
        let alpn = scene.upstream.record().connections[seen.connection].alpn.clone();
        assert_eq!(alpn.as_deref(), Some("http/1.1"));

        for size in [0, 1, 125, 126, 65_536, 8 << 20] {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            echoes(&mut socket, Message::binary(bytes)).await;
        }
        echoes(&mut socket, Message::text("grüße")).await;
        socket.close(None).await.unwrap();
        while let Some(Ok(message)) = timeout(DEADLINE, socket.next()).await.unwrap() {
            assert!(message.is_close(), "{message}");
        }
        ended(&scene.upstream);
        scene.goes_on();
        assert_eq!(scene.sidecar.finish(), [""; 0]);
    }
}

#[test]
fn what_a_caller_sends_before_the_answer_arrives() {
    let scene = scene(Socket::Bytes, &[]);
    let mut line = scene.sidecar.connect();
    line.write(handshake("") + "early");
    assert_eq!(line.head().status, 101);
    assert_eq!(line.body(5), b"early");
    drop(line);
    ended(&scene.upstream);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn an_upstream_that_refuses_is_heard_and_the_connection_goes_on() {
    let scene = Scene::obliging(&[]);
    scene.upstream.clear_script();
    for status in [200, 403, 426, 503] {
        let reply = Reply::new(status).header("x-why", "no sockets here").body("no");
        scene.upstream.script(Rule::next(), Fault::Answer(reply));
    }
    let reply = Reply::json(200, &serde_json::json!({"from": "upstream"}));
    scene.upstream.script(Rule::next().always(), Fault::Answer(reply));
    let mut line = scene.sidecar.connect();
    for status in [200, 403, 426, 503] {
        line.write(handshake(""));
        let answer = line.answer();
        assert_eq!((answer.status, answer.header("x-why")), (status, Some("no sockets here")));
        assert_eq!((answer.header("proxy-status"), &*answer.text()), (None, "no"));
    }
    line.write(GOOD);
    assert_eq!(line.answer().status, 200);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn a_switch_to_what_nobody_asked_for_is_no_answer() {
    // HTTP/2 has no 101 at all.
    let scene = Scene::new(&["--http", "1.1"]);
    let switch =
        |to| Fault::Answer(Reply::new(101).header("connection", "upgrade").header("upgrade", to));
    for (request, to) in [
        (handshake(""), "h2c"),
        (get("Host: localhost"), "websocket"),
        (get("Host: localhost\r\nConnection: upgrade\r\nUpgrade: h2c"), "h2c"),
    ] {
        scene.upstream.script(Rule::next(), switch(to));
        let answer = scene.sidecar.ask(&request);
        assert_eq!(answer.status, 502, "{request:?}: {answer:?}");
        assert_eq!(answer.json()["error"]["data"]["stage"], "protocol");
    }
    assert!(scene.upstream.seen()[1..].iter().all(|seen| seen.header("upgrade").is_none()));
    assert_eq!(scene.sidecar.finish(), ["protocol"; 3]);
}

/// The pages of a browser may open WebSockets to any host, and no one asks us before (no CORS).
#[test]
fn a_page_of_another_origin_gets_no_socket() {
    let scene = scene(Socket::Echo, &[]);
    scene.refuses(handshake("\r\nOrigin: https://evil.example"), 403);
    scene.refuses(handshake("").replace("localhost", "evil.example"), 421);
    let mut line = scene.sidecar.connect();
    line.write(handshake("\r\nOrigin: http://localhost:3000"));
    assert_eq!(line.head().status, 101);
    drop(line);
    ended(&scene.upstream);
    assert_eq!(scene.sidecar.finish(), ["origin", "host"]);
}

#[test]
fn who_says_no_more_still_hears_the_last_words() {
    let scene = scene(Socket::Bytes, &[]);
    let mut line = open(&scene);
    line.write("some words");
    assert_eq!(line.body(10), b"some words");
    line.close_writing();
    assert_eq!(line.body(11), b" and an end");
    assert!(line.is_closed());
    ended(&scene.upstream);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn either_side_that_goes_takes_the_other_with_it() {
    let scene = scene(Socket::Echo, &[]);
    drop(open(&scene));
    ended(&scene.upstream);
    let mut line = open(&scene);
    scene.upstream.drop_connections();
    assert!(line.is_closed());
    assert_eq!(scene.sidecar.finish(), [""; 0]);

    let scene = self::scene(Socket::Leave, &[]);
    let mut line = open(&scene);
    line.write("x");
    assert!(line.is_closed());
    drop(line);
    ended(&scene.upstream);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn an_end_that_the_other_side_does_not_heed_is_an_end_all_the_same() {
    // One that does not notice that its caller has gone, and a caller who does not care.
    for socket in [Socket::Hold, Socket::Leave] {
        let scene = scene(socket, &["--body-timeout", SHORT, "--max-requests", "1"]);
        let mut line = open(&scene);
        line.write("x");
        if socket == Socket::Hold {
            line.close_writing();
        }
        scene.goes_on();
        line.ends();
        assert_eq!(scene.sidecar.finish(), [""; 0]);
    }
}

#[test]
fn a_caller_who_takes_nothing_is_let_go() {
    let scene = scene(Socket::Speak(64 << 20), &["--body-timeout", SHORT, "--max-requests", "1"]);
    let before = scene.sidecar.process.rss();
    let mut line = open(&scene);
    scene.goes_on();
    let grown = scene.sidecar.process.peak_rss().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for a caller who reads nothing");
    line.ends();
    ended(&scene.upstream);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

/// No clock runs on a socket that is silent, and none on one that is busy in one direction alone.
#[test]
fn a_socket_that_is_silent_lives_longer_than_every_limit() {
    let limits = ["--idle-timeout", SHORT, "--header-timeout", SHORT, "--body-timeout", SHORT];
    let scene = scene(Socket::Bytes, &limits);
    let mut line = open(&scene);
    assert!(line.is_silent(Duration::from_secs(2)));
    line.write("still here");
    assert_eq!(line.body(10), b"still here");
    drop(line);
    ended(&scene.upstream);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn a_socket_takes_a_place_for_as_long_as_it_is_open() {
    let scene = scene(Socket::Bytes, &["--max-requests", "1"]);
    let line = open(&scene);
    let mut waiting = scene.sidecar.connect();
    waiting.write(GOOD);
    assert!(waiting.is_silent(Duration::from_millis(300)));
    drop(line);
    assert_eq!(waiting.answer().status, 200);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn a_sidecar_that_leaves_ends_its_sockets() {
    let scene = scene(Socket::Bytes, &[]);
    let mut lines: Vec<_> = (0..3).map(|_| open(&scene)).collect();
    assert_eq!(scene.sidecar.finish(), [""; 0]);
    for line in &mut lines {
        assert!(line.is_closed());
    }
    ended(&scene.upstream);
}

#[test]
fn a_socket_is_one_line_of_the_log_with_all_that_went_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    for leaves in [false, true] {
        let _ = std::fs::remove_file(&log);
        let scene = scene(Socket::Bytes, &["--access-log", log.to_str().unwrap()]);
        let mut line = open(&scene);
        line.write("some words");
        assert_eq!(line.body(10), b"some words");
        if !leaves {
            line.close_writing();
            assert!(line.body(11).ends_with(b"end") && line.is_closed());
            ended(&scene.upstream);
        }
        assert_eq!(scene.sidecar.finish(), [""; 0]);
        let told = told(&log);
        assert_eq!(told["outcome"], "answered", "{told}");
        assert_eq!(
            (&told["bytes_in"], told["bytes_out"].as_u64()),
            (&10.into(), Some(if leaves { 10 } else { 21 })),
            "{told}"
        );
    }
}
