//! The one place that turns what went wrong into an HTTP response.
//!
//! The body is a JSON-RPC error without an id, which an MCP client shows and everybody else can
//! read; `Proxy-Status` (RFC 9209) tells our answers from the upstream's.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};

use super::guard::Denied;
use crate::{
    failure::{Failure, Stage},
    mcp::fault,
    service::Body,
};

/// When a caller that was sent away may come back, in seconds.
const COME_BACK: HeaderValue = HeaderValue::from_static("1");

/// Why a request has no answer of the upstream.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The guard said no.
    Denied(Denied),
    /// There is no room for it.
    Busy(&'static str),
    /// Its body is longer than this.
    TooLong(usize),
    /// Its body did not come in time.
    Unread(&'static str),
    /// Its body broke off, or is not framed as HTTP has it.
    Broken(&'static str),
    /// The upstream said nothing for as long as a request may wait.
    Silent(Failure),
    /// The token that it must show can't be had. Where it comes from is for the log, not for who
    /// has shown nothing yet.
    Unproven(Failure),
    /// It failed on its way.
    Failed(Failure),
}

/// All that a caller hears of a token that can't be had.
pub(super) const NO_TOKEN: &str = "the token that callers must show can't be had";

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl Refusal {
    /// What went wrong, in words for the log.
    pub(super) fn failure(&self) -> Failure {
        let refused = |what: String| Failure::new(Stage::Downstream, what);
        match self {
            Self::Denied(denied) => refused(denied.to_string()).hint(denied.hint()),
            Self::Busy(what) => refused((*what).to_owned()).hint("try again in a second"),
            Self::TooLong(limit) => refused(format!("the body is longer than {limit} bytes"))
                .hint("raise --max-message to let it pass"),
            Self::Unread(what) | Self::Broken(what) => refused((*what).to_owned()),
            Self::Silent(failure) | Self::Unproven(failure) | Self::Failed(failure) => {
                failure.clone()
            }
        }
    }

    /// The same in words for the caller.
    fn told(&self) -> Failure {
        match self {
            Self::Unproven(failure) => Failure::new(failure.stage(), NO_TOKEN),
            _ => self.failure(),
        }
    }

    /// The rule that it broke, if one did; what went wrong otherwise. For logs and figures.
    pub(super) fn rule(&self) -> &'static str {
        match self {
            Self::Denied(denied) => denied.rule(),
            Self::Busy(_) => "busy",
            Self::TooLong(_) => "too_long",
            Self::Unread(_) => "unread",
            Self::Broken(_) => "broken",
            Self::Silent(_) => "silent",
            Self::Unproven(failure) | Self::Failed(failure) => failure.stage().name(),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Denied(denied) => denied.status(),
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unread(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Unproven(failure) | Self::Failed(failure) => match failure.stage() {
                Stage::Downstream => StatusCode::BAD_REQUEST,
                Stage::Configuration => StatusCode::INTERNAL_SERVER_ERROR,
                Stage::Credential => StatusCode::SERVICE_UNAVAILABLE,
                Stage::Connect | Stage::Tls | Stage::Send | Stage::Response | Stage::Protocol => {
                    StatusCode::BAD_GATEWAY
                }
            },
        }
    }

    /// RFC 9209, section 2.3.
    fn proxy_status(&self) -> &'static str {
        match self {
            Self::Denied(_) | Self::TooLong(_) => "countersign; error=http_request_denied",
            Self::Busy(_) => "countersign; error=connection_limit_reached",
            Self::Unread(_) | Self::Broken(_) => "countersign; error=http_request_error",
            Self::Silent(_) => "countersign; error=http_response_timeout",
            Self::Unproven(failure) | Self::Failed(failure) => match failure.stage() {
                Stage::Downstream => "countersign; error=http_request_error",
                Stage::Configuration => "countersign; error=proxy_configuration_error",
                Stage::Credential => "countersign; error=proxy_internal_error",
                Stage::Connect => "countersign; error=destination_unavailable",
                Stage::Tls => "countersign; error=tls_protocol_error",
                Stage::Send => "countersign; error=connection_terminated",
                Stage::Response => "countersign; error=http_response_incomplete",
                Stage::Protocol => "countersign; error=http_protocol_error",
            },
        }
    }

    /// The response that says all of it.
    pub(super) fn response(&self) -> Response<Body> {
        let text = fault::unaddressed(&self.told());
        let mut response = Response::new(whole(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("proxy-status", HeaderValue::from_static(self.proxy_status()));
        match self {
            Self::Busy(_) => drop(headers.insert(header::RETRY_AFTER, COME_BACK)),
            Self::Denied(Denied::Token) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Denied(Denied::Method(_)) => {
                let allowed = "GET, POST, DELETE, PUT, PATCH, HEAD, OPTIONS";
                headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            // What is left of the body is not read: the connection ends with it.
            Self::TooLong(_) | Self::Unread(_) | Self::Broken(_) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// A body that is there as a whole.
pub(super) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_failure_says_what_and_where_and_that_it_is_ours() {
        let failure = Failure::new(Stage::Tls, "the gateway refused us").hint("pass --cert");
        let response = Refusal::Failed(failure).response();
        assert_eq!(response.status(), 502);
        assert_eq!(response.headers()["proxy-status"], "countersign; error=tls_protocol_error");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["id"], serde_json::Value::Null);
        assert_eq!(body["error"]["data"]["hint"], "pass --cert");
    }

    #[test]
    fn who_is_sent_away_is_told_when_to_come_back() {
        let response = Refusal::Busy("too many requests").response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
    }

    #[test]
    fn a_credential_that_is_not_there_is_no_fault_of_the_upstream() {
        let failure = Failure::new(Stage::Credential, "no token");
        assert_eq!(Refusal::Failed(failure).response().status(), 503);
    }
}
