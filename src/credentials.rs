//! What is added to a request so that the upstream knows who calls.
//!
//! Requests pass through [`layer`] with the credentials of [`stack`], each of which sets headers
//! of its own and no others. A credential that can't be had stops the request: nothing is sent
//! without it. What a 401 or 403 means for people is not said here.

pub mod authorization;
pub mod aws_sigv4;
mod derived;
pub mod headers;
pub mod headers_helper;
pub mod hmac;
pub mod http_signature;
pub mod jwt;
pub mod key;
pub mod layer;
mod outgoing;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::HeaderName;

use crate::{
    failure::{Failure, Stage},
    secret,
    service::Request,
};

/// Which value of a credential a request was sent with.
pub type Generation = u64;

/// One thing that is added to each request.
pub trait Credential: Send + Sync {
    /// What it is called in logs.
    fn name(&self) -> &'static str;

    /// The headers it sets. They are trusted by the upstream, so the caller's own are removed.
    fn owns(&self) -> &[HeaderName];

    /// Whether [`refused`](Self::refused) can ever say yes; a request that nothing can make
    /// better is not kept for a second try.
    fn renewable(&self) -> bool;

    /// Whether it covers the request it is sent with, so that it is good for no other.
    fn signs(&self) -> bool;

    /// Whether it reads headers of the caller's, which a rehearsal has none of.
    fn reads_headers(&self) -> bool {
        false
    }

    /// Adds it to the request, and says with which of its values.
    ///
    /// Fails, at [`Stage::Credential`], when it can't be had: the request must not be sent.
    fn apply<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Result<Generation, Failure>>;

    /// The upstream refused a request that had its value of `generation`: renews it if it can,
    /// and says whether one more try is worth it.
    fn refused<'a>(
        &'a self,
        generation: Generation,
        response: &'a http::response::Parts,
    ) -> BoxFuture<'a, bool>;
}

/// All credentials of an upstream. `Debug` shows no value.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Headers with a fixed value.
    pub headers: Vec<headers::Header>,
    /// A program that prints headers.
    pub helper: Option<headers_helper::Settings>,
    /// Secrets sent as they are, in a header of their own.
    pub api_keys: Vec<headers::ApiKey>,
    /// A token or a login in `Authorization`.
    pub authorization: Option<authorization::Settings>,
    /// A token minted here, in `Authorization` or a header of its own.
    pub jwt: Option<jwt::Settings>,
    /// A message authentication code over the request.
    pub hmac: Option<hmac::Settings>,
    /// A signature over the request (RFC 9421).
    pub http_signature: Option<http_signature::Settings>,
    /// A signature over the request, as AWS has it.
    pub aws_sigv4: Option<aws_sigv4::Settings>,
}

