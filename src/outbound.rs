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
    let client = join_without_redirects(upstream, credentials, tls)?;
    // Each hop of a redirect is a request of its own, with credentials of its own.
    Ok(redirect::follow_same_origin(&upstream.url, client))
}

/// The same for a front end that passes redirects back to whoever asked.
///
/// # Errors
/// As [`join`].
pub fn join_without_redirects(
    upstream: &upstream::Settings,
    credentials: &credentials::Settings,
    tls: impl Into<Generations>,
) -> Result<HttpService, Failure> {
    let client = upstream::client(upstream, tls)?;
    // Session affinity belongs to the connection, below what is signed or retried.
    let client = cookies::keep_cookies(client);
    Ok(credentials::layer::carry(credentials::stack(credentials), client))
}
