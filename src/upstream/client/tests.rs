//! What upstreams that are rotated, reset, closed and refused under a client prove.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicUsize;

use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tower::ServiceExt as _;

use super::*;
use crate::{
    service::Outlived,
    tls::Http,
    upstream::fixture::{
        Answer, Ca, Server, answer, head, post, request, reset, settings, started, text,
    },
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A client without TLS for `server`, and what posts to it.
async fn plain(server: &Server, http: Http) -> impl AsyncFn() -> Result<String, Failure> {
    let tls = Ca::new().trusted(false, http).await;
    let url = server.url("http");
    let (service, rotate) = started(&settings(url.clone()), tls);
    async move || {
        let _rotate = &rotate;
        text(post(&service, &url).await?).await
    }
}

/// An answer whose body is what comes through the channel.
fn stream(mut chunks: mpsc::UnboundedReceiver<&'static str>) -> Answer {
    let body = futures_util::stream::poll_fn(move |cx| {
        chunks.poll_recv(cx).map(|next| next.map(|text| Ok(Frame::data(Bytes::from(text)))))
    });
    http::Response::new(StreamBody::new(body).boxed_unsync())
}

async fn next(response: &mut Response) -> Option<Result<Bytes, Failure>> {
    let frame = response.body_mut().frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

#[tokio::test]
async fn connections_are_reused() {
    let ca = Ca::new();
    for alpn in ["http/1.1", "h2"] {
        let tls = Some(ca.server(true, &[alpn]));
        let server = Server::http(tls, |_, number| async move { answer(number.to_string()) }).await;
        let url = server.url("https");
        let (service, _rotate) =
            started(&settings(url.clone()), ca.trusted(true, Http::Auto).await);
        for _ in 0..3 {
            assert_eq!(text(post(&service, &url).await.unwrap()).await.unwrap(), "1", "{alpn}");
        }
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced() {
    let server = Server::raw(|mut stream, _| async move {
        head(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        stream.read_exact(&mut [0; 2]).await.unwrap();
        drop(stream);
    })
    .await;
    let post = plain(&server, Http::One).await;
    for _ in 0..5 {
        assert_eq!(post().await.unwrap(), "ok");
        // Until the end of the connection has arrived: both are done on this one thread.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_new_generation_gets_new_connections_and_an_old_stream_goes_on() {
    let ca = Ca::new();
    let (chunks, body) = mpsc::unbounded_channel();
    let body = Arc::new(Mutex::new(Some(body)));
    let tls = Some(ca.server(true, &["h2", "http/1.1"]));
    let server = Server::http(tls, move |_, number| {
        let body = body.lock().unwrap().take();
        async move { body.map_or_else(|| answer(number.to_string()), stream) }
    })
    .await;
    let url = server.url("https");
    let (service, rotate) = started(&settings(url.clone()), ca.trusted(true, Http::Auto).await);
    let mut old = post(&service, &url).await.unwrap();
    let second = service.clone();
    assert_eq!(text(post(&second, &url).await.unwrap()).await.unwrap(), "1");

    rotate.send(ca.trusted(true, Http::Auto).await).unwrap();
    for service in [&service, &second] {
        assert_eq!(text(post(service, &url).await.unwrap()).await.unwrap(), "2");
    }
    for text in ["still", "there"] {
        chunks.send(text).unwrap();
        assert_eq!(next(&mut old).await.unwrap().unwrap(), text);
    }
    drop(chunks);
    assert_eq!(text(old).await.unwrap(), "");
}

#[tokio::test]
async fn what_was_upgraded_knows_when_it_has_outlived_its_identity() {
    let ca = Ca::new();
    let server = Server::http(Some(ca.server(true, &["h2", "http/1.1"])), |_, _| async {
        let mut response = answer("");
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert("connection", "upgrade".parse().unwrap());
        headers.insert("upgrade", "websocket".parse().unwrap());
        response
    })
    .await;
    let url = server.url("wss");
    let settings =
        Settings { maximum_age: Duration::ZERO, upgrades: true, ..settings(url.clone()) };
    let (service, rotate) = started(&settings, ca.trusted(true, Http::Auto).await);
    let mut asking = request(&url);
    *asking.method_mut() = http::Method::GET;
    *asking.body_mut() = Bytes::new();
    asking.headers_mut().insert("connection", "upgrade".parse().unwrap());
    asking.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    let mut response = service.clone().oneshot(asking).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
    let mut outlived = response.extensions_mut().remove::<Outlived>().unwrap().0();
    assert!((&mut outlived).now_or_never().is_none());
    rotate.send(ca.trusted(true, Http::Auto).await).unwrap();
    assert!(outlived.await.what().contains("rotated"));
}

#[tokio::test]
async fn an_old_stream_ends_at_its_age_without_another_request() {
    let ca = Ca::new();
    for alpn in ["http/1.1", "h2"] {
        let (chunks, body) = mpsc::unbounded_channel();
        let body = Arc::new(Mutex::new(Some(body)));
        let server = Server::http(Some(ca.server(true, &[alpn])), move |_, _| {
            let body = body.lock().unwrap().take().unwrap();
            async move { stream(body) }
        })
        .await;
        let url = server.url("https");
        let settings = Settings { maximum_age: Duration::ZERO, ..settings(url.clone()) };
        let (service, rotate) = started(&settings, ca.trusted(true, Http::Auto).await);
        let mut listening = request(&url);
        *listening.method_mut() = http::Method::GET;
        let mut response = service.clone().oneshot(listening).await.unwrap();
        chunks.send("first").unwrap();
        assert_eq!(next(&mut response).await.unwrap().unwrap(), "first");
        rotate.send(ca.trusted(true, Http::Auto).await).unwrap();
        let failure = next(&mut response).await.unwrap().unwrap_err();
        assert_eq!(failure.stage(), Stage::Response);
        assert!(failure.what().contains("rotated"), "{failure}");
        assert!(next(&mut response).await.is_none());
        // The connection goes with the stream, so that the server knows.
        chunks.closed().await;
    }
}

#[tokio::test]
async fn what_was_read_and_not_answered_may_have_run_and_is_not_sent_again() {
    for (version, say) in [("a close", false), ("a reset", true)] {
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&requests);
        let server = Server::raw(move |mut stream, _| {
            let seen = Arc::clone(&seen);
            async move {
                // The first on this connection is answered: the second goes over a reused one.
                for turn in 0..2 {
                    head(&mut stream).await;
                    stream.read_exact(&mut [0; 2]).await.unwrap();
                    seen.fetch_add(1, Ordering::SeqCst);
                    if turn == 0 {
                        stream.write_all(OK).await.unwrap();
                    }
                }
                if say {
                    reset(stream);
                }
            }
        })
        .await;
        let post = plain(&server, Http::One).await;
        assert_eq!(post().await.unwrap(), "ok");
        let failure = post().await.unwrap_err();
        assert_eq!(failure.stage(), Stage::Send, "{version}: {failure:?}");
        assert!(failure.what().contains(&server.port.to_string()), "{failure}");
        assert_eq!((requests.load(Ordering::SeqCst), server.connections()), (2, 1));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_says_where() {
    let server = Server::raw(|mut stream, _| async move {
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
    })
    .await;
    let post = plain(&server, Http::One).await;
    let failure = post().await.unwrap_err();
    assert_eq!(failure.stage(), Stage::Response);
    assert!(failure.what().contains("after 3 bytes"), "{failure}");
}

#[tokio::test]
async fn something_that_is_not_http_is_named_as_such() {
    let server = Server::raw(|mut stream, _| async move {
        head(&mut stream).await;
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let post = plain(&server, Http::One).await;
    let failure = post().await.unwrap_err();
    assert_eq!(failure.stage(), Stage::Protocol, "{failure:?}");
}

#[tokio::test]
async fn a_client_certificate_refused_late_is_of_the_tls_stage() {
    let ca = Ca::new();
    for alpn in ["http/1.1", "h2"] {
        let server =
            Server::http(Some(ca.server(true, &[alpn])), |_, _| async { answer("") }).await;
        let url = server.url("https");
        let (service, _rotate) =
            started(&settings(url.clone()), ca.trusted(false, Http::Auto).await);
        // The larger the request, the likelier that its writing meets the reset first.
        for size in [0, 2, 64 << 10, 4 << 20].repeat(5) {
            let request = request(&url).map(|_| Bytes::from(vec![b' '; size]));
            let failure = service.clone().oneshot(request).await.map(drop).unwrap_err();
            assert_eq!(failure.stage(), Stage::Tls, "{alpn} {size}: {failure:?}");
            assert!(failure.next_step().unwrap().contains("--cert"), "{failure:?}");
        }
    }
}

#[tokio::test]
async fn nothing_leaves_for_another_origin() {
    let server = Server::raw(|_, _| async {}).await;
    let tls = Ca::new().trusted(false, Http::Auto).await;
    let url = server.url("http");
    let (service, _rotate) = started(&settings(url.clone()), tls);
    for other in ["https://127.0.0.1/", "http://localhost/", "http://127.0.0.1:1/", "/mcp"] {
        let mut request = request(&url);
        *request.uri_mut() = other.parse().unwrap();
        let failure = service.clone().oneshot(request).await.map(drop).unwrap_err();
        assert_eq!(failure.stage(), Stage::Configuration, "{other}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_large_result_arrives_whole() {
    let ca = Ca::new();
    let large = Bytes::from(vec![b'x'; 16 << 20]);
    for alpn in ["http/1.1", "h2"] {
        let large = large.clone();
        let server = Server::http(Some(ca.server(true, &[alpn])), move |_, _| {
            let large = large.clone();
            async move { answer(large) }
        })
        .await;
        let url = server.url("https");
        let (service, _rotate) =
            started(&settings(url.clone()), ca.trusted(true, Http::Auto).await);
        let whole = text(post(&service, &url).await.unwrap()).await.unwrap();
        assert_eq!(whole.len(), 16 << 20);
    }
}

/// How an HTTP/2 server ends the second request of its first connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// GOAWAY: the first was the last that it processed.
    GoAway,
    /// RST_STREAM, with an error code (RFC 9113, section 7).
    Reset(u8),
}

/// HTTP/2 frame by frame, as no server library lets itself be told to.
async fn frames(mut stream: TcpStream, connection: usize, end: End) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    frame(&mut stream, 4, 0, 0, &[]).await;
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        let id = head[8];
        match (head[3], id) {
            // SETTINGS that is no acknowledgement.
            (4, _) if head[4] == 0 => frame(&mut stream, 4, 1, 0, &[]).await,
            (1, 3) if connection == 1 => match end {
                End::GoAway => frame(&mut stream, 7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]).await,
                End::Reset(code) => frame(&mut stream, 3, 0, id, &[0, 0, 0, code]).await,
            },
            // HEADERS: `:status: 200`, at the end of both headers and stream.
            (1, _) => frame(&mut stream, 1, 5, id, &[0x88]).await,
            _ => {}
        }
    }
}

async fn frame(stream: &mut TcpStream, kind: u8, flags: u8, id: u8, payload: &[u8]) {
    let length = u8::try_from(payload.len()).unwrap();
    let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, id];
    bytes.extend_from_slice(payload);
    stream.write_all(&bytes).await.unwrap();
}

#[tokio::test]
async fn what_http_2_proves_unprocessed_is_sent_again_and_nothing_else() {
    const REFUSED_STREAM: u8 = 7;
    const INTERNAL_ERROR: u8 = 2;
    for (end, stage, connections) in [
        (End::GoAway, None, 2),
        (End::Reset(REFUSED_STREAM), Some(Stage::Connect), 1),
        (End::Reset(INTERNAL_ERROR), Some(Stage::Send), 1),
    ] {
        let server = Server::raw(move |stream, number| frames(stream, number, end)).await;
        let post = plain(&server, Http::Two).await;
        assert_eq!(post().await.unwrap(), "");
        let again = post().await;
        match end {
            // Streams 5 and later of the same connection are answered.
            End::Reset(REFUSED_STREAM) => assert_eq!(again.unwrap(), ""),
            _ => assert_eq!(again.map_err(|f| f.stage()).err(), stage, "{end:?}"),
        }
        assert_eq!(server.connections(), connections, "{end:?}");
    }
}

#[test]
fn a_machine_that_slept_is_told_from_one_that_waited() {
    let then = Used::now();
    let later = |wall, awake| Used {
        wall: then.wall + Duration::from_secs(wall),
        awake: then.awake + Duration::from_secs(awake),
    };
    assert!(then.slept_until(&later(3600, 10)));
    assert!(!then.slept_until(&later(3600, 3600)));
    assert!(!then.slept_until(&later(30, 1)), "what was used so recently is not dead yet");
    let set_back = Used { wall: then.wall - Duration::from_secs(3600), awake: then.awake };
    assert!(!then.slept_until(&set_back));
}

#[test]
fn what_is_sent_once_more_is_shown_no_more_than_before() {
    let mut request = Request::new(Bytes::from_static(b"{}"));
    assert!(Spare::of(&request).request().extensions().get::<Unshown>().is_none());
    request.extensions_mut().insert(Unshown);
    assert!(Spare::of(&request).request().extensions().get::<Unshown>().is_some());
}
