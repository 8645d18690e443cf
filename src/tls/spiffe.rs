//! Identity and roots from the SPIFFE Workload API, as a local agent pushes them.
//!
//! What the agent gives takes the place of files and goes the way of files: loaded together,
//! checked together, published as one generation. Nothing is written to a disk. The client of the
//! API is in builds with the feature `spiffe`; files that spiffe-helper writes need none of this.

#[cfg_attr(not(feature = "spiffe"), path = "spiffe/absent.rs")]
mod agent;
#[cfg(test)]
#[cfg(all(feature = "spiffe", unix))]
mod tests;

use std::path::PathBuf;

pub(super) use self::agent::Agent;
use super::{identity, roots};

/// How the agent's gifts are called where files have their paths.
const SVID: &str = "workload-api:svid";
const KEY: &str = "workload-api:key";
const BUNDLE: &str = "workload-api:bundle";

/// Where the agent is, and what is taken from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The socket: `unix:///run/spire/sockets/agent.sock`.
    pub endpoint: String,
}

/// The identity that the agent gives.
#[must_use]
pub fn identity() -> identity::Settings {
    identity::Settings::Pair(identity::Pair {
        cert: identity::Source::File(SVID.into()),
        key: identity::Source::File(KEY.into()),
        passphrase: None,
    })
}

/// The roots that the agent gives, where the user names none of his own; `--system-roots` adds to
/// them as it does to files.
#[must_use]
pub fn roots(said: roots::Settings) -> roots::Settings {
    if said.cacert.is_empty() {
        roots::Settings { cacert: vec![PathBuf::from(BUNDLE)], ..said }
    } else {
        said
    }
}
