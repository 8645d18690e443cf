//! Proxies of all kinds before an upstream that demands a client certificate.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;

use super::*;
use crate::{
    tls::Http,
    upstream::{
        Settings,
        fixture::{Ca, Server, answer, head, post, settings, started, text},
        proxy,
    },
};

type Heads = Arc<Mutex<Vec<String>>>;

/// A proxy that answers CONNECT with `status`, and after a 200 connects to where it was asked to.
async fn forwarder(status: &'static str) -> (Server, Heads) {
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    let server = Server::raw(move |mut stream, _| {
        let seen = Arc::clone(&seen);
        async move {
            let head = head(&mut stream).await;
            let target = head.split(' ').nth(1).unwrap().to_owned();
            seen.lock().unwrap().push(head);
            stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
            if status.starts_with("200") {
                let mut upstream = TcpStream::connect(target).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut upstream).await;
            }
        }
    });
    (server.await, heads)
}

/// A request through `proxy` to an upstream that demands a client certificate.
async fn through(proxy: proxy::Settings) -> Result<String, Failure> {
    let ca = Ca::new();
    let tls = Some(ca.server(true, &["h2", "http/1.1"]));
    let upstream = Server::http(tls, |_, _| async { answer("through") }).await;
    let url = upstream.url("https");
    let settings = Settings { proxy, ..settings(url.clone()) };
    let (service, _rotate) = started(&settings, ca.trusted(true, Http::Auto).await);
    text(post(&service, &url).await?).await
}

fn explicit(url: String) -> proxy::Settings {
    proxy::Settings { explicit: Some(url), ..proxy::Settings::default() }
}

#[tokio::test]
async fn connect_leads_to_the_upstream_and_says_nothing_else() {
    let (proxy, heads) = forwarder("200 Connection established").await;
    let settings = explicit(format!("http://127.0.0.1:{}", proxy.port));
    assert_eq!(through(settings).await.unwrap(), "through");
    let heads = heads.lock().unwrap();
    let mut lines = heads[0].lines();
    assert!(lines.next().unwrap().starts_with("CONNECT 127.0.0.1:"), "{heads:?}");
    assert!(lines.next().unwrap().starts_with("host: 127.0.0.1:"), "{heads:?}");
    assert_eq!(lines.next(), Some(""));
}

#[tokio::test]
async fn the_proxy_gets_its_login() {
    let (proxy, heads) = forwarder("200 OK").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "open sesame").unwrap();
    let reference = format!("file:{}", file.display()).parse().unwrap();
    let held = crate::secret::Held::open(reference).unwrap();
    let settings = proxy::Settings {
        credentials: Some(("Aladdin".to_owned(), held)),
        ..explicit(format!("http://127.0.0.1:{}", proxy.port))
    };
    assert_eq!(through(settings).await.unwrap(), "through");
    let heads = heads.lock().unwrap();
    assert!(heads[0].contains("\r\nproxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_with_the_next_step() {
    for (status, stated, next) in [
        ("407 Proxy Authentication Required", "demands a user", "--proxy-user"),
        ("403 Forbidden", "403", "allow"),
        ("502 Bad Gateway", "502", "NO_PROXY"),
    ] {
        let (proxy, _) = forwarder(status).await;
        let failure = through(explicit(format!("http://127.0.0.1:{}", proxy.port))).await;
        let failure = failure.unwrap_err();
        assert_eq!(failure.stage(), Stage::Connect);
        assert!(failure.what().contains(stated), "{failure}");
        assert!(failure.what().contains(&proxy.port.to_string()), "{failure}");
        assert!(failure.next_step().unwrap().contains(next), "{failure:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_none_is_said_to_be_none() {
    let server = Server::raw(|mut stream, _| async move {
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
    })
    .await;
    let failure = through(explicit(format!("http://127.0.0.1:{}", server.port))).await.unwrap_err();
    assert_eq!(failure.stage(), Stage::Connect);
    assert!(failure.next_step().unwrap().contains("is it a proxy"));
}

#[tokio::test]
async fn an_https_proxy_does_not_learn_our_identity() {
    let ca = Ca::new();
    let upstream =
        Server::http(Some(ca.server(true, &[])), |_, _| async { answer("through") }).await;
    // The proxy asks for a certificate, takes none for an answer, and reports what it got.
    let config = ca.server(false, &["http/1.1"]);
    let proxy = Server::raw(move |stream, _| {
        let config = Arc::clone(&config);
        async move {
            let mut tls = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.unwrap();
            assert!(tls.get_ref().1.peer_certificates().is_none());
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tls.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            tls.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut on = TcpStream::connect(head.split(' ').nth(1).unwrap()).await.unwrap();
            let _ = copy_bidirectional(&mut tls, &mut on).await;
        }
    })
    .await;
    let url = upstream.url("https");
    let settings = Settings {
        proxy: explicit(format!("https://localhost:{}", proxy.port)),
        ..settings(url.clone())
    };
    let (service, _rotate) = started(&settings, ca.trusted(true, Http::Auto).await);
    assert_eq!(text(post(&service, &url).await.unwrap()).await.unwrap(), "through");
    assert_eq!((proxy.connections(), upstream.connections()), (1, 1));

    // One that demands an identity does not get one.
    let strict = Server::http(Some(ca.server(true, &[])), |_, _| async { answer("") }).await;
    let settings =
        Settings { proxy: explicit(format!("https://localhost:{}", strict.port)), ..settings };
    let (service, _rotate) = started(&settings, ca.trusted(true, Http::Auto).await);
    let failure = post(&service, &url).await.map(drop).unwrap_err();
    assert!(failure.never_sent(), "{failure:?}");
    assert!(failure.what().contains("the proxy localhost"), "{failure}");
}

#[tokio::test]
async fn socks_leads_to_the_upstream() {
    let server = Server::raw(|mut stream, _| async move {
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(greeting, [5, 1, 2]);
        stream.write_all(&[5, 2]).await.unwrap();
        let mut login = [0; 11];
        stream.read_exact(&mut login).await.unwrap();
        assert_eq!(&login, b"\x01\x04user\x04pass");
        stream.write_all(&[1, 0]).await.unwrap();
        let mut target = [0; 10];
        stream.read_exact(&mut target).await.unwrap();
        assert_eq!(target[..8], [5, 1, 0, 1, 127, 0, 0, 1]);
        let port = u16::from_be_bytes([target[8], target[9]]);
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let mut upstream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut upstream).await;
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "pass").unwrap();
    for scheme in ["socks5", "socks5h"] {
        let reference = format!("file:{}", file.display()).parse().unwrap();
        let held = crate::secret::Held::open(reference).unwrap();
        let settings = proxy::Settings {
            credentials: Some(("user".to_owned(), held)),
            ..explicit(format!("{scheme}://127.0.0.1:{}", server.port))
        };
        assert_eq!(through(settings).await.unwrap(), "through", "{scheme}");
    }
}

#[tokio::test]
async fn no_proxy_goes_around_it() {
    let settings = proxy::Settings {
        https_proxy: Some("http://127.0.0.1:1".to_owned()),
        no_proxy: Some("127.0.0.0/8".to_owned()),
        ..proxy::Settings::default()
    };
    assert_eq!(through(settings).await.unwrap(), "through");
}
