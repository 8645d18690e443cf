//! A request as it will leave, for those who sign it.
//!
//! What the connection adds by itself, `Host` and `Content-Length`, is not in the request yet and
//! is told here from what they will be made of, so that signatures can cover them. Over HTTP/2
//! `:authority` takes the place of `Host`, with the same value.

use std::borrow::Cow;

use http::{HeaderName, header};

use crate::service::Request;

/// A view of a request that no later stage changes, but for cookies.
pub(super) struct Outgoing<'a>(&'a Request);

impl<'a> Outgoing<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        Self(request)
    }

    pub(super) fn method(&self) -> &'a str {
        self.0.method().as_str()
    }

    /// The path as it is sent, `/` where the URL has none.
    pub(super) fn path(&self) -> &'a str {
        match self.0.uri().path() {
            "" => "/",
            path => path,
        }
    }

    /// The query without its `?`; `None` where there is no `?`.
    pub(super) fn query(&self) -> Option<&'a str> {
        self.0.uri().query()
    }

    /// `https` or `http`.
    pub(super) fn scheme(&self) -> &'a str {
        self.0.uri().scheme_str().unwrap_or("https")
    }

    /// The host, with the port where it is not the scheme's: what `Host` or `:authority` will be.
    /// URLs have lost the scheme's own port by now; hyper would leave it out of `Host` alone.
    pub(super) fn authority(&self) -> &'a str {
        self.0.uri().authority().map_or("", |authority| authority.as_str())
    }

    /// The whole URL.
    pub(super) fn url(&self) -> String {
        let query = self.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}://{}{}{query}", self.scheme(), self.authority(), self.path())
    }

    pub(super) fn body(&self) -> &'a [u8] {
        self.0.body()
    }

    /// The values of a header, each by itself, in the order in which they leave; empty where it is
    /// not sent.
    pub(super) fn header(&self, name: &HeaderName) -> Vec<Cow<'a, [u8]>> {
        match *name {
            header::HOST => vec![self.authority().as_bytes().into()],
            // hyper announces no length of an empty body, over HTTP/1.1 and HTTP/2 alike, but for
            // a POST over HTTP/2; those of MCP have a body.
            header::CONTENT_LENGTH if !self.body().is_empty() => {
                vec![self.body().len().to_string().into_bytes().into()]
            }
            _ => self.0.headers().get_all(name).iter().map(|it| it.as_bytes().into()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use bytes::Bytes;

    use super::*;

    fn request(url: &str, body: &'static str) -> Request {
        let request = http::Request::post(url).header("x-a", "1").header("X-A", "2");
        request.body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    fn values(request: &Request, name: &str) -> Vec<String> {
        let values = Outgoing::new(request).header(&name.parse().unwrap());
        values.iter().map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_url_is_told_as_it_is_sent() {
        for (url, expected) in [
            ("https://a.example", ("/", None, "a.example")),
            ("https://a.example/?", ("/", Some(""), "a.example")),
            ("https://a.example:8443/x%2Fy?a=b%20c", ("/x%2Fy", Some("a=b%20c"), "a.example:8443")),
            ("http://[::1]:8080/mcp", ("/mcp", None, "[::1]:8080")),
        ] {
            let request = request(url, "");
            let outgoing = Outgoing::new(&request);
            assert_eq!((outgoing.path(), outgoing.query(), outgoing.authority()), expected);
            let whole = if url.ends_with("example") { format!("{url}/") } else { url.to_owned() };
            assert_eq!(outgoing.url(), whole);
        }
    }

    #[test]
    fn headers_of_the_connection_are_told_before_they_are_there() {
        let full = request("https://a.example:8443/mcp", "Gr\u{fc}n");
        assert_eq!(values(&full, "host"), ["a.example:8443"]);
        assert_eq!(values(&full, "content-length"), ["5"], "in bytes");
        assert_eq!(values(&full, "x-a"), ["1", "2"]);
        let empty = request("https://a.example/mcp", "");
        assert!(values(&empty, "content-length").is_empty());
        assert!(values(&empty, "x-none").is_empty());
    }
}
