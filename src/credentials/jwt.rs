//! A token minted here (RFC 7519).

use futures_util::future::{BoxFuture, FutureExt, ready};
use http::HeaderName;

use super::{Credential, Generation};
use crate::{
    failure::{Failure, Stage},
    service::Request,
};

/// How it is made.
#[derive(Clone, Debug)]
pub struct Settings {}

/// The credential.
pub(super) struct Jwt {}

impl Jwt {
    pub(super) fn new(_settings: Settings) -> Self {
        Self {}
    }
}

impl Credential for Jwt {
    fn name(&self) -> &'static str {
        "--jwt"
    }

    fn owns(&self) -> &[HeaderName] {
        &[]
    }

    fn renewable(&self) -> bool {
        false
    }

    fn signs(&self) -> bool {
        false
    }

    fn apply<'a>(
        &'a self,
        _request: &'a mut Request,
    ) -> BoxFuture<'a, Result<Generation, Failure>> {
        ready(Err(Failure::new(Stage::Credential, "not there yet"))).boxed()
    }

    fn refused<'a>(
        &'a self,
        _generation: Generation,
        _response: &'a http::response::Parts,
    ) -> BoxFuture<'a, bool> {
        ready(false).boxed()
    }
}
