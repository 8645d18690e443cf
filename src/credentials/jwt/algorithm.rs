//! The algorithms that sign a token (RFC 7518, section 3, and RFC 8037), and the key that each
//! of them takes.
//!
//! `none` is not among them, and there is no way to ask for it.

use std::fmt;

use aws_lc_rs::signature::{
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding,
};
use jsonwebtoken::Algorithm as Jose;

use super::super::key::Kind;
use crate::failure::{Failure, Stage};

/// An algorithm, by its name.
#[derive(Clone, Copy)]
pub struct Algorithm(&'static Row);

struct Row {
    name: &'static str,
    jose: Jose,
    takes: Takes,
}

/// What an algorithm signs with.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    /// A shared secret, which should be as long as the hash (RFC 7518, section 3.2).
    Secret {
        /// The length of the hash, in bytes.
        hash: usize,
    },
    /// An RSA key, with this padding.
    Rsa(&'static dyn RsaEncoding),
    /// A private key of another kind.
    Private(Kind),
}

static ROWS: [Row; 12] = [
    Row { name: "HS256", jose: Jose::HS256, takes: Takes::Secret { hash: 32 } },
    Row { name: "HS384", jose: Jose::HS384, takes: Takes::Secret { hash: 48 } },
    Row { name: "HS512", jose: Jose::HS512, takes: Takes::Secret { hash: 64 } },
    Row { name: "RS256", jose: Jose::RS256, takes: Takes::Rsa(&RSA_PKCS1_SHA256) },
    Row { name: "RS384", jose: Jose::RS384, takes: Takes::Rsa(&RSA_PKCS1_SHA384) },
    Row { name: "RS512", jose: Jose::RS512, takes: Takes::Rsa(&RSA_PKCS1_SHA512) },
    Row { name: "PS256", jose: Jose::PS256, takes: Takes::Rsa(&RSA_PSS_SHA256) },
    Row { name: "PS384", jose: Jose::PS384, takes: Takes::Rsa(&RSA_PSS_SHA384) },
    Row { name: "PS512", jose: Jose::PS512, takes: Takes::Rsa(&RSA_PSS_SHA512) },
    Row { name: "ES256", jose: Jose::ES256, takes: Takes::Private(Kind::P256) },
    Row { name: "ES384", jose: Jose::ES384, takes: Takes::Private(Kind::P384) },
    Row { name: "EdDSA", jose: Jose::EdDSA, takes: Takes::Private(Kind::Ed25519) },
];

impl Algorithm {
    /// The algorithm of this name.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: there is none.
    pub fn new(name: &str) -> Result<Self, Failure> {
        ROWS.iter().find(|row| row.name == name).map(Self).ok_or_else(|| {
            let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
            Failure::new(Stage::Configuration, "expected the name of an algorithm that signs")
                .hint(format!("the algorithms are {}", names.join(", ")))
        })
    }

    /// Whether the upstream has the same key, so that there is no certificate for it.
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self.0.takes, Takes::Secret { .. })
    }

    pub(super) fn jose(self) -> Jose {
        self.0.jose
    }

    pub(super) fn takes(self) -> Takes {
        self.0.takes
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn names_are_those_of_the_header() {
        for row in &ROWS {
            assert_eq!(row.name, format!("{:?}", row.jose));
            assert_eq!(Algorithm::new(row.name).unwrap().to_string(), row.name);
        }
    }

    #[test]
    fn there_is_no_token_without_a_signature() {
        for name in ["none", "None", "", "hs256", "ES256K", "canary"] {
            let failure = Algorithm::new(name).unwrap_err();
            assert!(failure.next_step().unwrap().contains("HS256, HS384"), "{failure:?}");
            assert!(!format!("{failure:?}").contains("canary"));
        }
    }
}
