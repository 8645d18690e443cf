//! HTTP/2 callers who answer every ping and give an answer no room: each is let go for itself, and
//! the other answers on its connection go on.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{RecvStream, client};
use http::Request;
use tokio::{net::TcpStream, time::timeout};

use super::super::{GOOD, Scene};
use crate::support::{
    process::DEADLINE,
    script::{Fault, Reply, Rule},
    sidecar::A_WHILE,
};

const LIMITS: [&str; 2] = ["--body-timeout", "700ms"];
const BIG: usize = 1 << 20;

/// A sidecar whose upstream answers `/mcp/big` at length and all else shortly.
fn scene(flags: &[&str]) -> Scene {
    let scene = Scene::new(&[&LIMITS[..], flags].concat());
    let big = Rule::matching(|seen| seen.path == "/mcp/big").always();
    scene.upstream.script(big, Fault::Answer(Reply::new(200).body(vec![b'x'; BIG])));
    let good = Rule::matching(|seen| seen.path == "/mcp/good").always();
    let reply = Reply::json(200, &serde_json::json!({"from": "upstream"}));
    scene.upstream.script(good, Fault::Answer(reply));
    scene
}

/// A connection whose streams have windows of this size, and none of whose own ever fills.
async fn connect(address: SocketAddr, window: u32) -> client::SendRequest<Bytes> {
    let mut builder = client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(1 << 30);
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// The head of an answer, whose body nobody takes yet.
async fn ask(sender: &client::SendRequest<Bytes>, path: &str) -> RecvStream {
    let mut sender = timeout(DEADLINE, sender.clone().ready()).await.unwrap().unwrap();
    let request = Request::get(format!("http://localhost{path}")).body(()).unwrap();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let answer = timeout(DEADLINE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

/// All that comes of a body, and room for more after each piece of it and a pause.
async fn take(body: &mut RecvStream, pause: Duration) -> Result<usize, h2::Error> {
    let mut taken = 0;
    while let Some(piece) = timeout(DEADLINE, body.data()).await.unwrap() {
        let length = piece?.len();
        taken += length;
        tokio::time::sleep(pause).await;
        body.flow_control().release_capacity(length)?;
    }
    Ok(taken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_caller_who_grants_no_window_gives_back_its_place() {
    // Room for a part of the answer, and for none of it.
    for window in [20_000, 0] {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        let flags = ["--max-requests", "1", "--access-log", log.to_str().unwrap()];
        let scene = scene(&flags);
        let sender = connect(scene.sidecar.address(), window).await;
        let stuck = ask(&sender, "/mcp/big").await;
        scene.upstream.wait_for(|seen| seen.len() == 1);
        let mut waiting = scene.sidecar.connect();
        waiting.write(GOOD);
        assert!(waiting.is_silent(A_WHILE));
        assert_eq!(waiting.answer().status, 200);
        // Its upstream is not asked any more, and its connection is as good as before.
        let mut good = ask(&sender, "/mcp/good").await;
        if window > 0 {
            assert!(take(&mut good, Duration::ZERO).await.unwrap() > 0);
        }
        drop((stuck, good, sender));
        assert_eq!(scene.sidecar.finish(), ["stuck"]);
        let log = std::fs::read_to_string(&log).unwrap();
        assert_eq!(log.matches("\"aborted\"").count(), 1, "{log}");
    }
}

/// All of it takes a few times the limit, and no part of it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_caller_who_takes_a_little_now_and_then_gets_all_of_it() {
    let scene = scene(&[]);
    let sender = connect(scene.sidecar.address(), (BIG / 4) as u32).await;
    let mut body = ask(&sender, "/mcp/big").await;
    // 64 pieces of 16 KiB.
    let all = take(&mut body, Duration::from_millis(30)).await.unwrap();
    assert_eq!(all, BIG);
    drop((body, sender));
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

/// That the upstream says nothing is not the caller's fault, with a window or without.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stream_whose_upstream_is_silent_lives_on_beside_one_that_is_stuck() {
    let scene = scene(&[]);
    let sender = connect(scene.sidecar.address(), 20_000).await;
    let session = scene.session();
    let request = Request::get("http://localhost/mcp")
        .header("accept", "text/event-stream")
        .header("mcp-session-id", session)
        .header("mcp-protocol-version", super::super::VERSION);
    let (answer, _) = sender.clone().send_request(request.body(()).unwrap(), true).unwrap();
    let mut events = timeout(DEADLINE, answer).await.unwrap().unwrap().into_body();
    let stuck = ask(&sender, "/mcp/big").await;
    scene.sidecar.process.wait_for_stderr("rule=\"stuck\"");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.upstream.notify("notifications/a", &serde_json::Value::Null), 1);
    let event = timeout(DEADLINE, events.data()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&event).contains("notifications/a"));
    drop((events, stuck, sender));
    assert_eq!(scene.sidecar.finish(), ["stuck"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_answer_that_was_given_up_is_not_taken_for_a_whole_one() {
    let scene = scene(&[]);
    let sender = connect(scene.sidecar.address(), 20_000).await;
    let mut body = ask(&sender, "/mcp/big").await;
    scene.sidecar.process.wait_for_stderr("rule=\"stuck\"");
    let error = take(&mut body, Duration::ZERO).await.unwrap_err();
    assert!(error.is_reset(), "{error}");
    drop((body, sender));
    assert_eq!(scene.sidecar.finish(), ["stuck"]);
}
