//! The way to the upstream: its URL, the proxy before it, connections, their pool, and the small
//! things an HTTP client owes its origin.
//!
//! Requests to the one configured origin come in, streaming responses go out. Nothing here knows
//! MCP or credentials.

mod client;
mod connector;
pub mod cookies;
mod errors;
mod heads;
pub mod proxy;
pub mod redirect;
mod retire;
pub mod url;

use std::time::Duration;

pub use self::client::client;

/// Where requests go, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The MCP endpoint.
    pub url: url::UpstreamUrl,
    /// The proxy, if there is to be one.
    pub proxy: proxy::Settings,
    /// For a connection from name resolution to the end of the TLS handshake.
    pub connect_timeout: Duration,
    /// How long an event stream may stay on a connection of the identity before.
    pub maximum_age: Duration,
}
