//! A key on a token, as rustls asks for signatures.
//!
//! Hashes are made here and the token signs the digest: that is what every token can do. Signing
//! blocks in the module, within the handshake and on the one thread: rustls asks for the signature
//! synchronously. A token takes milliseconds, a few hundred at worst, and there is one handshake a
//! connection; what is in flight waits for that long.
//!
//! The key is proven before it is used: it signs once, and the certificate's public key has to
//! agree. That needs no attribute that tokens like to withhold, and it finds out at start that a
//! key may not sign.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::signature::{self as verify, UnparsedPublicKey, VerificationAlgorithm};
use cryptoki::{
    error::{Error, RvError},
    mechanism::{
        Mechanism, MechanismType,
        rsa::{PkcsMgfType, PkcsPssParams},
    },
    object::{KeyType, ObjectHandle},
    session::Session,
    types::Ulong,
};
use pkcs8::der::{Encode as _, asn1::UintRef};
use rustls::{
    SignatureAlgorithm, SignatureScheme as Scheme,
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer},
    sign::{Signer, SigningKey},
};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_parser::{
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    },
    prelude::{FromDer as _, X509Certificate},
    x509::SubjectPublicKeyInfo,
};

use super::{
    Object,
    module::{Trouble, failed, reason, refused},
    token,
};
use crate::{failure::Failure, secret::Secret};

/// What the key signs to prove itself; no protocol has it as a message.
const PROOF: &[u8] = b"countersign: does this key belong to this certificate";

/// The kinds of keys that are understood, told by the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
    P384,
}

impl Family {
    fn of(key: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let algorithm = &key.algorithm;
        if algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
            return Some(Self::Rsa);
        }
        let curve = algorithm.parameters.as_ref()?.as_oid().ok()?;
        match algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            true if curve == OID_EC_P256 => Some(Self::P256),
            true if curve == OID_NIST_EC_P384 => Some(Self::P384),
            _ => None,
        }
    }

    fn key_type(self) -> KeyType {
        match self {
            Self::Rsa => KeyType::RSA,
            Self::P256 | Self::P384 => KeyType::EC,
        }
    }

    /// What it can sign, the best first.
    fn schemes(self) -> &'static [Scheme] {
        match self {
            Self::Rsa => &[
                Scheme::RSA_PSS_SHA256,
                Scheme::RSA_PSS_SHA384,
                Scheme::RSA_PSS_SHA512,
                Scheme::RSA_PKCS1_SHA256,
                Scheme::RSA_PKCS1_SHA384,
                Scheme::RSA_PKCS1_SHA512,
            ],
            Self::P256 => &[Scheme::ECDSA_NISTP256_SHA256],
            Self::P384 => &[Scheme::ECDSA_NISTP384_SHA384],
        }
    }
}

/// A private key on a token, proven to fit its certificate.
pub(super) struct Key(Arc<Inner>);

struct Inner {
    object: Object,
    /// To log in again when the session is lost.
    pin: Option<Arc<Secret>>,
    family: Family,
    schemes: Vec<Scheme>,
    public: SubjectPublicKeyInfoDer<'static>,
    open: Mutex<(Session, ObjectHandle)>,
}

impl Key {
    /// Looks the key up and has it sign once.
    pub(super) fn new(
        object: Object,
        pin: Option<Arc<Secret>>,
        leaf: &CertificateDer<'_>,
    ) -> Result<Self, Trouble> {
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
            return Err(refused(format!("the certificate for {object} is broken")).into());
        };
        let public = certificate.public_key();
        let Some(family) = Family::of(public) else {
            return Err(refused(format!(
                "the certificate for {object} has a key of a kind that is not used on a token"
            ))
            .hint("RSA, and ECDSA on P-256 and P-384, are")
            .into());
        };
        let (opened, handle) = token::open_key(&object, pin.as_ref(), family.key_type())?;
        let known = opened
            .module
            .get_mechanism_list(opened.slot)
            .map_err(|error| failed(&object, "cannot list what the token can do", &error))?;
        let can = |scheme: &&Scheme| {
            mechanism(**scheme).is_some_and(|one| known.contains(&one.mechanism_type()))
        };
        let inner = Inner {
            family,
            schemes: family.schemes().iter().filter(can).copied().collect(),
            public: public.raw.to_vec().into(),
            open: Mutex::new((opened.session, handle)),
            object,
            pin,
        };
        inner.prove(public)?;
        Ok(Self(Arc::new(inner)))
    }
}

