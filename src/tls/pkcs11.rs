//! Keys that never leave their token: a smart card, a HSM, whatever has a PKCS#11 module.
//!
//! An [`Object`] says which one, and in every build; to use it takes the feature `pkcs11`, without
//! which the answer is how to get a build that has it. A certificate may be on a token as well.

use std::{fmt, path::PathBuf};

use crate::secret::Held;

#[cfg(not(feature = "pkcs11"))]
mod absent;
#[cfg(feature = "pkcs11")]
mod load;
#[cfg(feature = "pkcs11")]
mod module;
#[cfg(feature = "pkcs11")]
mod signer;
#[cfg(feature = "pkcs11")]
mod token;
pub mod uri;

#[cfg(not(feature = "pkcs11"))]
pub(super) use absent::{chain, key};
#[cfg(feature = "pkcs11")]
pub(super) use load::{chain, key};

use uri::Uri;

/// One object on a token.
#[derive(Clone, Debug)]
pub struct Object {
    /// The token and the object (`--key pkcs11:...`).
    pub uri: Uri,
    /// The library that knows the token (`module-path`, or `--pkcs11-module`).
    pub module: PathBuf,
    /// What opens the token (`pin-source`, or `--key-passphrase`).
    pub pin: Option<Held>,
    /// The flag that named it.
    pub flag: &'static str,
}

/// `pkcs11:token=a;object=b (--key)`.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.uri, self.flag)
    }
}
