//! The collector of spans: its URL, and the way there, which has no identity and no credentials.

use crate::failure::Failure;

use super::{place::Stated, scope::Scope, tls, upstream};

/// Where spans go.
pub struct Otlp {
    /// The collector.
    pub upstream: crate::upstream::Settings,
    /// Whom we trust there.
    pub tls: crate::tls::Settings,
}

/// `https://`, or `http://` to this machine, as for an MCP server.
pub(super) fn settle(said: &Stated<String>, scope: &Scope<'_>) -> Result<Otlp, Failure> {
    Ok(Otlp { upstream: upstream::collector(said, scope)?, tls: tls::collector(scope) })
}
