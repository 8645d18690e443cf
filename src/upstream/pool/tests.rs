//! Whose connection a request takes, when it is made for many, and when it is closed.
#![allow(clippy::unwrap_used)]

use futures_util::future::{join_all, pending, poll_immediate};
use http_body_util::{BodyExt as _, Empty};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    time,
};

use super::*;
use crate::{
    failure::Stage,
    tls::Http,
    upstream::fixture::{Ca, Server, answer, head, post, settings, started, text},
};

#[tokio::test]
async fn requests_wait_together_for_the_first_connection_and_share_it_over_http_2() {
    let ca = Ca::new();
    for (alpn, most) in [("h2", 1), ("http/1.1", 20)] {
        let tls = Some(ca.server(true, &[alpn]));
        let server = Server::http(tls, |_, _| async { answer("ok") }).await;
        let url = server.url("https");
        let (service, _rotate) =
            started(&settings(url.clone()), ca.trusted(true, Http::Auto).await);
        for response in join_all((0..20).map(|_| post(&service, &url))).await {
            assert_eq!(text(response.unwrap()).await.unwrap(), "ok");
        }
        assert!(server.connections() <= most, "{alpn}: {}", server.connections());
    }
}

#[tokio::test]
async fn who_goes_away_takes_no_connection_from_who_waits_for_it() {
    let ca = Ca::new();
    let server = Server::http(Some(ca.server(true, &["h2"])), |_, _| async { answer("ok") }).await;
    let url = server.url("https");
    let (service, _rotate) = started(&settings(url.clone()), ca.trusted(true, Http::Auto).await);
    let (mut first, mut second) = (Box::pin(post(&service, &url)), Box::pin(post(&service, &url)));
    assert!(poll_immediate(&mut first).await.is_none());
    assert!(poll_immediate(&mut second).await.is_none());
    drop(first);
    assert_eq!(text(second.await.unwrap()).await.unwrap(), "ok");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn who_waits_together_fails_together() {
    let server = Server::raw(|stream, _| async { drop(stream) }).await;
    let url = server.url("https");
    let tls = Ca::new().trusted(false, Http::Auto).await;
    let (service, _rotate) = started(&settings(url.clone()), tls);
    for outcome in join_all((0..20).map(|_| post(&service, &url))).await {
        assert_eq!(outcome.map(drop).unwrap_err().stage(), Stage::Tls);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn beyond_the_streams_of_one_connection_another_is_made() {
    let ca = Ca::new();
    let server = Server::http(Some(ca.server(true, &["h2"])), |_, _| async {
        let silent = Empty::new().with_trailers(pending());
        http::Response::new(silent.boxed_unsync())
    })
    .await;
    let url = server.url("https");
    let (service, _rotate) = started(&settings(url.clone()), ca.trusted(true, Http::Auto).await);
    let first = post(&service, &url).await.unwrap();
    let mut listening = join_all((0..STREAMS_AT_MOST).map(|_| post(&service, &url))).await;
    assert_eq!(server.connections(), 2);
    // One that ends makes room.
    drop(first);
    listening.push(post(&service, &url).await);
    assert!(listening.iter().all(Result::is_ok));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_leaves_its_connection_to_the_next() {
    let server = Server::http(None, |_, number| async move { answer(number.to_string()) }).await;
    let url = server.url("http");
    let tls = Ca::new().trusted(false, Http::One).await;
    let (service, _rotate) = started(&settings(url.clone()), tls);
    for _ in 0..3 {
        drop(post(&service, &url).await.unwrap());
        tokio::task::yield_now().await;
    }
    assert_eq!(text(post(&service, &url).await.unwrap()).await.unwrap(), "1");
}

#[tokio::test]
async fn what_is_idle_for_long_is_closed() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (closed, mut hears) = mpsc::unbounded_channel();
    let server = Server::raw(move |mut stream, number| {
        let closed = closed.clone();
        async move {
            head(&mut stream).await;
            stream.read_exact(&mut [0; 2]).await.unwrap();
            stream.write_all(OK).await.unwrap();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            closed.send(number).unwrap();
        }
    })
    .await;
    let url = server.url("http");
    let tls = Ca::new().trusted(false, Http::One).await;
    let (service, _rotate) = started(&settings(url.clone()), tls);
    assert_eq!(text(post(&service, &url).await.unwrap()).await.unwrap(), "ok");
    // Until somebody tends the pool.
    tokio::task::yield_now().await;
    time::pause();
    time::advance(IDLE).await;
    time::resume();
    // Without another request.
    assert_eq!(hears.recv().await, Some(1));
    assert_eq!(text(post(&service, &url).await.unwrap()).await.unwrap(), "ok");
    assert_eq!(server.connections(), 2);
}
