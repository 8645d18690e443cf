//! Cookies of the one origin, in memory: load balancers keep a session on one server with them.
//!
//! They go back to where they came from and nowhere else, whatever domain they name, so that the
//! jar needs no list of public suffixes. They are credentials: sensitive, bounded, never logged.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use cookie::Cookie;
use http::{HeaderMap, HeaderValue, Uri, header};
use tower::{Service as _, service_fn};

use crate::service::{Carried, HttpService, Request};

/// RFC 6265, section 6.1, has 50 cookies a domain and 4096 bytes a cookie.
const COOKIES_AT_MOST: usize = 50;
const BYTES_AT_MOST: usize = 4096;

/// `inner` with the cookies of earlier responses on every request (RFC 6265).
///
/// All clones share one jar. `inner` must send to a single origin.
#[must_use]
pub fn keep_cookies(inner: HttpService) -> HttpService {
    let jar = Arc::new(Jar::default());
    HttpService::new(service_fn(move |mut request: Request| {
        let (jar, mut inner) = (Arc::clone(&jar), inner.clone());
        async move {
            // Most upstreams set none, and cost nothing.
            if !jar.empty.load(Ordering::Relaxed) {
                jar.add_to(&mut request);
            }
            let uri = request.uri().clone();
            let sent = request.headers().get(header::COOKIE).cloned();
            let mut response = inner.call(request).await?;
            if let Some(sent) = sent.filter(|_| !response.status().is_success()) {
                response.extensions_mut().insert(Carried(values(&sent)));
            }
            if response.headers().contains_key(header::SET_COOKIE) {
                jar.store(&uri, response.headers());
            }
            Ok(response)
        }
    }))
}

/// The values in a `Cookie` header, each of which may be what a session hangs on.
fn values(sent: &HeaderValue) -> Arc<[HeaderValue]> {
    let pairs = sent.as_bytes().split(|byte| *byte == b';');
    let values = pairs.filter_map(|pair| pair.splitn(2, |byte| *byte == b'=').nth(1));
    values.filter_map(|value| HeaderValue::from_bytes(value).ok()).collect()
}

struct Jar {
    kept: Mutex<Vec<Kept>>,
    empty: AtomicBool,
}

impl Default for Jar {
    fn default() -> Self {
        Self { kept: Mutex::default(), empty: AtomicBool::new(true) }
    }
}

/// A cookie; name and path are its identity here.
struct Kept {
    name: String,
    value: String,
    path: String,
    secure: bool,
    expires: Option<SystemTime>,
}

impl Jar {
    fn add_to(&self, request: &mut Request) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        kept.retain(|cookie| cookie.expires.is_none_or(|at| at > now));
        // RFC 6265, section 5.4: one header alone, so a configured one becomes its beginning.
        let headers = request.headers();
        let mut line = headers.get(header::COOKIE).map_or_else(Vec::new, |v| v.as_bytes().to_vec());
        for cookie in kept.iter().filter(|cookie| cookie.is_for(request.uri())) {
            if !line.is_empty() {
                line.extend_from_slice(b"; ");
            }
            line.extend_from_slice(cookie.name.as_bytes());
            line.push(b'=');
            line.extend_from_slice(cookie.value.as_bytes());
        }
        if line.is_empty() {
            return;
        }
        if let Ok(mut value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(line)) {
            value.set_sensitive(true);
            request.headers_mut().insert(header::COOKIE, value);
        }
    }

    fn store(&self, uri: &Uri, headers: &HeaderMap) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        for line in headers.get_all(header::SET_COOKIE) {
            let Some(cookie) = Kept::read(line, uri, now) else {
                tracing::debug!("a cookie of the upstream's is malformed or too long: ignored");
                continue;
            };
            kept.retain(|other| other.name != cookie.name || other.path != cookie.path);
            if cookie.expires.is_some_and(|at| at <= now) {
                continue;
            }
            if kept.len() == COOKIES_AT_MOST {
                // The one that was set longest ago.
                kept.remove(0);
            }
            kept.push(cookie);
        }
        self.empty.store(kept.is_empty(), Ordering::Relaxed);
    }
}

impl Kept {
    /// The storage model of RFC 6265, section 5.3, without domains.
    fn read(line: &HeaderValue, uri: &Uri, now: SystemTime) -> Option<Self> {
        let line = line.to_str().ok().filter(|line| line.len() <= BYTES_AT_MOST)?;
        let cookie = Cookie::parse(line).ok()?;
        let secure = cookie.secure().unwrap_or(false);
        if secure && uri.scheme_str() != Some("https") {
            return None;
        }
        let path = match cookie.path() {
            Some(path) if path.starts_with('/') => path,
            _ => default_path(uri.path()),
        };
        // Max-Age comes before Expires (section 5.3, step 3).
        let expires = match (cookie.max_age(), cookie.expires_datetime()) {
            (Some(age), _) => {
                let age = Duration::from_secs(age.whole_seconds().try_into().unwrap_or(0));
                // One that is too far away for the clock lasts as long as we do.
                now.checked_add(age)
            }
            (None, Some(at)) => Some(SystemTime::from(at)),
            (None, None) => None,
        };
        Some(Self {
            name: cookie.name().to_owned(),
            value: cookie.value().to_owned(),
            path: path.to_owned(),
            secure,
            expires,
        })
    }

