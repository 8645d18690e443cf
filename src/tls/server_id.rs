//! A server known by its SPIFFE id instead of its host's name.
//!
//! Servers of a mesh have certificates without a DNS name: what they are is a URI in it (X.509-SVID,
//! section 2). The chain, the dates and the signatures are checked as ever; only the name is
//! another. A certificate with more than one URI is no SVID and is refused.

use std::{fmt, str::FromStr, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::failure::{Failure, Stage};

/// The longest id there may be (SPIFFE-ID, section 2.3).
const LONGEST: usize = 2048;

/// `spiffe://TRUST-DOMAIN/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// The part that has its own roots: `prod.example` of `spiffe://prod.example/gateway`.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        let rest = self.0.strip_prefix("spiffe://").unwrap_or_default();
        rest.split_once('/').map_or(rest, |(domain, _)| domain)
    }
}

impl FromStr for SpiffeId {
    type Err = Failure;

    /// # Errors
    /// At the configuration stage, for what is no SPIFFE id with a path (SPIFFE-ID, section 2).
    fn from_str(text: &str) -> Result<Self, Failure> {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let domain = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| lower(byte) || b"-_.".contains(&byte))
        };
        let segment = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !matches!(text, "" | "." | "..") && text.bytes().all(allowed)
        };
        let valid = text.len() <= LONGEST
            && text
                .strip_prefix("spiffe://")
                .and_then(|rest| rest.split_once('/'))
                .is_some_and(|(trust, path)| domain(trust) && path.split('/').all(segment));
        if valid {
            return Ok(Self(text.to_owned()));
        }
        Err(Failure::new(
            Stage::Configuration,
            format!("expected spiffe://TRUST-DOMAIN/PATH, found {text:?} (--server-spiffe-id)"),
        )
        .hint("openssl x509 -in server.pem -noout -ext subjectAltName shows the server's own"))
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The server is someone else.
#[derive(Debug, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub(super) struct OtherId {
    pub(super) expected: SpiffeId,
    /// The id it has, or that it has none: it is public.
    pub(super) found: String,
}

/// Verifies as usual, but for the id in place of the host's name.
#[derive(Debug)]
pub(super) struct ById {
    id: SpiffeId,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    usual: Arc<WebPkiServerVerifier>,
}

impl ById {
    /// `usual` is made of the same `roots`; of it, the checks of signatures are used.
    pub(super) fn new(
        id: SpiffeId,
        roots: Arc<RootCertStore>,
        algorithms: WebPkiSupportedAlgorithms,
        usual: Arc<WebPkiServerVerifier>,
    ) -> Self {
        Self { id, roots, algorithms, usual }
    }
}

impl ServerCertVerifier for ById {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        let found = ids(end_entity)?;
        if found.iter().map(String::as_str).eq([self.id.0.as_str()]) {
            return Ok(ServerCertVerified::assertion());
        }
        let found = if found.is_empty() { "none".to_owned() } else { found.join(" and ") };
        let other = OtherId { expected: self.id.clone(), found };
        Err(CertificateError::Other(OtherError(Arc::new(other))).into())
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

/// The URIs in a certificate's alternative names.
fn ids(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let broken = || Error::from(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| broken())?;
    let names = parsed.subject_alternative_name().map_err(|_| broken())?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    Ok(uris.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{PKCS_ECDSA_P256_SHA256, SanType};

    use super::*;
    use crate::tls::{
        load,
        pki::{Ca, Folder, HOST, Leaf, explained, server, shake},
    };

    const ID: &str = "spiffe://prod.example/gateway";

    fn named(ca: &Ca, uris: &[&str]) -> Leaf {
        ca.leaf_of(&PKCS_ECDSA_P256_SHA256, "gateway", |params| {
            params.subject_alt_names =
                uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        })
    }

    #[test]
    fn ids_are_told_from_all_else() {
        for text in [ID, "spiffe://a/b", "spiffe://a-b_c.d/E/f.1", "spiffe://a/..."] {
            assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "spiffe://",
            "spiffe://a",
            "spiffe://a/",
            "spiffe:///b",
            "spiffe://A/b",
            "spiffe://a:1/b",
            "spiffe://u@a/b",
            "spiffe://a/b/",
            "spiffe://a/../b",
            "spiffe://a//b",
            "spiffe://a/b?c",
            "spiffe://a/b c",
            "https://a/b",
        ] {
            let failure = text.parse::<SpiffeId>().unwrap_err();
            assert!(failure.what().contains("--server-spiffe-id"), "{failure}");
        }
    }

    #[tokio::test]
    async fn the_id_takes_the_place_of_the_name_and_of_nothing_else() {
        let (folder, ca, foreign) = (Folder::new(), Ca::new("ca"), Ca::new("foreign"));
        let server_id = Some(ID.parse().unwrap());
        let tls = load(&crate::tls::Settings { server_id, ..folder.trusting(&ca) }).await.unwrap();
        shake(&tls, Arc::new(server(&named(&ca, &[ID]), None))).await.unwrap();

        for (leaf, expected) in [
            (
                named(&ca, &["spiffe://prod.example/other"]),
                "its SPIFFE id is spiffe://prod.example/other",
            ),
            (named(&ca, &[ID, "spiffe://prod.example/other"]), " and spiffe://prod.example/other"),
            (ca.leaf(HOST), "its SPIFFE id is none"),
            (named(&foreign, &[ID]), "no CA that we trust issued it"),
        ] {
            let failure = explained(&tls, server(&leaf, None)).await;
            assert!(failure.what().contains(expected), "{failure}");
            assert!(failure.next_step().is_some(), "{failure}");
        }
    }
}
