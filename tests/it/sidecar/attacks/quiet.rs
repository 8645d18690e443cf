//! HTTP/2 callers who have been answered once and keep their connection, with nothing on it or with a head
//! that never ends.

use super::super::Scene;

const SHORT: &str = "700ms";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame, and the acknowledgement of one.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const ACKNOWLEDGED: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];

/// `GET /mcp` of `localhost` on a stream (RFC 9113 section 6.2, RFC 7541 section 6).
fn headers(stream: u8) -> Vec<u8> {
    let block = [&[0x82, 0x86, 0x04, 4][..], b"/mcp", &[0x41, 9], b"localhost"].concat();
    let length = u8::try_from(block.len()).unwrap();
    [&[0, 0, length, 1, 0x05, 0, 0, 0, stream][..], &block].concat()
}

#[test]
fn one_who_asks_for_nothing_more_is_let_go() {
    let scene = Scene::obliging(&["--header-timeout", SHORT]);
    for rest in [Vec::new(), headers(3)[..14].to_vec()] {
        let mut line = scene.sidecar.connect();
        line.write([PREFACE, &SETTINGS, &ACKNOWLEDGED, &headers(1)].concat());
        scene.upstream.wait_for(|seen| !seen.is_empty());
        line.write(&rest);
        line.ends();
    }
    scene.goes_on();
    scene.sidecar.finish();
}
