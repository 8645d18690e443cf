//! AWS Signature Version 4, for gateways in front of AWS.
//!
//! Covered are the method, the path, the query, the body, and of the headers `host`, `content-type`
//! and all that start with `x-amz-`: those that proxies on the way leave alone. Keys come from
//! references or from where the AWS tools have theirs; AWS itself is never asked for any.

mod canonical;
mod endpoint;
mod ini;
mod keys;
mod process;
mod shared_files;
mod sign;

#[cfg(test)]
mod tests;

use std::time::SystemTime;

use futures_util::future::{BoxFuture, FutureExt, ready};
use http::{HeaderName, HeaderValue, StatusCode, header};

pub use self::{
    endpoint::Endpoint,
    keys::{AccessKeyId, Given},
    shared_files::SharedFiles,
};

use self::{
    canonical::{Canonical, Parts, Paths},
    keys::Keys,
    sign::{Scope, Timestamp},
};
use super::{Credential, Generation, derived, outgoing::Outgoing};
use crate::{
    failure::{Failure, Stage},
    service::Request,
};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// What a signature sets; the caller's own are removed, whether or not ours are sent.
pub static HEADERS: [HeaderName; 4] = [header::AUTHORIZATION, DATE, TOKEN, CONTENT_SHA256];

/// Where keys come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// References.
    Given(Given),
    /// The files of the AWS tools.
    Shared(SharedFiles),
}

/// What requests are signed for, and with which keys. `Debug` shows no key.
#[derive(Clone, Debug)]
pub struct Settings {
    scope: Scope,
    source: Source,
    content_sha256: bool,
}

impl Settings {
    /// Requests to `service` in `region`, signed with the keys of `source`. The digest of the body
    /// is always signed; `content_sha256` says whether it is sent as well, as S3 wants it.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: there are no keys, or they have the wrong form.
    pub fn new(
        region: String,
        service: String,
        source: Source,
        content_sha256: bool,
    ) -> Result<Self, Failure> {
        for (what, text) in [("region", &region), ("service", &service)] {
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if text.is_empty() || !text.bytes().all(letters) {
                let what = format!("expected the name of an AWS {what}, found something else");
                return Err(Failure::new(Stage::Configuration, what)
                    .hint("write it as in aws:amz:eu-west-1:execute-api"));
            }
        }
        match &source {
            Source::Given(given) => keys::Live::new(given.clone()).check()?,
            Source::Shared(files) => files.check()?,
        }
        let content_sha256 = content_sha256 || service == "s3";
        Ok(Self { scope: Scope { region, service }, source, content_sha256 })
    }

    /// Adds the signature of `request` at `now`.
    fn sign(&self, request: &mut Request, keys: &Keys, now: SystemTime) -> Result<(), Failure> {
        let at = Timestamp::new(now);
        let digest = sign::sha256(request.body());
        let mut date = value(at.as_str())?;
        // No secret: AWS quotes it where the clocks differ, and people need to read that.
        date.set_sensitive(false);
        request.headers_mut().insert(DATE, date);
        if let Some(token) = &keys.session_token {
            request.headers_mut().insert(TOKEN, token.clone());
        }
        if self.content_sha256 {
            request.headers_mut().insert(CONTENT_SHA256, value(&digest)?);
        }
        let canonical = self.canonical(request, &digest);
        let signature = sign::authorization(&canonical, keys, &self.scope, &at);
        request.headers_mut().insert(header::AUTHORIZATION, value(&signature)?);
        Ok(())
    }

    fn canonical(&self, request: &Request, payload: &str) -> Canonical {
        let outgoing = Outgoing::new(request);
        let covered = request.headers().keys().filter(|name| is_covered(name));
        let names = std::iter::once(&header::HOST).chain(covered);
        let parts = Parts {
            method: outgoing.method(),
            path: outgoing.path(),
            query: outgoing.query(),
            headers: names.map(|name| (name.clone(), outgoing.header(name))).collect(),
            payload,
        };
        let paths = if self.scope.service == "s3" { Paths::AsIs } else { Paths::Normalized };
        Canonical::new(parts, paths)
    }
}

fn is_covered(name: &HeaderName) -> bool {
    name == header::CONTENT_TYPE || name.as_str().starts_with("x-amz-")
}

/// Nothing of which a signature is made has a control character in it.
fn value(text: &str) -> Result<HeaderValue, Failure> {
    derived::sensitive(text.as_bytes()).ok_or_else(|| {
        Failure::new(Stage::Credential, "the AWS signature could not be made into a header")
    })
}

/// The credential.
pub(super) struct AwsSigv4 {
    settings: Settings,
    keys: Live,
}

enum Live {
    Given(keys::Live),
    Shared(shared_files::Live),
}

impl AwsSigv4 {
    pub(super) fn new(settings: Settings) -> Self {
        let keys = match settings.source.clone() {
            Source::Given(given) => Live::Given(keys::Live::new(given)),
            Source::Shared(files) => Live::Shared(shared_files::Live::new(files)),
        };
        Self { settings, keys }
    }

    async fn keys(&self) -> Result<(Keys, Generation), Failure> {
        match &self.keys {
            Live::Given(keys) => keys.current().await,
            Live::Shared(keys) => keys.current().await,
        }
    }
}

impl Credential for AwsSigv4 {
    fn name(&self) -> &'static str {
        "--aws-sigv4"
    }

    fn owns(&self) -> &[HeaderName] {
        &HEADERS
    }

    fn renewable(&self) -> bool {
        match &self.keys {
            Live::Given(keys) => keys.renewable(),
            Live::Shared(_) => true,
        }
    }

    fn signs(&self) -> bool {
        true
    }

    fn apply<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Result<Generation, Failure>> {
        Box::pin(async move {
            let (keys, generation) = self.keys().await?;
            self.settings.sign(request, &keys, SystemTime::now())?;
            Ok(generation)
        })
    }

    fn refused<'a>(
        &'a self,
        generation: Generation,
        response: &'a http::response::Parts,
    ) -> BoxFuture<'a, bool> {
        if !matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return ready(false).boxed();
        }
        match &self.keys {
            Live::Given(keys) => keys.refused(generation).boxed(),
            Live::Shared(keys) => keys.refused(generation).boxed(),
        }
    }
}
