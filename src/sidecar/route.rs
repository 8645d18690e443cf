//! A way to one upstream: which requests take it, and what their URLs become there.
//!
//! A route has a service of its own, with credentials of its own: no request that took one route can
//! reach the origin of another. Paths are mapped at their beginning alone and never decoded.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Uri,
    header::{self, HeaderName},
    uri::{Authority, Parts, PathAndQuery, Scheme},
};
use url::Url;

use super::{
    guard::is_host,
    path::below,
    sessions::Sessions,
    translate::{Translate, Translation},
};
use crate::{
    failure::{Failure, Stage},
    service::{HttpService, Request},
    tls::{Generations, identity::Summary},
    upstream::reach::Reach,
};

/// Headers of a response that may name the place of something.
const PLACES: [HeaderName; 2] = [header::LOCATION, header::CONTENT_LOCATION];

/// A route as it is configured.
pub struct Route {
    /// Its name, for logs and figures.
    pub name: String,
    /// The host that a request must be for, as [`super::guard::host_name`] has it; any if none is
    /// given.
    pub host: Option<String>,
    /// Where its paths begin here; where the upstream's begin if none is given.
    pub prefix: Option<String>,
    /// The upstream's URL.
    pub upstream: Uri,
    /// The way there.
    pub service: HttpService,
    /// The same over HTTP/1.1 alone, for what becomes a WebSocket.
    pub sockets: HttpService,
    /// Who we are there, as it is now.
    pub tls: Option<Generations>,
    /// What readiness asks whether the upstream can be reached, if it is to.
    pub reach: Option<Reach>,
    /// What it takes to speak for clients of another era than the upstream's, if they are to be.
    pub translate: Option<Translate>,
}

/// A route that is taken.
pub(super) struct Lane {
    pub(super) name: Arc<str>,
    pub(super) service: HttpService,
    pub(super) sockets: HttpService,
    pub(super) sessions: Sessions,
    pub(super) reach: Option<Reach>,
    pub(super) translation: Option<Translation>,
    tls: Option<Generations>,
    host: Option<String>,
    /// Where paths begin here and there, both without a slash at their end.
    prefix: String,
    base: String,
    scheme: Scheme,
    authority: Authority,
    /// What the upstream's URL asks of each request.
    query: Option<String>,
}

