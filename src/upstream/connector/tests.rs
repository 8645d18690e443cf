//! Steps of a connection that fail, each with a server that makes them, and those that do not.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use http::Version;
use tokio::{net::TcpSocket, net::TcpStream, time::timeout};

use super::*;
use crate::{
    tls::Http,
    upstream::fixture::{Ca, Server, answer, post, settings, started, text},
};

const SHORT: Duration = Duration::from_millis(500);

async fn failure(url: UpstreamUrl, limit: Duration) -> Failure {
    let tls = Ca::new().trusted(false, Http::Auto).await;
    let settings = Settings { connect_timeout: limit, ..settings(url.clone()) };
    let (service, _rotate) = started(&settings, tls);
    post(&service, &url).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn a_name_without_address_is_named() {
    // A label longer than 63 bytes exists nowhere; no resolver has to be asked.
    let host = format!("{}.invalid", "a".repeat(64));
    let url = UpstreamUrl::parse(&format!("https://{host}/")).unwrap();
    let failure = failure(url, Duration::from_secs(10)).await;
    assert_eq!(failure.stage(), Stage::Connect);
    assert!(failure.what().contains(&host), "{failure}");
    assert!(failure.next_step().unwrap().contains("API_URL"));
}

#[tokio::test]
async fn a_port_nobody_listens_on_refuses() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let url = UpstreamUrl::parse(&format!("https://localhost:{}/", address.port())).unwrap();
    let failure = failure(url, Duration::from_secs(10)).await;
    assert_eq!(failure.stage(), Stage::Connect);
    assert!(failure.what().contains(&format!("localhost:{}", address.port())), "{failure}");
    assert!(failure.what().contains("refuses connections"), "{failure}");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn an_address_that_does_not_answer_runs_out_of_time() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts: when the queue is full, Linux drops what comes.
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(SHORT, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    let url = UpstreamUrl::parse(&format!("https://{address}/")).unwrap();
    let failure = failure(url, SHORT).await;
    assert_eq!(failure.stage(), Stage::Connect);
    assert!(failure.what().contains("did not answer within 500ms"), "{failure}");
    assert!(failure.next_step().unwrap().contains("--connect-timeout"));
}

#[tokio::test]
async fn a_handshake_that_does_not_end_runs_out_of_time() {
    let server = Server::raw(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let failure = failure(server.url("https"), SHORT).await;
    assert_eq!(failure.stage(), Stage::Connect);
    assert!(failure.what().contains("TLS handshake within 500ms"), "{failure}");
    assert!(failure.what().contains(&server.port.to_string()), "{failure}");
}

#[tokio::test]
async fn a_handshake_that_is_cut_off_is_of_the_tls_stage() {
    let server = Server::raw(|stream, _| async move { drop(stream) }).await;
    let failure = failure(server.url("https"), Duration::from_secs(10)).await;
    assert_eq!(failure.stage(), Stage::Tls);
    assert!(failure.what().contains("hung up"), "{failure}");
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_explained() {
    let server = Server::http(Some(Ca::new().server(false, &[])), |_, _| async { answer("") });
    let failure = failure(server.await.url("https"), Duration::from_secs(10)).await;
    assert_eq!(failure.stage(), Stage::Tls);
    assert!(failure.next_step().unwrap().contains("--cacert"), "{failure:?}");
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_as_agreed() {
    let ca = Ca::new();
    for (offered, http, spoken) in [
        (&["h2", "http/1.1"][..], Http::Auto, Version::HTTP_2),
        (&["h2", "http/1.1"], Http::One, Version::HTTP_11),
        (&["h2", "http/1.1"], Http::Two, Version::HTTP_2),
        (&["http/1.1"], Http::Auto, Version::HTTP_11),
        (&[], Http::Auto, Version::HTTP_11),
    ] {
        let server = Server::http(Some(ca.server(true, offered)), |request, _| async move {
            answer(format!("{:?} {:?}", request.version(), request.headers().get("host")))
        })
        .await;
        let url = server.url("https");
        let (service, _rotate) = started(&settings(url.clone()), ca.trusted(true, http).await);
        let response = post(&service, &url).await.unwrap();
        assert_eq!(response.version(), spoken);
        let seen = text(response).await.unwrap();
        assert!(seen.starts_with(&format!("{spoken:?}")), "{seen}");
    }
}

#[tokio::test]
async fn a_server_without_http_2_is_not_spoken_to_in_it() {
    let ca = Ca::new();
    let server = Server::http(Some(ca.server(false, &[])), |_, _| async { answer("") }).await;
    let url = server.url("https");
    let (service, _rotate) = started(&settings(url.clone()), ca.trusted(false, Http::Two).await);
    let failure = post(&service, &url).await.map(drop).unwrap_err();
    assert_eq!(failure.stage(), Stage::Tls);
    assert!(failure.next_step().unwrap().contains("--http auto"));
}

#[test]
fn a_resolver_that_does_not_answer_is_named_as_such() {
    let upstream = UpstreamUrl::parse("https://a.example/").unwrap();
    let hop = Hop { upstream: &upstream, proxy: None };
    let failure = expired(&Step::Resolve(hop), Duration::from_secs(10));
    assert_eq!(failure.what(), "the name a.example was not resolved within 10s");
    assert!(failure.next_step().unwrap().contains("--connect-timeout"));
}

#[test]
fn many_addresses_are_counted() {
    let addresses: Vec<SocketAddr> =
        (1..=5).map(|last| SocketAddr::from(([192, 0, 2, last], 443))).collect();
    assert_eq!(Shown(&addresses).to_string(), "192.0.2.1, 192.0.2.2, 192.0.2.3 and 2 more");
}
