//! WebSocket: what a refused handshake means, in words.

use http::{StatusCode, header::SEC_WEBSOCKET_PROTOCOL};

use crate::{
    failure::{Failure, Stage},
    mcp::refusal::Refusal,
};

/// Why there is no WebSocket.
pub(super) fn refused(upstream: &str, refusal: &Refusal) -> Failure {
    if refusal.status == StatusCode::SWITCHING_PROTOCOLS {
        return disagreed(upstream, refusal);
    }
    let failure = refusal.explain(upstream);
    let no_websocket = refusal.status.is_success()
        || matches!(
            refusal.status,
            StatusCode::BAD_REQUEST
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_ACCEPTABLE
                | StatusCode::UPGRADE_REQUIRED
                | StatusCode::NOT_IMPLEMENTED
        );
    // A certificate that was refused by a page is told as such.
    if !no_websocket || failure.stage() == Stage::Tls {
        return failure;
    }
    let what = format!("{} where a WebSocket was asked for", failure.what());
    Failure::new(Stage::Response, what).hint(
        "check the URL's path; a server that speaks MCP over HTTP has a URL with https:// instead \
         of wss://",
    )
}

/// The handshake was answered, with something that was not asked for (RFC 6455, section 4.1).
fn disagreed(upstream: &str, refusal: &Refusal) -> Failure {
    let named = refusal.headers.get(SEC_WEBSOCKET_PROTOCOL).filter(|name| *name != "mcp");
    let what = match named {
        Some(name) => {
            let name = refusal.clean(&String::from_utf8_lossy(name.as_bytes()));
            format!("{upstream} chose the subprotocol \"{name}\" where \"mcp\" was offered")
        }
        None => format!("{upstream} answered the handshake of a WebSocket with what was not asked"),
    };
    Failure::new(Stage::Protocol, what).hint("check the URL's path: is MCP spoken there")
}
