//! The algorithms of RFC 9421, section 3.3, and the keys that fit them.
//!
//! An algorithm is chosen by the configuration and never by the key: a key that belongs to another
//! is refused. Nothing here knows what it signs.

use std::fmt;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA512, RsaEncoding,
    },
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sfv::StringRef;
use sha2::Sha256;

use super::super::{
    derived::Unfit,
    key::{Encoding, Kind, PrivateKey},
};

/// How the signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// With a secret that both sides know.
    HmacSha256,
    /// Ed25519.
    Ed25519,
    /// ECDSA on P-256.
    EcdsaP256Sha256,
    /// ECDSA on P-384.
    EcdsaP384Sha384,
    /// RSASSA-PSS.
    RsaPssSha512,
    /// RSASSA-PKCS1-v1_5, for those who have nothing newer.
    RsaV15Sha256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Ed25519,
        Self::EcdsaP256Sha256,
        Self::EcdsaP384Sha384,
        Self::RsaPssSha512,
        Self::RsaV15Sha256,
        Self::HmacSha256,
    ];

    /// The algorithm that the registry has under `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Its name in the registry (section 6.2).
    #[must_use]
    pub fn name(self) -> &'static str {
        self.text().as_str()
    }

    /// Its name, as a signature's parameter has it.
    pub(super) fn text(self) -> &'static StringRef {
        StringRef::constant(match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::RsaPssSha512 => "rsa-pss-sha512",
            Self::RsaV15Sha256 => "rsa-v1_5-sha256",
        })
    }

    /// The private key that it takes; none for the one that takes a shared secret.
    fn kind(self) -> Option<Kind> {
        match self {
            Self::HmacSha256 => None,
            Self::Ed25519 => Some(Kind::Ed25519),
            Self::EcdsaP256Sha256 => Some(Kind::P256),
            Self::EcdsaP384Sha384 => Some(Kind::P384),
            Self::RsaPssSha512 | Self::RsaV15Sha256 => Some(Kind::Rsa),
        }
    }
}

/// A key, ready to sign by its algorithm. `Debug` shows nothing of it.
pub(super) enum Key {
    Hmac(Hmac<Sha256>),
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl Key {
    /// The key in what a reference holds: PEM, or a shared secret written as `encoding` says.
    pub(super) fn new(
        algorithm: Algorithm,
        encoding: Encoding,
        secret: &[u8],
    ) -> Result<Self, Unfit> {
        match algorithm.kind() {
            None => Self::shared(encoding, secret),
            Some(expected) => Self::private(algorithm, expected, &PrivateKey::from_pem(secret)?),
        }
    }

    fn shared(encoding: Encoding, secret: &[u8]) -> Result<Self, Unfit> {
        // Of all mistakes the worst: what is then a secret may be anyone's public key.
        if secret.starts_with(b"-----BEGIN ") {
            return Err(Unfit::new(
                "holds a key or a certificate in PEM, but hmac-sha256 signs with a shared secret",
                "give the secret, or choose the algorithm that the key is for",
            ));
        }
        let secret = encoding.decode(secret)?;
        let mac = Hmac::new_from_slice(&secret).map_err(|_| unusable(Algorithm::HmacSha256))?;
        Ok(Self::Hmac(mac))
    }

    fn private(algorithm: Algorithm, expected: Kind, key: &PrivateKey) -> Result<Self, Unfit> {
        if key.kind != expected {
            let (found, name) = (key.kind.name(), algorithm.name());
            return Err(Unfit::new(
                format!("holds {found}, but {name} signs with {}", expected.name()),
                "give another key, or choose the algorithm that this one is for",
            ));
        }
        let rejected = |_| unusable(algorithm);
        let rsa = || RsaKeyPair::from_pkcs8(&key.pkcs8).map_err(rejected);
        let ecdsa = |curve| EcdsaKeyPair::from_pkcs8(curve, &key.pkcs8).map_err(rejected);
        Ok(match algorithm {
            Algorithm::RsaPssSha512 => Self::Rsa(rsa()?, &RSA_PSS_SHA512),
            Algorithm::RsaV15Sha256 => Self::Rsa(rsa()?, &RSA_PKCS1_SHA256),
            Algorithm::EcdsaP256Sha256 => Self::Ecdsa(ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            Algorithm::EcdsaP384Sha384 => Self::Ecdsa(ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)?),
            Algorithm::Ed25519 => Self::Ed25519(
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key.pkcs8).map_err(rejected)?,
            ),
            Algorithm::HmacSha256 => return Err(unusable(algorithm)),
        })
    }

