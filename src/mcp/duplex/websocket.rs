//! WebSocket: what a refused handshake means, in words.

use http::StatusCode;

use crate::{
    failure::{Failure, Stage},
    mcp::refusal::Refusal,
};

/// Why there is no WebSocket.
pub(super) fn refused(upstream: &str, refusal: &Refusal) -> Failure {
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