impl Inner {
    fn prove(&self, public: &SubjectPublicKeyInfo<'_>) -> Result<(), Failure> {
        let object = &self.object;
        let Some(scheme) = self.schemes.first().copied() else {
            return Err(refused(format!("{object}: the token cannot sign with this kind of key"))
                .hint("TLS takes RSA (CKM_RSA_PKCS_PSS, CKM_RSA_PKCS) and CKM_ECDSA"));
        };
        let signed = self.sign(scheme, PROOF).map_err(|why| {
            refused(format!("{object}: the token does not sign with this key: {why}"))
                .hint("the key must be allowed to sign, without a PIN for each signature")
        })?;
        let key = UnparsedPublicKey::new(verifier(scheme), &public.subject_public_key.data);
        key.verify(PROOF, &signed).map_err(|_| {
            refused(format!("the private key {object} does not fit the certificate"))
                .hint("a pair is made together: name the certificate that is to this key")
        })
    }

    /// A signature in the form of TLS. A session that was lost is opened anew once: tokens are
    /// pulled out, and network HSMs forget.
    fn sign(&self, scheme: Scheme, message: &[u8]) -> Result<Vec<u8>, String> {
        let mechanism = mechanism(scheme).ok_or("no such scheme")?;
        let data = digest(scheme, message);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let signed = match open.0.sign(&mechanism, open.1, &data) {
            Err(error) if is_lost(&error) => {
                let again =
                    token::open_key(&self.object, self.pin.as_ref(), self.family.key_type());
                let (opened, handle) = again.map_err(|trouble| match trouble {
                    Trouble::Pin => "the token no longer takes the PIN".to_owned(),
                    Trouble::Other(failure) => failure.to_string(),
                })?;
                *open = (opened.session, handle);
                open.0.sign(&mechanism, handle, &data)
            }
            other => other,
        }
        .map_err(|error| reason(&error))?;
        match self.family {
            Family::Rsa => Ok(signed),
            Family::P256 | Family::P384 => {
                ecdsa(&signed).ok_or_else(|| "its signature has an odd length".to_owned())
            }
        }
    }
}

/// What a session says that is no longer there, or a token that came back.
fn is_lost(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid
                | RvError::UserNotLoggedIn
                | RvError::DeviceRemoved
                | RvError::DeviceError
                | RvError::TokenNotPresent,
            _
        )
    )
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[Scheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self.0.schemes.iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(Chosen { key: Arc::clone(&self.0), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.0.public.clone())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.family {
            Family::Rsa => SignatureAlgorithm::RSA,
            Family::P256 | Family::P384 => SignatureAlgorithm::ECDSA,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.object)
    }
}

/// The key with the scheme of one handshake.
struct Chosen {
    key: Arc<Inner>,
    scheme: Scheme,
}

impl Signer for Chosen {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key.sign(self.scheme, message).map_err(|why| {
            let object = &self.key.object;
            rustls::Error::General(format!("{object}: the token did not sign: {why}"))
        })
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chosen({}, {:?})", self.key.object, self.scheme)
    }
}

/// How the token signs a digest for this scheme.
fn mechanism(scheme: Scheme) -> Option<Mechanism<'static>> {
    let pss = |hash_alg, mgf, length| {
        // The salt is as long as the hash (RFC 8446 section 4.2.3).
        Mechanism::RsaPkcsPss(PkcsPssParams { hash_alg, mgf, s_len: Ulong::new(length) })
    };
    Some(match scheme {
        Scheme::RSA_PSS_SHA256 => pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32),
        Scheme::RSA_PSS_SHA384 => pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48),
        Scheme::RSA_PSS_SHA512 => pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64),
        Scheme::RSA_PKCS1_SHA256 | Scheme::RSA_PKCS1_SHA384 | Scheme::RSA_PKCS1_SHA512 => {
            Mechanism::RsaPkcs
        }
        Scheme::ECDSA_NISTP256_SHA256 | Scheme::ECDSA_NISTP384_SHA384 => Mechanism::Ecdsa,
        _ => return None,
    })
}

/// What the token signs: the digest, and for PKCS#1 v1.5 the name of the hash before it.
fn digest(scheme: Scheme, message: &[u8]) -> Vec<u8> {
    // DigestInfo of RFC 8017 section 9.2, note 1: all but the last byte of the hash's name is shared.
    let named = |hash: u8, digest: &[u8]| {
        let length = digest.len() as u8;
        let head = [0x30, 17 + length, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03];
        [&head[..], &[0x04, 0x02, hash, 0x05, 0x00, 0x04, length], digest].concat()
    };
    match scheme {
        Scheme::RSA_PKCS1_SHA256 => named(1, &Sha256::digest(message)),
        Scheme::RSA_PKCS1_SHA384 => named(2, &Sha384::digest(message)),
        Scheme::RSA_PKCS1_SHA512 => named(3, &Sha512::digest(message)),
        Scheme::RSA_PSS_SHA384 | Scheme::ECDSA_NISTP384_SHA384 => Sha384::digest(message).to_vec(),
        Scheme::RSA_PSS_SHA512 => Sha512::digest(message).to_vec(),
        _ => Sha256::digest(message).to_vec(),
    }
}

