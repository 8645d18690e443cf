//! What one source said, be it the flags or a profile.
//!
//! Both sources are read into the same shape, so that precedence is a matter of two [`Layer`]s.
//! Nothing here is expanded, opened or checked against anything else.

use crate::secret::Reference;

use super::{
    exec,
    place::{Login, Stated},
    sent::Sent,
    serve,
};

/// What one source said.
#[derive(Default)]
pub(super) struct Layer {
    /// The profile's name.
    pub(super) name: Option<String>,
    pub(super) url: Option<Stated<String>>,
    pub(super) cert: Option<Stated<String>>,
    pub(super) key: Option<Stated<String>>,
    pub(super) key_passphrase: Option<Stated<Reference>>,
    pub(super) pkcs12: Option<Stated<String>>,
    pub(super) pkcs12_passphrase: Option<Stated<Reference>>,
    pub(super) pkcs11_module: Option<Stated<String>>,
    pub(super) spiffe: Option<Stated<String>>,
    pub(super) cacert: Vec<Stated<String>>,
    pub(super) system_roots: Option<bool>,
    pub(super) pinnedpubkey: Option<Stated<String>>,
    pub(super) server_name: Option<Stated<String>>,
    pub(super) server_spiffe_id: Option<Stated<String>>,
    pub(super) tls_min: Option<Stated<String>>,
    pub(super) http: Option<Stated<String>>,
    pub(super) sent: Vec<Stated<Sent>>,
    pub(super) protocol: Option<Stated<String>>,
    pub(super) proxy: Option<Stated<String>>,
    pub(super) proxy_user: Option<Stated<Login>>,
    pub(super) connect_timeout: Option<Stated<String>>,
    pub(super) idle_timeout: Option<Stated<String>>,
    pub(super) max_message: Option<Stated<String>>,
    pub(super) audit_log: Option<Stated<String>>,
    pub(super) env_file: Option<Stated<String>>,
    pub(super) env: Option<Vec<Stated<exec::Said>>>,
    pub(super) serve: serve::Said,
}

/// All that was said, in the order of precedence.
pub(super) struct Layers {
    pub(super) flags: Layer,
    pub(super) profile: Layer,
}

impl Layers {
    /// The flag's value, else the profile's.
    pub(super) fn first<T>(&self, of: impl Fn(&Layer) -> &Option<T>) -> Option<&T> {
        of(&self.flags).as_ref().or(of(&self.profile).as_ref())
    }
}