    fn is_for(&self, uri: &Uri) -> bool {
        (!self.secure || uri.scheme_str() == Some("https")) && path_matches(uri.path(), &self.path)
    }
}

/// RFC 6265, section 5.1.4: the folder of the request's path.
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &path[..end],
    }
}

/// RFC 6265, section 5.1.4: the same, or a folder of it.
fn path_matches(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || folder.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::service::{Body, Response};
    use http_body_util::{BodyExt as _, Empty};

    fn jar(uri: &str, lines: &[&str]) -> Jar {
        let jar = Jar::default();
        set(&jar, uri, lines);
        jar
    }

    fn set(jar: &Jar, uri: &str, lines: &[&str]) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::SET_COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        jar.store(&uri.parse().unwrap(), &headers);
    }

    fn sent(jar: &Jar, uri: &str) -> String {
        let mut request = Request::default();
        *request.uri_mut() = uri.parse().unwrap();
        jar.add_to(&mut request);
        let value = request.headers().get(header::COOKIE);
        value.map_or_else(String::new, |value| {
            assert!(value.is_sensitive());
            value.to_str().unwrap().to_owned()
        })
    }

    const MCP: &str = "https://a.example/api/mcp";

    #[test]
    fn a_cookie_comes_back_until_it_is_replaced_or_deleted() {
        let jar = jar(MCP, &["AWSALB=one; Path=/", "b=\"2\"; Path=/; HttpOnly; SameSite=None"]);
        assert_eq!(sent(&jar, MCP), "AWSALB=one; b=\"2\"");
        set(&jar, MCP, &["AWSALB=two; Path=/; Max-Age=604800; Domain=elsewhere.example"]);
        assert_eq!(sent(&jar, MCP), "b=\"2\"; AWSALB=two");
        set(&jar, MCP, &["b=; Path=/; Max-Age=0"]);
        assert_eq!(sent(&jar, MCP), "AWSALB=two");
        set(&jar, MCP, &["AWSALB=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]);
        assert_eq!(sent(&jar, MCP), "");
        assert!(jar.empty.load(Ordering::Relaxed));
    }

    #[test]
    fn max_age_comes_before_expires_and_may_be_negative_or_huge() {
        let past = "Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        let lines = [
            format!("a=1; Max-Age=60; {past}"),
            "b=1; Max-Age=-1".to_owned(),
            format!("c=1; {past}"),
        ];
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let jar = jar(MCP, &lines);
        set(&jar, MCP, &["d=1; Max-Age=99999999999999"]);
        assert_eq!(sent(&jar, MCP), "a=1; d=1");
    }

    #[test]
    fn paths_and_secure_are_respected() {
        let jar = jar(MCP, &["default=1", "all=1; Path=/", "other=1; Path=/other", "s=1; Secure"]);
        assert_eq!(sent(&jar, MCP), "default=1; all=1; s=1");
        assert_eq!(sent(&jar, "https://a.example/"), "all=1");
        assert_eq!(sent(&jar, "https://a.example/apiary"), "all=1");
        assert_eq!(sent(&jar, "https://a.example/other/x"), "all=1; other=1");
        set(&jar, "http://127.0.0.1/", &["insecure=1; Secure; Path=/"]);
        assert_eq!(sent(&jar, "http://127.0.0.1/api/x"), "default=1; all=1");
    }

    #[test]
    fn the_jar_is_bounded() {
        let long = format!("long={}", "x".repeat(BYTES_AT_MOST));
        let jar = jar(MCP, &[&long, "=; Path=/", "no-equals-sign", "é=1"]);
        assert_eq!(sent(&jar, MCP), "");
        for number in 0..60 {
            set(&jar, MCP, &[&format!("c{number}=1")]);
        }
        let line = sent(&jar, MCP);
        assert_eq!(line.split("; ").count(), COOKIES_AT_MOST);
        assert!(line.starts_with("c10=1; "), "{line}");
    }

    #[tokio::test]
    async fn a_configured_cookie_is_kept_beside_those_of_the_jar() {
        let inner = HttpService::new(service_fn(|request: Request| async move {
            let mut response = Response::new(Body::new(Empty::new().map_err(|e| match e {})));
            let cookie = request.headers().get(header::COOKIE).cloned();
            response.extensions_mut().insert(cookie);
            let headers = response.headers_mut();
            headers.insert(header::SET_COOKIE, HeaderValue::from_static("route=7; Path=/"));
            Ok(response)
        }));
        let mut service = keep_cookies(inner);
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut request = Request::default();
            *request.uri_mut() = MCP.parse().unwrap();
            request.headers_mut().insert(header::COOKIE, HeaderValue::from_static("own=1"));
            let response = service.call(request).await.unwrap();
            let cookie = response.extensions().get::<Option<HeaderValue>>().unwrap().clone();
            seen.push(cookie.unwrap().to_str().unwrap().to_owned());
        }
        assert_eq!(seen, ["own=1", "own=1; route=7"]);
    }
}
