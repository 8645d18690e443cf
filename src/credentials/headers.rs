//! Headers with a fixed value, and headers whose value is a secret.
//!
//! Every value is marked sensitive, so that nothing below logs it or puts it into a compression
//! table. Headers that the connection or the protocol owns can't be set, and no error repeats a
//! value.

use futures_util::future::{BoxFuture, FutureExt, ready};
use http::{HeaderName, HeaderValue, StatusCode};

use super::{
    Credential, Generation,
    derived::{self, Derived, sensitive},
};
use crate::{
    failure::{Failure, Stage},
    secret::Held,
    service::Request,
};

/// A header with a fixed value; the value is sensitive, whatever it is.
#[derive(Clone, Debug)]
pub struct Header {
    name: HeaderName,
    value: HeaderValue,
}

impl Header {
    /// Reads `Name: value`, templates already expanded.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), or there is no colon.
    pub fn parse(line: &str) -> Result<Self, Failure> {
        let (name, value) = line.split_once(':').ok_or_else(|| {
            refuse("a header has no colon", "write it as 'Name: value', in quotes")
        })?;
        Self::new(name, value.strip_prefix(' ').unwrap_or(value))
    }

    /// A header by its name and its value.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: the name is not one, or belongs to the connection or the
    /// protocol; the value is empty, has white space at its ends or a control character in it.
    pub fn new(name: &str, value: &str) -> Result<Self, Failure> {
        let name = free_name(name)?;
        if value.is_empty() {
            return Err(refuse(
                format!("the header {name} has no value"),
                "give it one, or remove it; is the variable in it empty",
            ));
        }
        if value.trim() != value {
            return Err(refuse(
                format!("the value of the header {name} has white space at its beginning or end"),
                "remove it; look at the variables in it",
            ));
        }
        let value = sensitive(value.as_bytes()).ok_or_else(|| {
            refuse(
                format!("the value of the header {name} has a control character in it"),
                "a header is one line; look at the variables in it",
            )
        })?;
        Ok(Self { name, value })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Its value, marked sensitive.
    #[must_use]
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }
}

/// A secret that is sent as it is, in a header of its own.
#[derive(Clone, Debug)]
pub struct ApiKey {
    name: HeaderName,
    key: Held,
}

impl ApiKey {
    /// The header of a key that names none.
    pub const DEFAULT_NAME: &'static str = "X-API-Key";

    /// The key `key` in the header `name`.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: the name is not one, or belongs to the connection or the
    /// protocol.
    pub fn new(name: &str, key: Held) -> Result<Self, Failure> {
        Ok(Self { name: free_name(name)?, key })
    }

    /// The header it is sent in.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }
}

/// Who sets the headers that a user can't.
const TAKEN: &[(&str, &str)] = &[
    ("host", "it is taken from the URL"),
    ("content-length", "it follows from the message"),
    ("content-type", "the protocol sets it"),
    ("accept", "the protocol sets it"),
    ("mcp-session-id", "the protocol sets it"),
    ("mcp-protocol-version", "the protocol sets it"),
    ("last-event-id", "the protocol sets it"),
    // Of one connection, not of the request (RFC 9110, section 7.6.1).
    ("connection", "it belongs to the connection"),
    ("keep-alive", "it belongs to the connection"),
    ("proxy-connection", "it belongs to the connection"),
    ("te", "it belongs to the connection"),
    ("trailer", "it belongs to the connection"),
    ("transfer-encoding", "it belongs to the connection"),
    ("upgrade", "it belongs to the connection"),
];

/// The name of a header that users may set. What is not a name is not repeated: a token in the
/// place of a name happens.
pub(super) fn free_name(name: &str) -> Result<HeaderName, Failure> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        refuse(
            "the name of a header has a character that is not allowed in one, or is empty",
            "write the header as 'Name: value', with no blank before the colon",
        )
    })?;
    match TAKEN.iter().find(|(taken, _)| name == *taken) {
        Some((taken, owner)) => {
            Err(refuse(format!("the header {taken} can't be set: {owner}"), "remove it"))
        }
        None => Ok(name),
    }
}

