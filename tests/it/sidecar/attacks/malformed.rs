//! Requests that two readers could take for two different ones (RFC 9112, section 11.2), and heads
//! beyond all bounds.

use super::super::Scene;

fn post(lines: &str, body: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n{body}")
}

/// A second request within the body of the first, for who reads its length another way.
const SMUGGLED: &str = "GET /mcp/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_request_that_could_be_two_is_none() {
    let scene = Scene::obliging(&[]);
    for request in [
        post("Content-Length: 3\r\nContent-Length: 50", &format!("abc{SMUGGLED}")),
        post("Content-Length: 3, 50", &format!("abc{SMUGGLED}")),
        post("Content-Length: +3", &format!("abc{SMUGGLED}")),
        post("Content-Length: -1", SMUGGLED),
        post("Content-Length: 0x3", &format!("abc{SMUGGLED}")),
        post("Content-Length: 99999999999999999999", "abc"),
        post("Transfer-Encoding: chunked, identity", &format!("0\r\n\r\n{SMUGGLED}")),
        post("Transfer-Encoding: xchunked", &format!("0\r\n\r\n{SMUGGLED}")),
        post("Transfer-Encoding: identity", SMUGGLED),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", SMUGGLED),
        post("Transfer-Encoding:\x0bchunked", &format!("0\r\n\r\n{SMUGGLED}")),
        post("Content-Length : 3", &format!("abc{SMUGGLED}")),
        post("Transfer-Encoding : chunked", &format!("0\r\n\r\n{SMUGGLED}")),
        post("X-Folded: a\r\n b", ""),
        post("X-Nul: a\0b", ""),
        post("X-Cr: a\rb", ""),
        post("X Space: a", ""),
        post(": nameless", ""),
        "GET  /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        "GET /mcp HTTP/9.9\r\nHost: localhost\r\n\r\n".into(),
        "GET /mcp\r\nHost: localhost\r\n\r\n".into(),
        "G\0T /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7f\x03\x03 a TLS client\r\n\r\n".into(),
    ] {
        let answer = scene.refuses(&request, 400);
        assert_eq!(answer.header("connection"), Some("close"), "{request:?}");
    }
    let rules = scene.sidecar.finish();
    assert_eq!(rules, ["malformed"; 23]);
}

/// RFC 9112, section 6.1: the encoding decides, and nothing that follows is believed to be a request.
#[test]
fn a_body_with_a_length_and_an_encoding_is_one_request_and_the_last() {
    let scene = Scene::obliging(&[]);
    let body = format!("4\r\nbody\r\n0\r\n\r\n{SMUGGLED}");
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\nContent-Length: 9",
    ] {
        let before = scene.upstream.seen().len();
        let mut line = scene.sidecar.connect();
        line.write(post(lines, &body));
        let answer = line.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{lines}");
        assert!(line.is_closed());
        let seen = &scene.upstream.seen()[before..];
        let [seen] = seen else { panic!("{lines}: {seen:?}") };
        assert_eq!((&*seen.path, &*seen.body), ("/mcp", &b"body"[..]));
        assert_eq!(seen.header("content-length"), Some("4"), "{:?}", seen.headers);
        assert_eq!(seen.header("transfer-encoding"), None);
    }
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

/// RFC 9112, section 2.2 allows it. The guard reads the lines as the one that sends them on does,
/// and what is sent on has none of it.
#[test]
fn bare_line_feeds_end_lines_and_hide_none() {
    let scene = Scene::obliging(&[]);
    let hidden =
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nX-A: a\nOrigin: https://evil.example\r\n\r\n";
    scene.refuses(hidden, 403);
    scene.refuses("GET /mcp HTTP/1.1\nHost: localhost\nHost: evil.example\n\n", 400);
    let plain = "POST /mcp HTTP/1.1\nHost: localhost\nX-A: a\nContent-Length: 2\n\n\n\n";
    assert_eq!(scene.sidecar.ask(plain).status, 200);
    let seen = scene.upstream.seen().pop().unwrap();
    assert_eq!((&*seen.path, &*seen.body, seen.header("x-a")), ("/mcp", &b"\n\n"[..], Some("a")));
    assert_eq!(scene.sidecar.finish(), ["origin", "host"]);
}

