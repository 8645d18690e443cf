//! Redirects that stay at the origin and change nothing but the path.
//!
//! 307 and 308 to the same scheme, host and port are followed, with method and body. Any other
//! redirect fails and names both URLs: to go elsewhere would carry the credentials there, and a
//! 301, 302 or 303 may turn a call into a GET. It is a whole answer, not one that broke off: its
//! failure keeps its hint, and no outcome is unknown for it.

use std::{fmt, sync::Arc};

use http::{HeaderValue, StatusCode, Uri, header};
use tower::{Service as _, service_fn};
use url::Url;

use super::url::UpstreamUrl;
use crate::{
    failure::{Failure, Stage},
    redaction,
    service::{Carried, HttpService, Request, Response, Secrets, Unshown},
};

/// Redirects a request may take.
const FOLLOWED_AT_MOST: usize = 5;

/// `inner`, with redirects within the origin of `url` followed.
///
/// Each hop is a request of its own to `inner`. A redirect that is not followed fails at
/// [`Stage::Protocol`].
#[must_use]
pub fn follow_same_origin(url: &UpstreamUrl, inner: HttpService) -> HttpService {
    let origin = Arc::new(url.clone());
    HttpService::new(service_fn(move |request: Request| {
        let (origin, mut inner) = (Arc::clone(&origin), inner.clone());
        async move {
            // The cost of this layer on the usual way: a head of a few headers, before the
            // credentials are on it, and a reference to the body.
            let mut next = request.clone();
            let mut response = inner.call(request).await?;
            for _ in 0..FOLLOWED_AT_MOST {
                let Some(target) = target(&response, &next, &origin)? else {
                    return Ok(response);
                };
                let to = Shown::from(&target).shown_for(&next).without(&response);
                let from = Shown::from(next.uri()).shown_for(&next).without(&response);
                tracing::debug!(%from, %to, "redirected");
                *next.uri_mut() = target;
                // Before the next request, so that its connection is free for it.
                drop(response);
                response = inner.call(next.clone()).await?;
            }
            match target(&response, &next, &origin)? {
                None => Ok(response),
                Some(_) => Err(Failure::new(
                    Stage::Protocol,
                    format!("{origin} redirects in circles: more than {FOLLOWED_AT_MOST} times"),
                )
                .hint("point the URL at the MCP endpoint itself")),
            }
        }
    }))
}

/// Where the response to a request redirects to, if it does and that may be followed.
fn target(
    response: &Response,
    request: &Request,
    origin: &UpstreamUrl,
) -> Result<Option<Uri>, Failure> {
    let from = request.uri();
    let status = response.status();
    // 300 offers a choice, and 304 is about a cache; neither redirects.
    if !status.is_redirection()
        || matches!(status, StatusCode::MULTIPLE_CHOICES | StatusCode::NOT_MODIFIED)
    {
        return Ok(None);
    }
    let Some(location) = response.headers().get(header::LOCATION) else { return Ok(None) };
    let here = Shown::from(from).shown_for(request).without(response);
    if repeats(location, response) {
        // Followed, it would put them into a URL, which everyone on the way writes down.
        let what = format!("{here} redirects ({status}) to a URL that repeats what it was sent");
        return Err(Failure::new(Stage::Protocol, what)
            .hint("point the URL at the MCP endpoint itself; its operator should know of this"));
    }
    // RFC 9110, section 10.2.2: relative to the URL that was asked.
    let there = location.to_str().ok().and_then(|location| {
        let there = Url::parse(&from.to_string()).ok()?.join(location).ok()?;
        there.host_str().is_some().then_some(there)
    });
    let Some(mut there) = there else {
        let what = format!("{here} redirects ({status}) to something that is no URL");
        return Err(
            Failure::new(Stage::Protocol, what).hint("point the URL at the MCP endpoint itself")
        );
    };
    there.set_fragment(None);
    let to = there.as_str().parse::<Uri>().ok();
    let shown = told(&there, location, from, response).shown_for(request);
    let refused = |why: &str, hint: String| {
        let what = format!("{here} redirects ({status}) to {shown}: not followed, {why}");
        Err(Failure::new(Stage::Protocol, what).hint(hint))
    };
    let Some(to) = to.filter(|to| origin.is_origin_of(to)) else {
        if there.scheme() == "http" && there.host_str() == from.host() && origin.is_https() {
            let path = Shown(there.path().to_owned()).shown_for(request).without(response);
            return refused(
                "it would leave TLS",
                format!(
                    "point the URL at the right path, https as it is ({path}); the upstream does \
                     not know that it is reached over TLS",
                ),
            );
        }
        let hint = "if that is the MCP endpoint, point the URL at it";
        return refused("it would take the credentials to another origin", hint.to_owned());
    };
    match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => Ok(Some(to)),
        _ => refused(
            "it may change the method",
            "if that is the MCP endpoint, point the URL at it; if it is a login page, the \
             upstream did not accept the credentials"
                .to_owned(),
        ),
    }
}

/// How the URL is told that stood in the response as `location`.
fn told(there: &Url, location: &HeaderValue, from: &Uri, response: &Response) -> Shown {
    let location = String::from_utf8_lossy(location.as_bytes());
    let said = location.split(['?', '#']).next().unwrap_or_default();
    // A host is in small letters by now, in which what was sent is not found again.
    if there.host_str() != from.host() && Shown(said.to_owned()).without(response).0 != said {
        return Shown("a URL that repeats what it was sent".to_owned());
    }
    Shown::from(there).without(response)
}

/// Whether a header of the response holds a secret that the request carried.
fn repeats(value: &HeaderValue, response: &Response) -> bool {
    let text = String::from_utf8_lossy(value.as_bytes());
    let secrets = response.extensions().get::<Secrets>();
    secrets.is_some_and(|secrets| redaction::clean(&text, &*secrets.0) != text)
}

/// A URL without what may be secret in it: user, password, query.
struct Shown(String);

impl Shown {
    /// The same without its path, where `request` is one that does not show it: the upstream's words for
    /// another place may repeat it.
    fn shown_for(mut self, request: &Request) -> Self {
        if request.extensions().get::<Unshown>().is_some() {
            let authority = self.0.find("://").map_or(0, |scheme| scheme + 3);
            if let Some(path) = self.0[authority..].find('/') {
                self.0.truncate(authority + path);
                self.0.push_str("/<redacted>");
            }
        }
        self
    }

    /// The same without what the request carried, which an upstream may put into a path.
    fn without(self, response: &Response) -> Self {
        match response.extensions().get::<Carried>() {
            Some(carried) => Self(redaction::clean(&self.0, &*carried.0)),
            None => self,
        }
    }
}

impl From<&Uri> for Shown {
    fn from(uri: &Uri) -> Self {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        Self(format!("{}://{host}{}", uri.scheme_str().unwrap_or_default(), uri.path()))
    }
}

impl From<&Url> for Shown {
    fn from(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        Self(format!("{}://{host}{port}{}", url.scheme(), url.path()))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
