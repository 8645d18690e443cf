//! Pins: the keys that a server may have, beside what its certificate says.
//!
//! A pin is checked after the chain, the dates and the name, never instead of them. Several pins
//! are alternatives, so that a server's key can be rotated.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::failure::{Failure, Stage};

/// The SHA-256 of a public key (SubjectPublicKeyInfo, RFC 5280 section 4.1.2.7), written as
/// curl's `--pinnedpubkey` and RFC 7469 section 2.4 do: `sha256//` and base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of a certificate's key; `None` for what is no certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Some(Self(Sha256::digest(parsed.public_key().raw).into()))
    }
}

impl FromStr for Pin {
    type Err = Failure;

    /// # Errors
    /// At the configuration stage, for what is not `sha256//` and the base64 of 32 bytes.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let bytes = text.strip_prefix("sha256//").and_then(|hash| STANDARD.decode(hash).ok());
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| {
            Failure::new(
                Stage::Configuration,
                format!(
                    "expected sha256// and the base64 of 32 bytes, found {text:?} (--pinnedpubkey)"
                ),
            )
            .hint(
                "to make it: openssl x509 -in server.pem -pubkey -noout | openssl pkey -pubin \
                 -outform DER | openssl dgst -sha256 -binary | openssl base64",
            )
        })
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256//{}", STANDARD.encode(self.0))
    }
}

/// The server's key is none of the pinned ones.
#[derive(Debug, thiserror::Error)]
#[error("the key of the server's certificate is {found}, which is not pinned")]
pub(super) struct Unpinned {
    /// The pin that the server's key has: it is public, whoever connects can see it.
    pub(super) found: Pin,
}

/// Verifies as usual, then the pin.
#[derive(Debug)]
pub(super) struct Pinned {
    usual: Arc<dyn ServerCertVerifier>,
    pins: Vec<Pin>,
}

impl Pinned {
    pub(super) fn new(usual: Arc<dyn ServerCertVerifier>, pins: Vec<Pin>) -> Self {
        Self { usual, pins }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.usual.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        let found = Pin::of(end_entity).ok_or(CertificateError::BadEncoding)?;
        if self.pins.contains(&found) {
            Ok(verified)
        } else {
            Err(CertificateError::Other(OtherError(Arc::new(Unpinned { found }))).into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tls::{
        load,
        pki::{Ca, Folder, HOST, explained, server, shake},
    };

    #[test]
    fn reads_what_curl_reads_and_writes_it_back() {
        let text = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let pin: Pin = text.parse().unwrap();
        assert_eq!(pin, Pin(Sha256::digest(b"").into()));
        assert_eq!(pin.to_string(), text);
    }

    #[test]
    fn what_is_no_pin_is_shown_with_the_command_that_makes_one() {
        for text in ["", "47DEQpj8", "sha256//", "sha256//AAAA", "sha1//AAAA", "server.pem"] {
            let failure = text.parse::<Pin>().unwrap_err();
            assert!(failure.what().contains("--pinnedpubkey"), "{failure}");
            assert!(failure.next_step().unwrap().contains("openssl dgst -sha256"));
        }
    }
    #[tokio::test]
    async fn any_of_the_pins_is_enough_and_the_chain_is_verified_first() {
        let (folder, ca, other) = (Folder::new(), Ca::new("ca"), Ca::new("other"));
        let leaf = ca.leaf(HOST);
        let (ours, wrong) = (Pin::of(&leaf.der).unwrap(), Pin::of(&ca.der).unwrap());
        let pinned =
            |pins: &[Pin]| crate::tls::Settings { pins: pins.to_vec(), ..folder.trusting(&ca) };

        let tls = load(&pinned(&[wrong, ours])).await.unwrap();
        shake(&tls, Arc::new(server(&leaf, None))).await.unwrap();

        let tls = load(&pinned(&[wrong])).await.unwrap();
        let failure = explained(&tls, server(&leaf, None)).await;
        assert_eq!(
            failure.to_string(),
            format!(
                "we refused the certificate of the upstream {HOST}: its key is {ours}, which is \
                 none of the pinned ones"
            )
        );

        let foreign = other.leaf(HOST);
        let tls = load(&pinned(&[Pin::of(&foreign.der).unwrap()])).await.unwrap();
        let failure = explained(&tls, server(&foreign, None)).await;
        assert!(failure.what().contains("no CA that we trust issued it"), "{failure}");
    }
}