impl Settings {
    /// Checks what one credential alone can't see: that no two want the same header, and that
    /// none is signed before it is there.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: a header is set by two credentials, or covered by a signature
    /// and set after it.
    pub fn check(&self) -> Result<(), Failure> {
        let mut owners: Vec<(HeaderName, &'static str)> = Vec::new();
        let stack = stack(self);
        for credential in &stack {
            for name in credential.owns() {
                if let Some((_, other)) = owners.iter().find(|(owned, _)| owned == name) {
                    let what = format!(
                        "the header {name} is set twice, as {other} and as {}",
                        credential.name()
                    );
                    return Err(Failure::new(Stage::Configuration, what).hint("remove one of them"));
                }
                owners.push((name.clone(), credential.name()));
            }
        }
        let after = |name| stack.iter().skip_while(move |it| it.name() != name).skip(1);
        for later in after("--hmac") {
            self.hmac.iter().try_for_each(|hmac| hmac.precedes(later.name(), later.owns()))?;
        }
        for later in after("--http-signature") {
            let signature = self.http_signature.as_ref();
            signature.map_or(Ok(()), |it| it.precedes(later.name(), later.owns()))?;
        }
        Ok(())
    }
}

/// The credentials in the order in which they are applied: the one function that fixes it.
///
/// What is fixed comes first; a helper, whose headers win over the fixed ones; keys; the owner of
/// `Authorization`. Signers come last, since they cover what the others have added; AWS's own
/// is the last of them.
#[must_use]
pub fn stack(settings: &Settings) -> Vec<Arc<dyn Credential>> {
    let mut stack: Vec<Arc<dyn Credential>> = Vec::new();
    if !settings.headers.is_empty() {
        stack.push(Arc::new(headers::Fixed::new(&settings.headers)));
    }
    let place_of_the_helper = stack.len();
    for key in &settings.api_keys {
        stack.push(Arc::new(headers::Key::new(key.clone())));
    }
    if let Some(authorization) = &settings.authorization {
        stack.push(Arc::new(authorization::Authorization::new(authorization.clone())));
    }
    if let Some(jwt) = &settings.jwt {
        stack.push(Arc::new(jwt::Jwt::new(jwt.clone())));
    }
    if let Some(hmac) = &settings.hmac {
        stack.push(Arc::new(hmac::Hmac::new(hmac.clone())));
    }
    if let Some(signature) = &settings.http_signature {
        stack.push(Arc::new(http_signature::HttpSignature::new(signature.clone())));
    }
    if let Some(sigv4) = &settings.aws_sigv4 {
        stack.push(Arc::new(aws_sigv4::AwsSigv4::new(sigv4.clone())));
    }
    if let Some(helper) = &settings.helper {
        // Its headers are known when it has run: it is told whose it must not print.
        let (fixed, others) = stack.split_at(place_of_the_helper);
        let others = headers_helper::Others::new(fixed, others);
        let helper = headers_helper::HeadersHelper::new(helper.clone(), others);
        stack.insert(place_of_the_helper, Arc::new(helper));
    }
    stack
}

/// The failure of a request that stays unsent because a secret could not be had.
fn unsent(error: secret::Error) -> Failure {
    let failure = Failure::new(Stage::Credential, error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint).caused_by(error),
        None => failure.caused_by(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::{fs, path::Path};

    use super::{authorization::Settings as Authorization, headers::ApiKey, headers::Header, *};
    use crate::secret::{Held, Reference};

    /// A secret in a file of its own.
    pub(super) fn held(path: &Path, text: impl AsRef<[u8]>) -> Held {
        fs::write(path, text).unwrap();
        Held::open(Reference::File(path.to_owned())).unwrap()
    }

    #[test]
    fn no_two_credentials_want_the_same_header() {
        let folder = tempfile::tempdir().unwrap();
        let token = held(&folder.path().join("token"), "canary");
        let fixed = |name| vec![Header::new(name, "x").unwrap()];
        let bearer = || Some(Authorization::Bearer(token.clone()));
        let key = |name| ApiKey::new(name, token.clone()).unwrap();
        let refused = [
            Settings {
                headers: fixed("authorization"),
                authorization: bearer(),
                ..Settings::default()
            },
            Settings {
                headers: fixed("x-api-key"),
                api_keys: vec![key("X-API-Key")],
                ..Settings::default()
            },
            Settings { api_keys: vec![key("X-A"), key("x-a")], ..Settings::default() },
        ];
        for settings in refused {
            let failure = settings.check().unwrap_err();
            assert_eq!(failure.stage(), Stage::Configuration);
            assert!(failure.what().contains("is set twice"), "{failure}");
        }
        let twice = [fixed("x-many"), fixed("x-many")].concat();
        let good = Settings {
            headers: twice,
            authorization: bearer(),
            api_keys: vec![key("X-A")],
            ..Settings::default()
        };
        good.check().unwrap();
        let names: Vec<_> = stack(&good).iter().map(|credential| credential.name()).collect();
        assert_eq!(names, ["--header", "--api-key", "--bearer"]);
    }

    #[test]
    fn debug_shows_no_value() {
        let folder = tempfile::tempdir().unwrap();
        let password = held(&folder.path().join("token"), "canary");
        let settings = Settings {
            headers: vec![Header::parse("X-Tenant: canary").unwrap()],
            api_keys: vec![ApiKey::new("X-A", password.clone()).unwrap()],
            authorization: Some(Authorization::Basic { user: "me".to_owned(), password }),
            ..Settings::default()
        };
        let shown = format!("{settings:?} {settings:#?}");
        assert!(shown.contains("x-tenant") && shown.contains("file:"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
