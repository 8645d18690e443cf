//! Looks at upstreams that are there, that are not, and that do not want us.
#![allow(clippy::unwrap_used)]

use futures_util::future::join_all;
use tokio::{io::AsyncReadExt as _, sync::watch};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    failure::Stage,
    tls::Http,
    upstream::fixture::{Ca, Server, settings},
};

/// A server that never speaks of itself, as one of HTTP/1.1 does not, and what it read.
async fn silent(ca: &Ca, demands_identity: bool) -> (Server, watch::Receiver<usize>) {
    let acceptor = TlsAcceptor::from(ca.server(demands_identity, &["http/1.1"]));
    let (bytes, read) = watch::channel(0);
    let server = Server::raw(move |stream, _| {
        let (acceptor, bytes) = (acceptor.clone(), bytes.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
            bytes.send_modify(|sum| *sum += all.len());
        }
    });
    (server.await, read)
}

#[tokio::test]
async fn a_look_is_a_handshake_and_not_a_byte_more_and_holds_for_a_while() {
    let ca = Ca::new();
    let (server, read) = silent(&ca, true).await;
    let (rotate, tls) = watch::channel(ca.trusted(true, Http::Auto).await);
    let reach = Reach::new(&settings(server.url("https")), tls).unwrap();
    for found in join_all((0..20).map(|_| reach.look())).await {
        found.unwrap();
    }
    reach.look().await.unwrap();
    assert_eq!(server.connections(), 1);
    // With another identity it is another question.
    rotate.send_replace(ca.trusted(true, Http::Auto).await);
    reach.look().await.unwrap();
    assert_eq!((server.connections(), *read.borrow()), (2, 0));
    tokio::time::pause();
    tokio::time::advance(KEPT).await;
    tokio::time::resume();
    reach.look().await.unwrap();
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_refusal_that_comes_after_the_handshake_is_heard() {
    let ca = Ca::new();
    let (server, _) = silent(&ca, true).await;
    let (_rotate, tls) = watch::channel(ca.trusted(false, Http::Auto).await);
    let reach = Reach::new(&settings(server.url("https")), tls).unwrap();
    assert_eq!(reach.look().await.unwrap_err().stage(), Stage::Tls);
}

#[tokio::test]
async fn what_can_not_be_reached_is_said_in_bounded_time() {
    let ca = Ca::new();
    // It accepts, and then says nothing.
    let server = Server::raw(|stream, _| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    });
    let server = server.await;
    let (_rotate, tls) = watch::channel(ca.trusted(true, Http::Auto).await);
    let reach = Reach::new(&settings(server.url("https")), tls).unwrap();
    let started = std::time::Instant::now();
    let failure = reach.look().await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(failure.what().contains("within 2s"), "{failure}");
}