#[test]
fn a_body_that_is_not_framed_right_is_not_sent() {
    let scene = Scene::obliging(&[]);
    let bodies = [
        "zz\r\nbody\r\n0\r\n\r\n",
        "-4\r\nbody\r\n0\r\n\r\n",
        "0x4\r\nbody\r\n0\r\n\r\n",
        "4\r\nbodybody\r\n0\r\n\r\n",
        "4\nbody\n0\n\n",
        "FFFFFFFFFFFFFFFFF\r\nbody\r\n0\r\n\r\n",
    ];
    for body in bodies {
        let answer = scene.refuses(post("Transfer-Encoding: chunked", body), 400);
        assert_eq!(answer.header("connection"), Some("close"), "{body:?}");
    }
    assert_eq!(scene.sidecar.finish(), ["broken"; 6]);
}

#[test]
fn a_caller_who_leaves_within_a_body_has_asked_nothing() {
    let scene = Scene::obliging(&[]);
    for request in
        [post("Content-Length: 9", "half"), post("Transfer-Encoding: chunked", "9\r\nhalf")]
    {
        let mut line = scene.sidecar.connect();
        line.write(request);
        line.close_writing();
        assert_eq!(line.answer().status, 400);
    }
    scene.goes_on();
    assert_eq!(scene.seen(), [""; 0]);
    assert_eq!(scene.sidecar.finish(), ["broken"; 2]);
}

#[test]
fn a_flood_of_headers_is_cut_off() {
    // What the upstream itself takes is less: 100 headers, and over HTTP/2 no more than 16 KiB.
    let scene = Scene::obliging(&["--http", "1.1"]);
    let many = |count: usize| -> String { (0..count).map(|n| format!("\r\nX-{n}: {n}")).collect() };
    let get =
        |path: &str, lines: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost{lines}\r\n\r\n");
    assert_eq!(scene.sidecar.ask(get("/mcp", &many(90))).status, 200);
    let long = format!("\r\nX-Long: {}", "x".repeat(60 * 1024));
    assert_eq!(scene.sidecar.ask(get("/mcp", &long)).status, 200);
    for request in [
        get("/mcp", &many(128)),
        get("/mcp", &many(100_000)),
        get("/mcp", &format!("\r\nX-Long: {}", "x".repeat(70 * 1024))),
        get("/mcp", &format!("\r\nX-Long: {}", "x".repeat(16 << 20))),
        get("/mcp", &format!("\r\n{}: x", "x".repeat(70 * 1024))),
        get(&format!("/mcp/{}", "x".repeat(70 * 1024)), ""),
    ] {
        scene.refuses(request, 431);
    }
    assert_eq!(scene.sidecar.finish(), ["malformed"; 6]);
}

/// Frames of HTTP/2 that no one may send; the connection ends, the next one is good.
#[test]
fn broken_frames_end_their_connection_alone() {
    let scene = Scene::obliging(&[]);
    let preface = &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..];
    let settings = &[0, 0, 0, 4, 0, 0, 0, 0, 0][..];
    for frame in [
        // DATA for no stream; HEADERS on an even stream; HPACK that is none; a frame too long.
        &[0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..],
        &[0, 0, 1, 1, 5, 0, 0, 0, 2, 0x82],
        &[0, 0, 2, 1, 5, 0, 0, 0, 1, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1],
    ] {
        let mut line = scene.sidecar.connect();
        line.write([preface, settings, frame].concat());
        line.ends();
        scene.goes_on();
    }
    assert_eq!(scene.seen(), [""; 0]);
    assert_eq!(scene.sidecar.finish(), ["malformed"; 4]);
}
