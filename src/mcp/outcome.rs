//! What the end of an exchange means for a request that it has left without an answer, in words.

use std::time::Duration;

use http::StatusCode;

use crate::failure::{Failure, Stage};

/// The next step where a gateway gave up on a request.
pub(super) const LOOK_AT_ITS_LOG: &str = "the request may have run: check before you call it again, \
     and have its operator look at its log";

/// The request broke, and nobody knows how far it had come.
pub(super) fn unknown(cause: &Failure) -> Failure {
    Failure::new(Stage::Send, format!("outcome unknown: {}", cause.what()))
        .hint("the request may have run: check before you call it again")
}

/// The upstream was silent for too long.
pub(super) fn idle(upstream: &str, limit: Duration) -> Failure {
    let limit = humantime::format_duration(limit);
    let what = format!("{upstream} sent no byte for {limit}, the request was cancelled");
    Failure::new(Stage::Response, what).hint(
        "it may have run: check before you call it again; raise --idle-timeout if calls take this \
         long",
    )
}

/// The response came to its end, and the answer was not in it.
pub(super) fn unanswered(upstream: &str) -> Failure {
    let what = format!("{upstream} ended its response without answering the request");
    Failure::new(Stage::Protocol, what).hint("it may have run: check before you call it again")
}

/// The bridge ends before the answer came.
pub(super) fn shut_down() -> Failure {
    Failure::new(Stage::Send, "the bridge was shut down before the answer came")
        .hint("the request may have run: check before you call it again")
}

/// Statuses behind which the request may be running all the same: a gateway gave up on it.
pub(super) fn may_have_run(status: StatusCode) -> bool {
    let refused = matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::NOT_IMPLEMENTED
            | StatusCode::HTTP_VERSION_NOT_SUPPORTED
    );
    status == StatusCode::REQUEST_TIMEOUT || (status.is_server_error() && !refused)
}