    /// The signature of `base`; none where the provider failed.
    pub(super) fn sign(&self, base: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(mac) => {
                let mut mac = mac.clone();
                mac.update(base);
                Some(mac.finalize().into_bytes().to_vec())
            }
            Self::Ed25519(key) => key.try_sign(base).ok().map(|it| it.as_ref().to_vec()),
            Self::Ecdsa(key) => key.sign(&random, base).ok().map(|it| it.as_ref().to_vec()),
            Self::Rsa(key, padding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*padding, &random, base, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

fn unusable(algorithm: Algorithm) -> Unfit {
    match algorithm.kind() {
        Some(Kind::Rsa) => Unfit::new(
            format!(
                "holds an RSA key that is damaged or of a length that {} does not take",
                algorithm.name()
            ),
            "expected one of 2048 to 8192 bits",
        ),
        _ => Unfit::new(
            format!("holds a key that {} can't sign with", algorithm.name()),
            "write it anew; openssl pkey -check tests it",
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, KeyPair as _,
        RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey,
        VerificationAlgorithm,
    };

    use super::*;

    fn pem(of: &'static rcgen::SignatureAlgorithm) -> String {
        rcgen::KeyPair::generate_for(of).unwrap().serialize_pem()
    }

    fn unfit(algorithm: Algorithm, encoding: Encoding, secret: &[u8]) -> String {
        let unfit = Key::new(algorithm, encoding, secret).unwrap_err();
        format!("{} ({})", unfit.what, unfit.hint)
    }

    #[test]
    fn what_is_signed_can_be_verified() {
        let verifies = |algorithm, of, with: &'static dyn VerificationAlgorithm| {
            let key = Key::new(algorithm, Encoding::Raw, pem(of).as_bytes()).ok().unwrap();
            let signature = key.sign(b"base").unwrap();
            let public = match &key {
                Key::Ed25519(key) => key.public_key().as_ref().to_vec(),
                Key::Ecdsa(key) => key.public_key().as_ref().to_vec(),
                Key::Rsa(key, _) => key.public_key().as_ref().to_vec(),
                Key::Hmac(_) => panic!(),
            };
            let public = UnparsedPublicKey::new(with, public);
            public.verify(b"base", &signature).unwrap();
            public.verify(b"other", &signature).unwrap_err();
        };
        let (p256, p384) = (&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384);
        verifies(Algorithm::Ed25519, &rcgen::PKCS_ED25519, &ED25519);
        verifies(Algorithm::EcdsaP256Sha256, p256, &ECDSA_P256_SHA256_FIXED);
        verifies(Algorithm::EcdsaP384Sha384, p384, &ECDSA_P384_SHA384_FIXED);
        let rsa = &rcgen::PKCS_RSA_SHA256;
        verifies(Algorithm::RsaPssSha512, rsa, &RSA_PSS_2048_8192_SHA512);
        verifies(Algorithm::RsaV15Sha256, rsa, &RSA_PKCS1_2048_8192_SHA256);
    }

    #[test]
    fn a_key_that_does_not_fit_is_refused_by_both_names() {
        let p256 = pem(&rcgen::PKCS_ECDSA_P256_SHA256);
        for (algorithm, expected) in [
            (Algorithm::Ed25519, "an Ed25519 key"),
            (Algorithm::EcdsaP384Sha384, "a key on the curve P-384"),
            (Algorithm::RsaPssSha512, "an RSA key"),
            (Algorithm::RsaV15Sha256, "an RSA key"),
        ] {
            let unfit = unfit(algorithm, Encoding::Raw, p256.as_bytes());
            for part in ["holds a key on the curve P-256", algorithm.name(), expected] {
                assert!(unfit.contains(part), "{unfit}");
            }
        }
        let unfit = unfit(Algorithm::HmacSha256, Encoding::Raw, p256.as_bytes());
        assert!(unfit.contains("in PEM, but hmac-sha256 signs with a shared secret"), "{unfit}");
    }

    #[test]
    fn a_short_rsa_key_is_refused() {
        const OF_1024_BITS: &str = "MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAOJvRorvlu+dHP0z6e3E2Ynzt9mCSlhyZOTg\
             sWyr/DbGfZi8ekbyX8+VU8U1+MYEBPeCFtceybmICTLXtZAWS/9HlseIaFRVPo3wr94OMEDw9rIA7JevadEF\
             EsC9GF/yRfNerit/ekgad4gOadzvtJkWGMomAgxbr+/ovSoSzUmlAgMBAAECgYBpeCdFg7+sMGRWVB38EBq7\
             tPfHqnZyqCXyre42jg1WfjH2OKRD85VJHWb9jtwnb6vYlZGJ9d9EOeb+9ZauXJRcnQuXMw9DfgqWu+IQlYnd\
             MRb97/0mKwH7qkqlEprsLaplwa1mg2mMVkBgD7wXXJTOM5St2EKrwtNGfd7YYo4zwQJBAP+ufsRpJCVcdp1L\
             +kotstWVHpZPWQJxaCz+sD2T2TIbSIX7O6CAdghmyyGZi/Ot8ekLxpc0zyYtErj+TZIMbW0CQQDit3UKL6xT\
             qI384yOwd1YlRoNXEKfa8Ve3iXYLr6z4bxIhpmgBmA4m0ulfGdJHWau31iwfcbX+HpHVnX+fEsIZAkB5aNKp\
             UYPoec+ZQcrIDostAHJVzbfmgROGyinGE76/HFWDyZi2zkk+FBHBErhyLdcBYqYahukWp7CMR7Vt9JjBAkAr\
             HFOHIlWUeuK1CcQJlEevQt9KuQISIf5aCiuGQVuUyhoah/gTBYT7YPO7f796jdSXWoR9XjQLJGj6w74202xR\
             AkEA4NiU5nBdyrElzFqR2Ve3FyCwP7RJvJ3GODQk74+KKAhXLpxYt4XMG3IfqQQsf3ysGOlXKpYYHh5bJAlv\
             ZEfzpA==";
        let pem =
            ["-----BEGIN PRIVATE KEY-----", OF_1024_BITS, "-----END PRIVATE KEY-----"].join("\n");
        for algorithm in [Algorithm::RsaPssSha512, Algorithm::RsaV15Sha256] {
            let unfit = unfit(algorithm, Encoding::Raw, pem.as_bytes());
            assert!(unfit.contains("2048 to 8192 bits"), "{unfit}");
        }
    }

    #[test]
    fn shared_secrets_are_read_as_they_are_written() {
        let sign = |encoding, secret: &str| {
            let key = Key::new(Algorithm::HmacSha256, encoding, secret.as_bytes()).ok().unwrap();
            key.sign(b"base").unwrap()
        };
        let raw = sign(Encoding::Raw, "canary");
        assert_eq!(raw, sign(Encoding::Hex, "63616e617279"));
        assert_eq!(raw, sign(Encoding::Base64, "Y2FuYXJ5"));
        let unfit = unfit(Algorithm::HmacSha256, Encoding::Hex, b"canary");
        assert!(unfit.contains("hexadecimal") && !unfit.contains("canary"), "{unfit}");
    }

    #[test]
    fn debug_shows_no_key() {
        let key = Key::new(Algorithm::HmacSha256, Encoding::Raw, b"canary").ok().unwrap();
        assert_eq!(format!("{key:?}"), "<redacted>");
    }
}
