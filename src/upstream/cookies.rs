//! Cookies of the one origin, in memory: load balancers keep a session on one server with them.
//!
//! They go back to where they came from and nowhere else, whatever domain they name, so that the
//! jar needs no list of public suffixes. They are credentials: sensitive, bounded, never logged, and of
//! one caller: each that the front end tells apart has a jar of its own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use cookie::Cookie;
use http::{HeaderMap, HeaderValue, Uri, header};
use tower::{Service as _, service_fn};

use crate::service::{Caller, Carried, HttpService, Request};

/// RFC 6265, section 6.1, has 50 cookies a domain and 4096 bytes a cookie.
const COOKIES_AT_MOST: usize = 50;
const BYTES_AT_MOST: usize = 4096;
/// Callers whose cookies are kept; those of whoever was not there for longest are dropped first.
const JARS_AT_MOST: usize = 1024;

/// `inner` with the cookies of earlier responses on every request (RFC 6265).
///
/// All clones share the jars, one for each [`Caller`]. `inner` must send to a single origin.
#[must_use]
pub fn keep_cookies(inner: HttpService) -> HttpService {
    let jars = Arc::new(Jars::default());
    HttpService::new(service_fn(move |mut request: Request| {
        let (jars, mut inner) = (Arc::clone(&jars), inner.clone());
        async move {
            let caller = request.extensions_mut().remove::<Caller>().unwrap_or_default();
            // Most upstreams set none, and cost nothing.
            if !jars.empty.load(Ordering::Relaxed) {
                jars.add_to(&mut request, &caller);
            }
            let uri = request.uri().clone();
            let sent = request.headers().get(header::COOKIE).cloned();
            let mut response = inner.call(request).await?;
            if let Some(sent) = sent.filter(|_| !response.status().is_success()) {
                response.extensions_mut().insert(Carried(values(&sent)));
            }
            if response.headers().contains_key(header::SET_COOKIE) {
                jars.store(&uri, response.headers(), caller);
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

struct Jars {
    known: Mutex<Known>,
    /// There is no jar at all.
    empty: AtomicBool,
}

#[derive(Default)]
struct Known {
    jars: HashMap<Caller, Jar>,
    /// Counts uses, which orders them.
    now: u64,
}

/// What one caller was given.
#[derive(Default)]
struct Jar {
    kept: Vec<Kept>,
    used: u64,
}

impl Default for Jars {
    fn default() -> Self {
        Self { known: Mutex::default(), empty: AtomicBool::new(true) }
    }
}

impl Jars {
    fn add_to(&self, request: &mut Request, caller: &Caller) {
        let mut known = self.lock();
        known.now += 1;
        let now = known.now;
        if let Some(jar) = known.jars.get_mut(caller) {
            jar.used = now;
            jar.add_to(request);
        }
    }

    fn store(&self, uri: &Uri, headers: &HeaderMap, caller: Caller) {
        let mut known = self.lock();
        known.now += 1;
        let mut jar = known.jars.remove(&caller).unwrap_or_default();
        jar.used = known.now;
        jar.store(uri, headers);
        if !jar.kept.is_empty() {
            if known.jars.len() == JARS_AT_MOST {
                known.make_room();
            }
            known.jars.insert(caller, jar);
        }
        self.empty.store(known.jars.is_empty(), Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn make_room(&mut self) {
        let oldest = self.jars.iter().min_by_key(|(_, jar)| jar.used);
        if let Some(caller) = oldest.map(|(caller, _)| caller.clone()) {
            self.jars.remove(&caller);
        }
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
    fn add_to(&mut self, request: &mut Request) {
        let kept = &mut self.kept;
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

    fn store(&mut self, uri: &Uri, headers: &HeaderMap) {
        let kept = &mut self.kept;
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
        let mut jar = Jar::default();
        set(&mut jar, uri, lines);
        jar
    }

    fn set(jar: &mut Jar, uri: &str, lines: &[&str]) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::SET_COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        jar.store(&uri.parse().unwrap(), &headers);
    }

    fn sent(jar: &mut Jar, uri: &str) -> String {
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
        let mut jar = jar(MCP, &["AWSALB=one; Path=/", "b=\"2\"; Path=/; HttpOnly; SameSite=None"]);
        assert_eq!(sent(&mut jar, MCP), "AWSALB=one; b=\"2\"");
        set(&mut jar, MCP, &["AWSALB=two; Path=/; Max-Age=604800; Domain=elsewhere.example"]);
        assert_eq!(sent(&mut jar, MCP), "b=\"2\"; AWSALB=two");
        set(&mut jar, MCP, &["b=; Path=/; Max-Age=0"]);
        assert_eq!(sent(&mut jar, MCP), "AWSALB=two");
        set(&mut jar, MCP, &["AWSALB=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]);
        assert_eq!(sent(&mut jar, MCP), "");
        assert!(jar.kept.is_empty());
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
        let mut jar = jar(MCP, &lines);
        set(&mut jar, MCP, &["d=1; Max-Age=99999999999999"]);
        assert_eq!(sent(&mut jar, MCP), "a=1; d=1");
    }

    #[test]
    fn paths_and_secure_are_respected() {
        let mut jar =
            jar(MCP, &["default=1", "all=1; Path=/", "other=1; Path=/other", "s=1; Secure"]);
        assert_eq!(sent(&mut jar, MCP), "default=1; all=1; s=1");
        assert_eq!(sent(&mut jar, "https://a.example/"), "all=1");
        assert_eq!(sent(&mut jar, "https://a.example/apiary"), "all=1");
        assert_eq!(sent(&mut jar, "https://a.example/other/x"), "all=1; other=1");
        set(&mut jar, "http://127.0.0.1/", &["insecure=1; Secure; Path=/"]);
        assert_eq!(sent(&mut jar, "http://127.0.0.1/api/x"), "default=1; all=1");
    }

    #[test]
    fn the_jar_is_bounded() {
        let long = format!("long={}", "x".repeat(BYTES_AT_MOST));
        let mut jar = jar(MCP, &[&long, "=; Path=/", "no-equals-sign", "é=1"]);
        assert_eq!(sent(&mut jar, MCP), "");
        for number in 0..60 {
            set(&mut jar, MCP, &[&format!("c{number}=1")]);
        }
        let line = sent(&mut jar, MCP);
        assert_eq!(line.split("; ").count(), COOKIES_AT_MOST);
        assert!(line.starts_with("c10=1; "), "{line}");
    }

    fn given(jars: &Jars, caller: u32, line: &str) {
        let headers = [(header::SET_COOKIE, line.parse().unwrap())];
        jars.store(&MCP.parse().unwrap(), &headers.into_iter().collect(), Caller::User(caller));
    }

    fn shown(jars: &Jars, caller: u32) -> Option<String> {
        let mut request = Request::default();
        *request.uri_mut() = MCP.parse().unwrap();
        jars.add_to(&mut request, &Caller::User(caller));
        let value = request.headers().get(header::COOKIE)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn each_caller_has_a_jar_of_its_own() {
        let jars = Jars::default();
        given(&jars, 1, "id=one");
        given(&jars, 2, "id=two");
        assert_eq!(shown(&jars, 1).as_deref(), Some("id=one"));
        assert_eq!(shown(&jars, 2).as_deref(), Some("id=two"));
        assert_eq!(shown(&jars, 3), None);
        given(&jars, 1, "id=; Max-Age=0");
        assert_eq!((shown(&jars, 1), jars.lock().jars.len()), (None, 1));
        given(&jars, 2, "id=; Max-Age=0");
        assert!(jars.empty.load(Ordering::Relaxed));
    }

    #[test]
    fn the_jar_that_was_not_used_for_longest_is_dropped_for_another() {
        let jars = Jars::default();
        for caller in 0..1024 + 9 {
            given(&jars, caller, "id=1");
            assert!(shown(&jars, 0).is_some(), "{caller}");
        }
        assert_eq!(jars.lock().jars.len(), JARS_AT_MOST);
        assert_eq!((shown(&jars, 9), shown(&jars, 10).is_some()), (None, true));
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
