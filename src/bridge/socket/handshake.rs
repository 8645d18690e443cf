//! The opening handshake of a WebSocket (RFC 6455, section 4.1).

use aws_lc_rs::rand;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, response};
use sha1::{Digest as _, Sha1};

use crate::{
    bridge::exchange::AGENT,
    failure::{Failure, Stage},
    service::Request,
};

/// RFC 6455, section 1.3.
const OURS_ALONE: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const SUBPROTOCOL: &str = "mcp";

/// The request, and the key that its response must know.
pub(super) fn request(uri: &Uri) -> Result<(Request, String), Failure> {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce)
        .map_err(|_| Failure::new(Stage::Connect, "this machine has no random numbers"))?;
    let key = BASE64_STANDARD.encode(nonce);
    let mut request = Request::default();
    *request.uri_mut() = uri.clone();
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, AGENT);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let value = HeaderValue::try_from(&key)
        .map_err(|_| Failure::new(Stage::Connect, "the key of a WebSocket is no header"))?;
    headers.insert(header::SEC_WEBSOCKET_KEY, value);
    Ok((request, key))
}

/// Whether the upstream agreed to what was asked for with `key`, and to nothing else.
pub(super) fn agreed(head: &response::Parts, key: &str) -> bool {
    let headers = &head.headers;
    let protocol = headers.get(header::SEC_WEBSOCKET_PROTOCOL);
    if protocol.is_none() && head.status == StatusCode::SWITCHING_PROTOCOLS {
        tracing::debug!("the upstream names no subprotocol; it is taken to speak mcp");
    }
    head.status == StatusCode::SWITCHING_PROTOCOLS
        && says(headers, &header::UPGRADE, "websocket")
        && says(headers, &header::CONNECTION, "upgrade")
        && protocol.is_none_or(|name| name == SUBPROTOCOL)
        && !headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
        && headers.get(header::SEC_WEBSOCKET_ACCEPT).is_some_and(|it| it == &accept(key))
}

fn accept(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::digest(format!("{key}{OURS_ALONE}")))
}

/// Whether one of a header's elements is this word (RFC 9110, section 5.6.1).
fn says(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|it| it.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// The answer in RFC 6455, section 1.3, with one line changed.
    fn answered(changed: &str, value: Option<&str>) -> bool {
        let mut response = http::Response::builder().status(101).body(()).unwrap();
        let headers = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", "mcp"),
        ];
        for (name, value) in headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        let name: HeaderName = changed.parse().unwrap();
        match value {
            Some(value) => drop(response.headers_mut().insert(name, value.parse().unwrap())),
            None => drop(response.headers_mut().remove(name)),
        }
        agreed(&response.into_parts().0, KEY)
    }

    #[test]
    fn the_example_of_the_standard_is_agreed() {
        assert_eq!(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(answered("x-other", Some("1")));
        assert!(answered("sec-websocket-protocol", None));
        assert!(answered("connection", Some("keep-alive, upgrade")));
    }

    #[test]
    fn what_was_not_asked_for_is_not_agreed_to() {
        for (name, value) in [
            ("upgrade", Some("h2c")),
            ("connection", None),
            ("sec-websocket-accept", Some("x")),
            ("sec-websocket-accept", None),
            ("sec-websocket-protocol", Some("chat")),
            ("sec-websocket-extensions", Some("permessage-deflate")),
        ] {
            assert!(!answered(name, value), "{name}");
        }
    }

    #[test]
    fn no_two_keys_are_the_same() {
        let uri = Uri::from_static("https://gw.example/mcp");
        let keys = [request(&uri).unwrap().1, request(&uri).unwrap().1];
        assert_ne!(keys[0], keys[1]);
        assert_eq!(BASE64_STANDARD.decode(&keys[0]).unwrap().len(), 16);
    }
}