fn refuse(what: impl Into<std::borrow::Cow<'static, str>>, hint: &'static str) -> Failure {
    Failure::new(Stage::Configuration, what).hint(hint)
}

/// What the credential of all fixed headers is called.
pub(super) const FIXED: &str = "--header";

/// The credential of all fixed headers.
pub(super) struct Fixed {
    headers: Vec<Header>,
    names: Vec<HeaderName>,
}

impl Fixed {
    pub(super) fn new(headers: &[Header]) -> Self {
        let mut names: Vec<HeaderName> = Vec::with_capacity(headers.len());
        for header in headers {
            if !names.contains(&header.name) {
                names.push(header.name.clone());
            }
        }
        Self { headers: headers.to_vec(), names }
    }
}

impl Credential for Fixed {
    fn name(&self) -> &'static str {
        FIXED
    }

    fn owns(&self) -> &[HeaderName] {
        &self.names
    }

    fn renewable(&self) -> bool {
        false
    }

    fn signs(&self) -> bool {
        false
    }

    fn apply<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Result<Generation, Failure>> {
        for Header { name, value } in &self.headers {
            // A header given twice is sent twice; the layer has removed the caller's.
            request.headers_mut().append(name, value.clone());
        }
        ready(Ok(0)).boxed()
    }

    fn refused<'a>(
        &'a self,
        _generation: Generation,
        _response: &'a http::response::Parts,
    ) -> BoxFuture<'a, bool> {
        ready(false).boxed()
    }
}

/// The credential of one API key.
pub(super) struct Key {
    names: [HeaderName; 1],
    value: Derived<HeaderValue>,
}

impl Key {
    pub(super) fn new(ApiKey { name, key }: ApiKey) -> Self {
        Self { names: [name], value: Derived::new(key) }
    }
}

impl Credential for Key {
    fn name(&self) -> &'static str {
        "--api-key"
    }

    fn owns(&self) -> &[HeaderName] {
        &self.names
    }

    fn renewable(&self) -> bool {
        self.value.renewable()
    }

    fn signs(&self) -> bool {
        false
    }

    fn apply<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Result<Generation, Failure>> {
        Box::pin(async move {
            let (value, generation) = self.value.current(derived::header).await?;
            request.headers_mut().insert(&self.names[0], value);
            Ok(generation)
        })
    }

    fn refused<'a>(
        &'a self,
        generation: Generation,
        response: &'a http::response::Parts,
    ) -> BoxFuture<'a, bool> {
        if response.status != StatusCode::UNAUTHORIZED {
            return ready(false).boxed();
        }
        self.value.refused(generation).boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_header_is_read_as_curl_reads_it_and_is_always_sensitive() {
        let header = Header::parse("X-Tenant: a: b\tc").unwrap();
        assert_eq!(
            (header.name().as_str(), header.value().as_bytes()),
            ("x-tenant", &b"a: b\tc"[..])
        );
        assert!(header.value().is_sensitive());
        assert_eq!(Header::parse("X-Tenant:a").unwrap().value(), "a");
        assert_eq!(
            Header::parse("X-Name: Jürgen").unwrap().value().as_bytes(),
            "Jürgen".as_bytes()
        );
    }

    #[test]
    fn mistakes_are_told_without_the_value() {
        for line in [
            "canary",
            "Bearer canary: x",
            ": canary",
            "X-A:  canary",
            "X-A: canary ",
            "X-A: canary\u{a0}",
            "X-A: canary\r\nX-B: y",
            "X-A: can\0ary",
            "X-A: canary\u{7f}",
            "X-A: ",
        ] {
            let failure = Header::parse(line).unwrap_err();
            assert_eq!(failure.stage(), Stage::Configuration, "{line:?}");
            let said = format!("{failure:?}");
            assert!(!said.contains("canary") && failure.next_step().is_some(), "{said}");
        }
    }

    #[test]
    fn headers_of_the_connection_and_the_protocol_are_not_for_users() {
        for (name, _) in TAKEN {
            let failure = Header::new(&name.to_uppercase(), "x").unwrap_err();
            assert!(failure.what().starts_with(&format!("the header {name} can't be set")));
        }
        Header::new("Authorization", "Bearer x").unwrap();
    }
}
