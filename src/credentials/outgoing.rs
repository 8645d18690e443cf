//! A request as it will leave, for those who sign it.
//!
//! What the connection adds by itself, `Host` and `Content-Length`, is not in the request yet and
//! is told here from what they will be made of, so that signatures can cover them.

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
            // A body that is empty is announced by no length, except where a method expects one.
            header::CONTENT_LENGTH if !self.body().is_empty() => {
                vec![self.body().len().to_string().into_bytes().into()]
            }
            _ => self.0.headers().get_all(name).iter().map(|it| it.as_bytes().into()).collect(),
        }
    }
}
