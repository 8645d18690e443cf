//! The owner of the `Authorization` header: a bearer token or a user and a password.
//!
//! The scheme is ours, the secret is what the reference holds. A secret that would make a header
//! that no upstream can read as it is meant is refused here, where it can still be explained.

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::{BoxFuture, FutureExt, ready};
use http::{HeaderName, HeaderValue, StatusCode, header};
use zeroize::Zeroizing;

use super::{
    Credential, Generation,
    derived::{self, Derived, Unfit},
};
use crate::{
    failure::{Failure, Stage},
    secret::Held,
    service::Request,
};

/// How the upstream is told who calls.
#[derive(Clone, Debug)]
pub enum Settings {
    /// A bearer token (RFC 6750, section 2.1).
    Bearer(Held),
    /// A user and a password (RFC 7617).
    Basic {
        /// The user, without a colon in it.
        user: String,
        /// The password.
        password: Held,
    },
}

impl Settings {
    /// [`Basic`](Self::Basic), checked now rather than at the first request.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: the user can't be sent.
    pub fn basic(user: String, password: Held) -> Result<Self, Failure> {
        match unfit_user(&user) {
            Some(what) => {
                Err(Failure::new(Stage::Configuration, format!("the user of --basic {what}"))
                    .hint("write it as --basic USER:REFERENCE"))
            }
            None => Ok(Self::Basic { user, password }),
        }
    }
}

/// The credential that sets `Authorization`.
pub(super) struct Authorization {
    scheme: Scheme,
    value: Derived<HeaderValue>,
}

enum Scheme {
    Bearer,
    Basic { user: String },
}

impl Authorization {
    pub(super) fn new(settings: Settings) -> Self {
        let (scheme, held) = match settings {
            Settings::Bearer(token) => (Scheme::Bearer, token),
            Settings::Basic { user, password } => (Scheme::Basic { user }, password),
        };
        Self { scheme, value: Derived::new(held) }
    }
}

impl Credential for Authorization {
    fn name(&self) -> &'static str {
        match self.scheme {
            Scheme::Bearer => "--bearer",
            Scheme::Basic { .. } => "--basic",
        }
    }

    fn owns(&self) -> &[HeaderName] {
        const NAMES: &[HeaderName] = &[header::AUTHORIZATION];
        NAMES
    }

    fn renewable(&self) -> bool {
        self.value.renewable()
    }

    fn signs(&self) -> bool {
        false
    }

    fn apply<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Result<Generation, Failure>> {
        Box::pin(async move {
            let (value, generation) =
                self.value.current(|secret| derived::header(&self.scheme.render(secret)?)).await?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
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

impl Scheme {
    fn render(&self, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unfit> {
        match self {
            Self::Bearer => bearer(secret),
            Self::Basic { user } => basic(user, secret),
        }
    }
}

fn bearer(token: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unfit> {
    const SCHEME: &[u8] = b"Bearer ";
    if token.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME)) {
        return Err(Unfit::new(
            "already begins with the scheme Bearer, which --bearer adds",
            "keep the token alone there, without the word Bearer",
        ));
    }
    // RFC 6750 allows less, but tokens with `|` or `:` in them are about.
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(Unfit::new(
            "has a blank, a line break or a character outside of ASCII in it, which no \
                   bearer token has",
            "check that it is the token alone",
        ));
    }
    Ok(concatenated(SCHEME, token))
}

fn basic(user: &str, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unfit> {
    const SCHEME: &[u8] = b"Basic ";
    if unfit_user(user).is_some() {
        return Err(Unfit::new(
            "belongs to a user with a colon or a control character in the name",
            "no upstream could read it; give --basic another user",
        ));
    }
    if password.iter().any(u8::is_ascii_control) {
        return Err(Unfit::new(
            "has a line break or another control character in it, which no password has",
            "check that it is the password alone",
        ));
    }
    let mut pair = concatenated(user.as_bytes(), b":");
    pair = concatenated(&pair, password);
    let encoded = Zeroizing::new(STANDARD.encode(&*pair));
    Ok(concatenated(SCHEME, encoded.as_bytes()))
}

/// What keeps a user from being sent: the first colon ends it (RFC 7617, section 2).
fn unfit_user(user: &str) -> Option<&'static str> {
    if user.contains(':') {
        Some("has a colon in it, at which upstreams would cut it")
    } else if user.bytes().any(|byte| byte.is_ascii_control()) {
        Some("has a control character in it")
    } else {
        None
    }
}

/// Both in one allocation: a buffer that grows leaves copies behind that nobody wipes.
fn concatenated(first: &[u8], second: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut both = Zeroizing::new(Vec::with_capacity(first.len() + second.len()));
    both.extend_from_slice(first);
    both.extend_from_slice(second);
    both
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::credentials::tests::held;

    async fn sent(text: &str, settings: impl FnOnce(Held) -> Settings) -> Result<String, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let credential = Authorization::new(settings(held(&folder.path().join("token"), text)));
        let mut request = Request::default();
        credential.apply(&mut request).await?;
        let value = &request.headers()[header::AUTHORIZATION];
        assert!(value.is_sensitive());
        Ok(value.to_str().unwrap().to_owned())
    }

    fn basic(user: &str) -> impl FnOnce(Held) -> Settings {
        move |password| Settings::Basic { user: user.to_owned(), password }
    }

    #[tokio::test]
    async fn a_bearer_token_gets_its_scheme() {
        assert_eq!(sent("1|canary.x:y\n", Settings::Bearer).await.unwrap(), "Bearer 1|canary.x:y");
        assert_eq!(sent("bearer", Settings::Bearer).await.unwrap(), "Bearer bearer");
    }

    #[tokio::test]
    async fn the_examples_of_rfc_7617() {
        let aladdin = sent("open sesame", basic("Aladdin")).await.unwrap();
        assert_eq!(aladdin, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(sent("123£", basic("test")).await.unwrap(), "Basic dGVzdDoxMjPCow==");
        assert_eq!(sent("a:b", basic("")).await.unwrap(), "Basic OmE6Yg==");
    }

    #[tokio::test]
    async fn what_no_header_can_carry_fails_by_its_reference_and_not_by_its_value() {
        let failures = [
            sent("Bearer canary", Settings::Bearer).await,
            sent("BEARER canary", Settings::Bearer).await,
            sent("canary canary", Settings::Bearer).await,
            sent("canary\r\nX-Admin: 1", Settings::Bearer).await,
            sent("canaryé", Settings::Bearer).await,
            sent("canary\ncanary", basic("me")).await,
            sent("canary", basic("me:you")).await,
        ];
        for failure in failures {
            let failure = failure.unwrap_err();
            assert_eq!(failure.stage(), Stage::Credential);
            assert!(failure.what().contains("the secret file:"), "{failure}");
            assert!(failure.next_step().is_some());
            assert!(!format!("{failure} {failure:?}").contains("canary"), "{failure:?}");
        }
    }

    #[test]
    fn a_user_with_a_colon_is_a_configuration_error() {
        let folder = tempfile::tempdir().unwrap();
        let password = held(&folder.path().join("token"), "canary");
        let failure = Settings::basic("me:you".to_owned(), password.clone()).unwrap_err();
        assert_eq!(failure.stage(), Stage::Configuration);
        assert!(Settings::basic("me".to_owned(), password).is_ok());
    }
}
