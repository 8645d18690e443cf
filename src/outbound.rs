//! The way out: every stage that a request passes between the front end and the wire.
//!
//! The one place that fixes their order. It adds nothing of its own.

use crate::{
    credentials,
    failure::Failure,
    service::HttpService,
    tls::Generations,
    upstream::{self, cookies, redirect},
};

/// The client stack, outermost last.
///
/// # Errors
/// At the configuration stage, as [`upstream::client`].
pub fn join(
    upstream: &upstream::Settings,
    credentials: &credentials::Settings,
    tls: impl Into<Generations>,
) -> Result<HttpService, Failure> {
    let client = upstream::client(upstream, tls)?;
    // Session affinity belongs to the connection, below what is signed or retried.
    let client = cookies::keep_cookies(client);
    // Each hop of a redirect is a request of its own, with credentials of its own.
    let client = credentials::layer::carry(credentials::stack(credentials), client);
    Ok(redirect::follow_same_origin(&upstream.url, client))
}
