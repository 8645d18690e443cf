//! What signs tokens: a key that fits its algorithm, and the header that all its tokens share.
//!
//! The clock and the random come with each token and are not read here.

use std::sync::Arc;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, crypto};
use zeroize::Zeroizing;

use super::{
    super::{
        derived::Unfit,
        key::{Encoding, Kind, PrivateKey, rejected},
    },
    Settings,
    algorithm::{Algorithm, Takes},
    certificate::Chain,
    claims::Whole,
};
use crate::failure::{Failure, Stage};

/// A key that fits its algorithm.
pub(super) struct Key {
    algorithm: Algorithm,
    form: Form,
    /// As a certificate of it has it; none of a shared secret.
    public: Option<Vec<u8>>,
    /// The length that a shared secret should have and has not, in bytes.
    pub(super) too_short_for: Option<usize>,
}

enum Form {
    Jose(EncodingKey),
    /// Kept as the provider has it: checking an RSA key takes three times as long as signing with
    /// it, and jsonwebtoken would do it for each token.
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl Key {
    /// The key in what a reference holds: a shared secret, or a private key in PEM.
    pub(super) fn read(
        algorithm: Algorithm,
        encoding: Encoding,
        secret: &[u8],
    ) -> Result<Self, Unfit> {
        let secret = encoding.decode(secret)?;
        match algorithm.takes() {
            Takes::Secret { hash } => Self::shared(algorithm, hash, &secret),
            Takes::Private(kind) => Self::private(algorithm, kind, &PrivateKey::from_pem(&secret)?),
            Takes::Rsa(padding) => Self::rsa(algorithm, padding, &PrivateKey::from_pem(&secret)?),
        }
    }

    fn shared(algorithm: Algorithm, hash: usize, secret: &[u8]) -> Result<Self, Unfit> {
        // The oldest attack on tokens, from our side: a secret that may be anyone's public key.
        if secret.trim_ascii_start().starts_with(b"-----BEGIN ") {
            return Err(Unfit::new(
                format!(
                    "holds a key or a certificate in PEM, but {algorithm} signs with a shared \
                     secret"
                ),
                "give the secret, or choose the algorithm that the key is for",
            ));
        }
        let too_short_for = (secret.len() < hash).then_some(hash);
        let form = Form::Jose(EncodingKey::from_secret(secret));
        Ok(Self { algorithm, form, public: None, too_short_for })
    }

    fn rsa(
        algorithm: Algorithm,
        padding: &'static dyn RsaEncoding,
        found: &PrivateKey,
    ) -> Result<Self, Unfit> {
        let der = expected(algorithm, Kind::Rsa, found)?;
        let pair = RsaKeyPair::from_pkcs8(der).map_err(rejected)?;
        let public = Some(pair.public_key().as_ref().to_vec());
        Ok(Self { algorithm, form: Form::Rsa(pair, padding), public, too_short_for: None })
    }

    fn private(algorithm: Algorithm, kind: Kind, found: &PrivateKey) -> Result<Self, Unfit> {
        let der = expected(algorithm, kind, found)?;
        let curve = |algorithm: &'static EcdsaSigningAlgorithm| {
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, der).map_err(rejected)?;
            Ok((EncodingKey::from_ec_der(der), pair.public_key().as_ref().to_vec()))
        };
        let (key, public) = match kind {
            Kind::P256 => curve(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
            Kind::P384 => curve(&ECDSA_P384_SHA384_FIXED_SIGNING)?,
            _ => {
                let pair = Ed25519KeyPair::from_pkcs8(der).map_err(rejected)?;
                (EncodingKey::from_ed_der(der), pair.public_key().as_ref().to_vec())
            }
        };
        Ok(Self { algorithm, form: Form::Jose(key), public: Some(public), too_short_for: None })
    }

    /// Whether the certificate is of this key.
    pub(super) fn is_of(&self, chain: &Chain) -> bool {
        self.public.as_ref().is_some_and(|public| *public == chain.public)
    }

    /// The signature of `message`, in base64url.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Zeroizing<String>, Failure> {
        let signature = match &self.form {
            Form::Jose(key) => crypto::sign(message, key, self.algorithm.jose()).ok(),
            Form::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(*padding, &SystemRandom::new(), message, &mut signature);
                signed.ok().map(|()| URL_SAFE_NO_PAD.encode(signature))
            }
        };
        signature.map(Zeroizing::new).ok_or_else(|| {
            let what = format!("the token could not be signed with {}", self.algorithm);
            Failure::new(Stage::Credential, what).hint("write its key anew; openssl pkey tests it")
        })
    }
}

/// The key in DER, where it is of the kind that the algorithm takes.
fn expected(algorithm: Algorithm, kind: Kind, found: &PrivateKey) -> Result<&[u8], Unfit> {
    if found.kind == kind {
        return Ok(&found.pkcs8);
    }
    let (needed, found) = (kind.name(), found.kind.name());
    Err(Unfit::new(
        format!("does not fit: {algorithm} needs {needed}, found {found}"),
        "give another key, or choose the algorithm that this one is for",
    ))
}

/// A key, and the header of its tokens.
pub(super) struct Signer {
    key: Arc<Key>,
    /// Encoded, with the dot behind it.
    head: String,
}

impl Signer {
    /// The signer with `key`, showing of `chain` what `settings` say.
    pub(super) fn new(
        settings: &Settings,
        key: Arc<Key>,
        chain: Option<&Chain>,
    ) -> Result<Self, Failure> {
        let mut header = Header::new(settings.algorithm.jose());
        header.typ = Some(settings.typ.clone());
        header.kid.clone_from(&settings.kid);
        if let (Some(certificate), Some(chain)) = (&settings.certificate, chain) {
            header.x5c = certificate.x5c.then(|| chain.x5c());
            header.x5t_s256 = certificate.x5t_s256.then(|| chain.thumbprint());
        }
        let json = serde_json::to_vec(&header).map_err(unwritten)?;
        let mut head = URL_SAFE_NO_PAD.encode(json);
        head.push('.');
        Ok(Self { key, head })
    }

    /// A token with these claims, `prefix` before it.
    pub(super) fn mint(
        &self,
        prefix: &str,
        claims: &Whole<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let claims = Zeroizing::new(serde_json::to_string(claims).map_err(unwritten)?);
        let claims = Zeroizing::new(URL_SAFE_NO_PAD.encode(claims.as_bytes()));
        let mut message = Zeroizing::new(Vec::with_capacity(self.head.len() + claims.len()));
        message.extend_from_slice(self.head.as_bytes());
        message.extend_from_slice(claims.as_bytes());
        let signature = self.key.sign(&message)?;

        // In one allocation: a buffer that grows leaves copies behind that nobody wipes.
        let length = prefix.len() + message.len() + 1 + signature.len();
        let mut token = Zeroizing::new(Vec::with_capacity(length));
        token.extend_from_slice(prefix.as_bytes());
        token.extend_from_slice(&message);
        token.push(b'.');
        token.extend_from_slice(signature.as_bytes());
        Ok(token)
    }
}

fn unwritten(_: serde_json::Error) -> Failure {
    Failure::new(Stage::Credential, "the token could not be written as JSON")
}
