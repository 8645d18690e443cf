//! Redirects: followed within the origin, and only those that keep method and body (307, 308).
//!
//! Anything else would take the credentials elsewhere or turn the request into another one, so
//! it is an error that names both URLs (RFC 9110 section 15.4). Its stage is the protocol: it is
//! a whole answer, not one that broke off, so nothing is unknown about it.

use http::{StatusCode, header};
use tower::{Service as _, ServiceExt as _, service_fn};

use super::url::UpstreamUrl;
use crate::{
    failure::{Failure, Stage},
    service::{HttpService, Request, Response},
};

/// Redirects of one request.
const MAX_HOPS: usize = 5;

/// `inner`, with redirects within the origin of `url` followed.
#[must_use]
pub fn follow_same_origin(url: &UpstreamUrl, inner: HttpService) -> HttpService {
    let url = url.clone();
    HttpService::new(service_fn(move |request| follow(url.clone(), inner.clone(), request)))
}

async fn follow(
    url: UpstreamUrl,
    mut inner: HttpService,
    mut request: Request,
) -> Result<Response, Failure> {
    for _ in 0..=MAX_HOPS {
        let again = request.clone();
        let response = inner.ready().await?.call(request).await?;
        if !redirects(response.status()) || !response.headers().contains_key(header::LOCATION) {
            return Ok(response);
        }
        request = again;
        *request.uri_mut() = target(&url, &request, &response)?;
    }
    let what = format!("{} redirected more than {MAX_HOPS} times", url.origin());
    Err(Failure::new(Stage::Protocol, what).hint("point the URL at the server itself"))
}

fn redirects(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn target(url: &UpstreamUrl, request: &Request, response: &Response) -> Result<http::Uri, Failure> {
    let status = response.status();
    let here = format!("{}{}", url.origin(), request.uri().path());
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let Some(there) = location.and_then(|location| url.resolve(request.uri(), location)) else {
        let what = format!("{here} redirects ({status}) to something that is no URL");
        return Err(Failure::new(Stage::Protocol, what));
    };
    let shown = format!("{}{}", super::url::origin_of(&there), there.path());
    let refused = |why: &'static str| {
        let code = status.as_u16();
        Err(Failure::new(Stage::Protocol, format!("{here} redirects ({code}) to {shown}, {why}"))
            .hint("if that is where the server is, put that URL in place of this one"))
    };
    let Some(uri) = url.same_origin(&there) else {
        return refused("which is another origin: the credentials are not sent there");
    };
    match status.as_u16() {
        307 | 308 => Ok(uri),
        _ => refused("which would change the request's method"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty};

    use super::*;
    use crate::service::Body;

    /// Asks with an upstream that redirects once as told; what was asked for, and the outcome.
    async fn ask(status: u16, location: &'static str) -> (Vec<String>, Result<u16, Failure>) {
        let url = UpstreamUrl::parse("https://gw.example/mcp").unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let inner = HttpService::new(service_fn(move |request: Request| {
            let mut seen = record.lock().unwrap();
            seen.push(format!("{} {}", request.method(), request.uri()));
            let body = Body::new(Empty::<Bytes>::new().map_err(|never| match never {}));
            let mut response = Response::new(body);
            if seen.len() == 1 || location == "/loop" {
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response.headers_mut().insert(header::LOCATION, location.parse().unwrap());
            }
            std::future::ready(Ok(response))
        }));
        let mut request = Request::new(Bytes::from_static(b"{}"));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = url.uri().clone();
        let mut service = follow_same_origin(&url, inner);
        let answer = service.ready().await.unwrap().call(request).await;
        let seen = seen.lock().unwrap().clone();
        (seen, answer.map(|response| response.status().as_u16()))
    }

    #[tokio::test]
    async fn redirects_within_the_origin_keep_the_method() {
        let (seen, answer) = ask(308, "/mcp/").await;
        assert_eq!(seen, ["POST https://gw.example/mcp", "POST https://gw.example/mcp/"]);
        assert_eq!(answer.unwrap(), 200);
    }

    #[tokio::test]
    async fn anything_else_is_an_error_that_names_both_ends_and_no_query() {
        for (status, location) in [
            (307, "https://evil.example/mcp?a=s3cret"),
            (308, "http://gw.example/mcp"),
            (307, "https://gw.example:8443/mcp"),
            (307, "//evil.example/"),
            (302, "/login"),
            (303, "/mcp/"),
        ] {
            let (seen, answer) = ask(status, location).await;
            assert_eq!(seen.len(), 1, "{status} {location}");
            let failure = answer.unwrap_err();
            assert!(failure.what().contains("https://gw.example/mcp redirects"), "{failure}");
            assert!(!failure.what().contains("s3cret"), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_loop_ends() {
        let (seen, answer) = ask(307, "/loop").await;
        assert_eq!(seen.len(), MAX_HOPS + 1);
        assert!(answer.unwrap_err().what().contains("more than 5 times"));
    }
}
