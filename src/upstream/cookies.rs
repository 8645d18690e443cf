//! The origin's cookies, in memory: load balancers keep a session on one server by them.
//!
//! A small part of RFC 6265: one origin, so no domains; paths, ages and deletion are respected.
//! Bounded, and never written anywhere.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use cookie::Cookie;
use http::{HeaderMap, HeaderValue, header};
use tower::{Service as _, ServiceExt as _, service_fn};

use crate::service::{HttpService, Request};

/// RFC 6265 section 6.1 asks for at least 50 cookies of 4096 bytes.
const MAX_COOKIES: usize = 50;
const MAX_COOKIE: usize = 4096;

/// `inner`, with the cookies it sets sent back to it.
#[must_use]
pub fn keep_cookies(inner: HttpService) -> HttpService {
    let jar = Arc::new(Mutex::new(Jar::default()));
    HttpService::new(service_fn(move |mut request: Request| {
        let (mut inner, jar) = (inner.clone(), Arc::clone(&jar));
        async move {
            let cookies = lock(&jar).header(request.uri().path(), SystemTime::now());
            if let Some(cookies) = cookies {
                request.headers_mut().insert(header::COOKIE, cookies);
            }
            let path = request.uri().path().to_owned();
            let response = inner.ready().await?.call(request).await?;
            if response.headers().contains_key(header::SET_COOKIE) {
                lock(&jar).store(response.headers(), &path, SystemTime::now());
            }
            Ok(response)
        }
    }))
}

fn lock(jar: &Mutex<Jar>) -> std::sync::MutexGuard<'_, Jar> {
    jar.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Jar(Vec<Kept>);

struct Kept {
    cookie: Cookie<'static>,
    path: String,
    ends: Option<SystemTime>,
}

impl Jar {
    /// The `Cookie` header for a path; none when there is nothing to send.
    fn header(&mut self, path: &str, now: SystemTime) -> Option<HeaderValue> {
        if self.0.is_empty() {
            return None;
        }
        self.0.retain(|kept| kept.ends.is_none_or(|ends| ends > now));
        let pairs = self.0.iter().filter(|kept| covers(&kept.path, path));
        let pairs: Vec<String> = pairs.map(|kept| kept.cookie.stripped().to_string()).collect();
        let mut value = HeaderValue::try_from(pairs.join("; ")).ok().filter(|v| !v.is_empty())?;
        value.set_sensitive(true);
        Some(value)
    }

    fn store(&mut self, headers: &HeaderMap, request_path: &str, now: SystemTime) {
        for text in headers.get_all(header::SET_COOKIE) {
            let Ok(text) = text.to_str() else { continue };
            if text.len() > MAX_COOKIE {
                tracing::debug!("a cookie of more than {MAX_COOKIE} bytes is not kept");
                continue;
            }
            let Ok(cookie) = Cookie::parse(text.to_owned()) else { continue };
            let path = match cookie.path() {
                Some(path) if path.starts_with('/') => path.to_owned(),
                _ => default_path(request_path).to_owned(),
            };
            self.0.retain(|kept| kept.cookie.name() != cookie.name() || kept.path != path);
            let ends = ends(&cookie, now);
            if ends.is_some_and(|ends| ends <= now) {
                continue;
            }
            if self.0.len() == MAX_COOKIES {
                self.0.remove(0);
            }
            self.0.push(Kept { cookie, path, ends });
        }
    }
}

/// When a cookie ends; `Max-Age` wins over `Expires` (RFC 6265 section 5.3, step 3).
fn ends(cookie: &Cookie<'_>, now: SystemTime) -> Option<SystemTime> {
    if let Some(age) = cookie.max_age() {
        let seconds = u64::try_from(age.whole_seconds()).unwrap_or(0);
        return Some(now + std::time::Duration::from_secs(seconds.min(400 * 86_400)));
    }
    cookie.expires_datetime().map(SystemTime::from)
}

/// RFC 6265 section 5.1.4.
fn default_path(request: &str) -> &str {
    match request.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &request[..at],
    }
}

/// RFC 6265 section 5.1.4, "path-match".
fn covers(path: &str, request: &str) -> bool {
    let Some(rest) = request.strip_prefix(path) else { return false };
    rest.is_empty() || path.ends_with('/') || rest.starts_with('/')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn stored(texts: &[&str], now: SystemTime) -> Jar {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(header::SET_COOKIE, text.parse().unwrap());
        }
        let mut jar = Jar::default();
        jar.store(&headers, "/mcp", now);
        jar
    }

    fn sent(jar: &mut Jar, path: &str, now: SystemTime) -> Option<String> {
        jar.header(path, now).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_come_back_by_path_and_time() {
        let now = SystemTime::now();
        let mut jar = stored(
            &["a=1; Path=/; Secure; HttpOnly", "b=2; Path=/other", "c=3; Max-Age=10", "d; bad"],
            now,
        );
        assert_eq!(sent(&mut jar, "/mcp", now).as_deref(), Some("a=1; c=3"));
        assert_eq!(sent(&mut jar, "/other/x", now).as_deref(), Some("a=1; b=2; c=3"));
        let later = now + Duration::from_secs(11);
        assert_eq!(sent(&mut jar, "/mcp", later).as_deref(), Some("a=1"));
    }

    #[test]
    fn a_cookie_is_replaced_and_deleted() {
        let now = SystemTime::now();
        let mut jar = stored(&["a=1", "a=2", "b=1", "b=; Max-Age=0"], now);
        assert_eq!(sent(&mut jar, "/mcp", now).as_deref(), Some("a=2"));
        assert!(jar.header("/mcp", now).unwrap().is_sensitive());
    }

    #[test]
    fn the_jar_is_bounded() {
        let texts: Vec<String> = (0..80).map(|n| format!("c{n}=x")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(stored(&texts, SystemTime::now()).0.len(), MAX_COOKIES);
        let long = format!("a={}", "x".repeat(5000));
        assert!(stored(&[&long], SystemTime::now()).0.is_empty());
    }
}