impl Lane {
    pub(super) fn new(route: Route) -> Result<Self, Failure> {
        let parts = route.upstream.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            let what = format!("the route {} has no upstream", route.name);
            return Err(Failure::new(Stage::Configuration, what));
        };
        let target = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let base = target.path().trim_end_matches('/').to_owned();
        let prefix = route.prefix.map(|prefix| prefix.trim_end_matches('/').to_owned());
        Ok(Self {
            name: route.name.into(),
            tls: route.tls,
            reach: route.reach,
            translation: route.translate.map(Translation::new),
            service: route.service,
            sockets: route.sockets,
            sessions: Sessions::default(),
            host: route.host,
            prefix: prefix.unwrap_or_else(|| base.clone()),
            base,
            scheme,
            authority,
            query: target.query().map(str::to_owned),
        })
    }

    /// How closely the route fits a request; the closest is taken, none if it does not fit.
    pub(super) fn fits(&self, host: &str, path: &str) -> Option<(bool, usize)> {
        let named = match &self.host {
            Some(wanted) if !is_host(wanted, host) => return None,
            wanted => wanted.is_some(),
        };
        below(path, &self.prefix).map(|_| (named, self.prefix.len()))
    }

    /// The client certificate, if there is one.
    pub(super) fn identity(&self) -> Option<Summary> {
        self.tls.as_ref()?.current().identity.clone()
    }

    /// Whether the host of a request is of any account.
    pub(super) fn has_host(&self) -> bool {
        self.host.is_some()
    }

    /// The upstream's URL for a request that fits.
    pub(super) fn target(&self, asked: &Uri) -> Option<Uri> {
        let rest = below(asked.path(), &self.prefix)?;
        if self.prefix == self.base && self.query.is_none() {
            return self.at(asked.path_and_query()?.clone());
        }
        let mut target = format!("{}{rest}", self.base);
        if target.is_empty() {
            target.push('/');
        }
        let queries = [self.query.as_deref(), asked.query()];
        for (query, mark) in queries.into_iter().flatten().zip(['?', '&']) {
            target.push(mark);
            target.push_str(query);
        }
        self.at(PathAndQuery::try_from(target).ok()?)
    }

    fn at(&self, target: PathAndQuery) -> Option<Uri> {
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).ok()
    }

    /// A request to the upstream that no caller made.
    pub(super) fn request_of_our_own(&self) -> Request {
        let mut request = Request::default();
        let target = self.prefix.parse().ok().and_then(|asked: Uri| self.target(&asked));
        *request.uri_mut() =
            target.or_else(|| self.at(PathAndQuery::from_static("/"))).unwrap_or_default();
        request
    }

    /// Makes the upstream's own URLs in a response lead here; those of others stay as they are.
    pub(super) fn bring_home(&self, headers: &mut HeaderMap, target: &Uri) {
        for name in &PLACES {
            let Some(place) = headers.get(name).and_then(|place| place.to_str().ok()) else {
                continue;
            };
            if let Some(home) = self.home(place, target) {
                headers.insert(name, home);
            }
        }
    }

    /// The path here for a place of the upstream's, unless it is right as it is.
    fn home(&self, place: &str, target: &Uri) -> Option<HeaderValue> {
        let there = Url::parse(&target.to_string()).ok()?.join(place).ok()?;
        let ours = Url::parse(&format!("{}://{}", self.scheme, self.authority)).ok()?;
        if there.origin() != ours.origin() {
            return None;
        }
        let is_relative = Url::parse(place).is_err() && !place.starts_with("//");
        let query = self.callers_part(there.query());
        if is_relative && self.prefix == self.base && query == there.query() {
            return None;
        }
        let rest = below(there.path(), &self.base)?;
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let fragment = there.fragment().map(|it| format!("#{it}")).unwrap_or_default();
        let path = format!("{}{rest}", self.prefix);
        // What begins with two slashes is a host to who follows it (RFC 3986, section 4.2).
        let before = if path.starts_with("//") { "/." } else { "" };
        let path = if path.is_empty() { "/" } else { &path };
        HeaderValue::try_from(format!("{before}{path}{query}{fragment}")).ok()
    }

    /// What of a place's query is not our own, which is nobody's to see and would be sent twice.
    fn callers_part<'a>(&self, query: Option<&'a str>) -> Option<&'a str> {
        let (Some(said), Some(ours)) = (query, self.query.as_deref()) else { return query };
        match said.strip_prefix(ours) {
            Some("") => None,
            Some(rest) => rest.strip_prefix('&').or(query),
            None => query,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tower::service_fn;

    use super::*;

    fn lane(prefix: Option<&str>, upstream: &str) -> Lane {
        let service = service_fn(|_: Request| async { Err(Failure::new(Stage::Send, "nowhere")) });
        let route = Route {
            name: "test".to_owned(),
            host: None,
            prefix: prefix.map(str::to_owned),
            upstream: upstream.parse().unwrap(),
            service: HttpService::new(service),
            sockets: HttpService::new(service),
            tls: None,
            reach: None,
            translate: None,
        };
        Lane::new(route).unwrap()
    }

    #[test]
    fn paths_are_the_upstreams_own_or_begin_as_the_route_says() {
        let target = |prefix, upstream, asked: &str| {
            let target = lane(prefix, upstream).target(&asked.parse().unwrap());
            target.map(|target| target.to_string())
        };
        for (prefix, upstream, asked, expected) in [
            (None, "https://gw.example/mcp", "/mcp", Some("https://gw.example/mcp")),
            (
                None,
                "https://gw.example/mcp",
                "/mcp/a%2Fb?c=d",
                Some("https://gw.example/mcp/a%2Fb?c=d"),
            ),
            (None, "https://gw.example/mcp", "/mcpx", None),
            (None, "https://gw.example/mcp", "/", None),
            (None, "https://gw.example", "/any/path", Some("https://gw.example/any/path")),
            (None, "https://gw.example", "/", Some("https://gw.example/")),
            (Some("/github"), "https://gw.example/mcp/", "/github", Some("https://gw.example/mcp")),
            (
                Some("/github/"),
                "https://gw.example/mcp",
                "/github/x",
                Some("https://gw.example/mcp/x"),
            ),
            (Some("/"), "https://gw.example/mcp", "/x", Some("https://gw.example/mcp/x")),
            (None, "https://gw.example/?t=1", "/a?b=2", Some("https://gw.example/a?t=1&b=2")),
            (None, "https://gw.example/?t=1", "/a", Some("https://gw.example/a?t=1")),
        ] {
            assert_eq!(target(prefix, upstream, asked).as_deref(), expected, "{asked}");
        }
    }

    #[test]
    fn places_of_the_upstream_lead_here_and_no_others() {
        let home = |prefix, place: &str| {
            let lane = lane(prefix, "https://gw.example/mcp");
            let target = "https://gw.example/mcp/a".parse().unwrap();
            lane.home(place, &target).map(|home| home.to_str().unwrap().to_owned())
        };
        for (prefix, place, expected) in [
            (None, "https://gw.example/mcp/b?c#d", Some("/mcp/b?c#d")),
            (None, "https://GW.example:443/mcp/b", Some("/mcp/b")),
            (None, "//gw.example/mcp/b", Some("/mcp/b")),
            (None, "/mcp/b", None),
            (None, "b", None),
            (Some("/x"), "/mcp/b", Some("/x/b")),
            (Some("/x"), "b", Some("/x/b")),
            (Some(""), "/mcp", Some("/")),
            (None, "https://evil.example/mcp", None),
            (None, "http://gw.example/mcp", None),
        ] {
            assert_eq!(home(prefix, place).as_deref(), expected, "{place}");
        }
    }

    #[test]
    fn no_place_becomes_another_host_and_none_shows_our_own_query() {
        let home = |prefix, upstream, place: &str| {
            let lane = lane(prefix, upstream);
            let target = lane.target(&"/mcp/a?b=2".parse().unwrap())?;
            lane.home(place, &target).map(|home| home.to_str().unwrap().to_owned())
        };
        let secret = "https://gw.example/mcp?t=canary";
        for (prefix, upstream, place, expected) in [
            (
                Some("/"),
                "https://gw.example",
                "https://gw.example//evil.example/x/",
                "/.//evil.example/x/",
            ),
            (None, "https://gw.example", "https://gw.example//evil.example/", "/.//evil.example/"),
            (None, secret, "https://gw.example/mcp/a/?t=canary&b=2", "/mcp/a/?b=2"),
            (None, secret, "/mcp/a/?t=canary&b=2", "/mcp/a/?b=2"),
            (None, secret, "?t=canary", "/mcp/a"),
        ] {
            assert_eq!(home(prefix, upstream, place).as_deref(), Some(expected), "{place}");
        }
        assert_eq!(home(None, secret, "/mcp/b?c=d"), None);
    }

    #[test]
    fn the_closest_route_is_taken() {
        let lane = |host: Option<&str>, prefix| Lane {
            host: host.map(str::to_owned),
            ..lane(Some(prefix), "https://gw.example")
        };
        assert_eq!(lane(None, "/a").fits("x", "/a/b"), Some((false, 2)));
        assert_eq!(lane(Some("x"), "").fits("X", "/a/b"), Some((true, 0)));
        assert_eq!(lane(Some("x"), "").fits("y", "/a/b"), None);
        assert!(lane(Some("x"), "").fits("x", "/a") > lane(None, "/a").fits("x", "/a"));
    }
}
