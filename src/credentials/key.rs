//! Keys that sign, read from what a reference holds: shared secrets and private keys in PEM.
//!
//! Private keys come in many wrappings (PKCS#8 of RFC 5958, PKCS#1 of RFC 8017, SEC 1 of RFC 5915);
//! from here on there is one. No error holds a part of a key.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    error::KeyRejected,
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm,
    },
};
use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use zeroize::Zeroizing;

use super::derived::Unfit;

/// How the bytes of a shared secret are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    #[default]
    Raw,
    /// In hexadecimal digits, of either case.
    Hex,
    /// In base64 (RFC 4648, sections 4 and 5), padded or not.
    Base64,
}

impl Encoding {
    /// The bytes that `text` stands for.
    pub(super) fn decode(self, text: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unfit> {
        let decoded = match self {
            Self::Raw => Some(text.to_vec()),
            Self::Hex => unhex(text),
            Self::Base64 => unbase64(text),
        };
        let expected = match self {
            Self::Raw => "bytes",
            Self::Hex => "hexadecimal digits, two a byte",
            Self::Base64 => "base64",
        };
        decoded.filter(|bytes| !bytes.is_empty()).map(Zeroizing::new).ok_or_else(|| {
            let what = format!("is not written in {expected}, as its configuration says");
            Unfit::new(what, "the encoding of a key is raw, hex or base64")
        })
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let url_safe = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let alphabet = if url_safe { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, lenient).decode(text).ok()
}

/// What a private key can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Kind {
    /// As people call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rsa => "an RSA key",
            Self::P256 => "a key on the curve P-256",
            Self::P384 => "a key on the curve P-384",
            Self::Ed25519 => "an Ed25519 key",
        }
    }
}

/// A private key as PKCS#8 in DER.
pub(super) struct PrivateKey {
    pub(super) kind: Kind,
    pub(super) pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// The first private key in a PEM text.
    pub(super) fn from_pem(text: &[u8]) -> Result<Self, Unfit> {
        match PrivateKeyDer::from_pem_slice(text) {
            Ok(PrivateKeyDer::Pkcs8(der)) => Self::from_pkcs8(der.secret_pkcs8_der()),
            Ok(PrivateKeyDer::Pkcs1(der)) => {
                let pair = RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(rejected)?;
                let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| damaged())?;
                Ok(Self { kind: Kind::Rsa, pkcs8: Zeroizing::new(pkcs8.as_ref().to_vec()) })
            }
            Ok(PrivateKeyDer::Sec1(der)) => Self::from_sec1(der.secret_sec1_der()),
            _ if memchr::memmem::find(text, b"ENCRYPTED").is_some() => Err(Unfit::new(
                "holds an encrypted private key, which a credential can't be",
                "decrypt it with openssl pkey, and keep it in a secret store instead",
            )),
            _ => Err(Unfit::new(
                "holds no private key in PEM",
                "expected a file that starts with -----BEGIN PRIVATE KEY-----",
            )),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, Unfit> {
        const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
        const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
        const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
        const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
        const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

        let info = PrivateKeyInfoRef::try_from(der).map_err(|_| damaged())?;
        let kind = match info.algorithm.oid {
            RSA => Kind::Rsa,
            ED25519 => Kind::Ed25519,
            EC => match info.algorithm.parameters_oid() {
                Ok(P256) => Kind::P256,
                Ok(P384) => Kind::P384,
                _ => return Err(unknown()),
            },
            _ => return Err(unknown()),
        };
        Ok(Self { kind, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    fn from_sec1(der: &[u8]) -> Result<Self, Unfit> {
        let curves: [(Kind, &'static EcdsaSigningAlgorithm); 2] = [
            (Kind::P256, &ECDSA_P256_SHA256_FIXED_SIGNING),
            (Kind::P384, &ECDSA_P384_SHA384_FIXED_SIGNING),
        ];
        for (kind, algorithm) in curves {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(algorithm, der) {
                let pkcs8 = pair.to_pkcs8v1().map_err(|_| damaged())?;
                return Ok(Self { kind, pkcs8: Zeroizing::new(pkcs8.as_ref().to_vec()) });
            }
        }
        Err(unknown())
    }
}

/// Why the provider would not take a key that could be read.
pub(super) fn rejected(error: KeyRejected) -> Unfit {
    let size = |found: &'static str| {
        Unfit::new(found, "make one of 2048 to 8192 bits: openssl genrsa -out key.pem 3072")
    };
    // Its words are all that it has.
    match error.to_string().as_str() {
        "TooSmall" => size("holds an RSA key of less than 2048 bits, which is too weak to sign"),
        "TooLarge" => size("holds an RSA key of more than 8192 bits"),
        _ => damaged(),
    }
}

fn damaged() -> Unfit {
    Unfit::new("holds a private key that is damaged", "write it anew; openssl pkey -check tests it")
}

fn unknown() -> Unfit {
    Unfit::new(
        "holds a private key of a kind that can't sign here",
        "use RSA, the curves P-256 and P-384, or Ed25519",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn shared_secrets_are_written_in_three_ways() {
        let decode = |encoding: Encoding, text: &str| {
            encoding.decode(text.as_bytes()).ok().map(|bytes| bytes.to_vec())
        };
        assert_eq!(decode(Encoding::Raw, "ff").unwrap(), b"ff");
        assert_eq!(decode(Encoding::Hex, "00fFa1").unwrap(), [0, 255, 161]);
        for text in ["+/8=", "+/8", "-_8", "-_8="] {
            assert_eq!(decode(Encoding::Base64, text).unwrap(), [251, 255], "{text}");
        }
        for (encoding, text) in [
            (Encoding::Hex, "abc"),
            (Encoding::Hex, "0x00"),
            (Encoding::Hex, ""),
            (Encoding::Base64, "a b="),
            (Encoding::Base64, "="),
        ] {
            assert!(decode(encoding, text).is_none(), "{text}");
        }
    }

    #[test]
    fn private_keys_are_told_apart() {
        for (algorithm, kind) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Kind::P256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Kind::P384),
            (&rcgen::PKCS_ED25519, Kind::Ed25519),
            (&rcgen::PKCS_RSA_SHA256, Kind::Rsa),
        ] {
            let pem = rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem();
            assert_eq!(PrivateKey::from_pem(pem.as_bytes()).ok().unwrap().kind, kind);
        }
        for text in ["", "canary", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
        {
            assert!(PrivateKey::from_pem(text.as_bytes()).is_err(), "{text}");
        }
    }
}
