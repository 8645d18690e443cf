//! The way to the upstream: one origin, a pool of connections to it, and what belongs to both.
//!
//! Requests come in whole, with their credentials; they leave for the configured origin and for
//! no other. Nothing is sent twice that may have run, and every error says where it happened and
//! what it proves.

mod body;
mod broken;
mod client;
mod connection;
mod connector;
pub mod cookies;
#[cfg(test)]
mod fixture;
mod heads;
mod pool;
pub mod proxy;
pub mod reach;
pub mod redirect;
mod stream;
mod tunnel;
pub mod url;

use std::time::Duration;

use crate::{failure::Failure, service::HttpService, tls::Generations};

/// Where requests go, and how long the way may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The upstream.
    pub url: url::UpstreamUrl,
    /// What was said about proxies.
    pub proxy: proxy::Settings,
    /// How long a connection may take, from the look-up of the name to the end of the TLS
    /// handshake.
    pub connect_timeout: Duration,
    /// How long a response may go on after the TLS configuration it came under was replaced.
    pub maximum_age: Duration,
    /// Whether requests may turn into another protocol, for which only HTTP/1.1 will do (RFC 9110,
    /// section 7.8).
    pub upgrades: bool,
}

/// The pool of connections to the upstream, as a service.
///
/// All clones share it. Each generation of `tls` has connections of its own: after a rotation the
/// next request opens a new one, and what is in flight ends on the old.
///
/// A request fails
/// - at [`Configuration`](crate::failure::Stage::Configuration) when it is for another origin,
/// - at [`Credential`](crate::failure::Stage::Credential) when the proxy's password can't be had,
/// - at [`Connect`](crate::failure::Stage::Connect) or [`Tls`](crate::failure::Stage::Tls) when it
///   was not sent, or the upstream has proven not to have processed it,
/// - at [`Send`](crate::failure::Stage::Send) when it may have been processed, and
/// - at [`Protocol`](crate::failure::Stage::Protocol) when the answer is not HTTP.
///
/// A body that breaks off fails at [`Response`](crate::failure::Stage::Response).
///
/// # Errors
///
/// At [`Configuration`](crate::failure::Stage::Configuration): the proxy can't be used.
pub fn client(settings: &Settings, tls: impl Into<Generations>) -> Result<HttpService, Failure> {
    client::service(settings, tls.into())
}