/// `r` and `s`, which a token gives one after the other, as the sequence of two integers that TLS
/// wants (RFC 3279 section 2.2.3).
fn ecdsa(signed: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = signed.split_at_checked(signed.len() / 2)?;
    if r.is_empty() || r.len() != s.len() {
        return None;
    }
    [UintRef::new(r).ok()?, UintRef::new(s).ok()?].to_der().ok()
}

fn verifier(scheme: Scheme) -> &'static dyn VerificationAlgorithm {
    match scheme {
        Scheme::RSA_PSS_SHA256 => &verify::RSA_PSS_2048_8192_SHA256,
        Scheme::RSA_PSS_SHA384 => &verify::RSA_PSS_2048_8192_SHA384,
        Scheme::RSA_PSS_SHA512 => &verify::RSA_PSS_2048_8192_SHA512,
        Scheme::RSA_PKCS1_SHA384 => &verify::RSA_PKCS1_2048_8192_SHA384,
        Scheme::RSA_PKCS1_SHA512 => &verify::RSA_PKCS1_2048_8192_SHA512,
        Scheme::ECDSA_NISTP256_SHA256 => &verify::ECDSA_P256_SHA256_ASN1,
        Scheme::ECDSA_NISTP384_SHA384 => &verify::ECDSA_P384_SHA384_ASN1,
        _ => &verify::RSA_PKCS1_2048_8192_SHA256,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{
            ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
            KeyPair as _,
        },
    };

    use super::*;

    #[test]
    fn the_two_numbers_of_a_token_are_a_signature_of_tls() {
        for (algorithm, scheme) in [
            (&ECDSA_P256_SHA256_FIXED_SIGNING, Scheme::ECDSA_NISTP256_SHA256),
            (&ECDSA_P384_SHA384_FIXED_SIGNING, Scheme::ECDSA_NISTP384_SHA384),
        ] {
            let pair = EcdsaKeyPair::generate(algorithm).unwrap();
            let public = UnparsedPublicKey::new(verifier(scheme), pair.public_key());
            // Often enough for numbers with leading zeros, and with the highest bit set.
            for _ in 0..300 {
                let fixed = pair.sign(&SystemRandom::new(), PROOF).unwrap();
                public.verify(PROOF, &ecdsa(fixed.as_ref()).unwrap()).unwrap();
            }
        }
        assert_eq!(ecdsa(&[]), None);
        assert_eq!(ecdsa(&[1; 63]), None);
        let small = [[0; 31].as_slice(), &[1], &[0; 31], &[0x80]].concat();
        assert_eq!(ecdsa(&small).unwrap(), [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80]);
    }

    /// The bytes of RFC 8017 section 9.2, note 1.
    #[test]
    fn a_digest_of_pkcs1_carries_the_name_of_its_hash() {
        for (scheme, expected, length) in [
            (Scheme::RSA_PKCS1_SHA256, "3031300d060960864801650304020105000420", 32),
            (Scheme::RSA_PKCS1_SHA384, "3041300d060960864801650304020205000430", 48),
            (Scheme::RSA_PKCS1_SHA512, "3051300d060960864801650304020305000440", 64),
        ] {
            let data = digest(scheme, b"message");
            let (name, hash) = data.split_at(19);
            let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((name.as_str(), hash.len()), (expected, length));
        }
    }

    #[test]
    fn a_key_is_of_the_kind_of_its_certificate() {
        use crate::tls::pki::Ca;
        for (algorithm, family) in [
            (&rcgen::PKCS_RSA_SHA256, Some(Family::Rsa)),
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(Family::P256)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(Family::P384)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let leaf = Ca::new("ca").leaf_of(algorithm, "client", |_| ());
            let (_, certificate) = X509Certificate::from_der(&leaf.der).unwrap();
            assert_eq!(Family::of(certificate.public_key()), family);
            for scheme in family.map(Family::schemes).unwrap_or_default() {
                assert!(mechanism(*scheme).is_some(), "{scheme:?}");
            }
        }
    }
}
