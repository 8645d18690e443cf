//! Which end of a connection a certificate and its key are for: it decides how they are called, and
//! by which flags.

/// Whose certificate and key they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Ours, shown to the upstream.
    Client,
    /// Ours, shown to those who connect to our listeners.
    Server,
}

impl Whose {
    /// The word between "the" and "certificate".
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    /// The flag of the certificate.
    pub(super) fn cert(self) -> &'static str {
        match self {
            Self::Client => "--cert",
            Self::Server => "--listen-cert",
        }
    }

    /// The flag of the key.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Client => "--key",
            Self::Server => "--listen-key",
        }
    }
}
