//! The demo's certificates: two CAs, the gateway's own, and a client of each CA.
//!
//! They live in memory under the names that files would have, so that the bridge is told of them
//! by the flags that users write. Nothing is written anywhere.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error,
    ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};

use super::broken;
use crate::{failure::Failure, tls::Contents};

/// The CA that issued the gateway's certificate and [`CLIENT`].
pub(super) const CA: &str = "ca.pem";
/// Who the gateway lets in; the key is in `client.key`.
pub(super) const CLIENT: &str = "client.pem";
/// A CA that has nothing to do with the gateway.
pub(super) const OTHER_CA: &str = "other-ca.pem";
/// A client of [`OTHER_CA`]; the key is in `stranger.key`.
pub(super) const STRANGER: &str = "stranger.pem";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// All that is issued.
pub(super) struct Papers {
    files: Contents,
    ca: CertificateDer<'static>,
    server: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Papers {
    /// Issues everything anew.
    pub(super) fn issue() -> Result<Self, Error> {
        let ca = Authority::new("demo CA")?;
        let other = Authority::new("another CA")?;
        let (server, key) = ca.issue("gateway", &["127.0.0.1"], Purpose::ServerAuth)?;
        let mut files = Contents::new();
        for (issuer, root, cert, name) in
            [(&ca, CA, CLIENT, "demo agent"), (&other, OTHER_CA, STRANGER, "stranger")]
        {
            let (leaf, key) = issuer.issue(name, &[], Purpose::ClientAuth)?;
            files.insert(root.into(), issuer.pem.clone().into_bytes().into());
            files.insert(cert.into(), leaf.pem().into_bytes().into());
            files.insert(key_of(cert), key.serialize_pem().into_bytes().into());
        }
        let server = (server.der().clone(), PrivateKeyDer::from(key));
        Ok(Self { files, ca: ca.der, server })
    }

    /// What the bridge's flags name.
    pub(super) fn files(&self) -> Contents {
        self.files.clone()
    }

    /// The gateway's side: its own certificate, and a client's of the CA demanded.
    pub(super) fn gateway(&self) -> Result<Arc<ServerConfig>, Failure> {
        let part = "a gateway that demands certificates";
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut clients = RootCertStore::empty();
        clients.add(self.ca.clone()).map_err(broken(part))?;
        let demanding =
            WebPkiClientVerifier::builder_with_provider(Arc::new(clients), Arc::clone(&provider))
                .build()
                .map_err(broken(part))?;
        let (certificate, key) = &self.server;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_client_cert_verifier(demanding)
                    .with_single_cert(vec![certificate.clone()], key.clone_key())
            })
            .map_err(broken(part))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// `client.key` of `client.pem`.
pub(super) fn key_of(cert: &str) -> PathBuf {
    Path::new(cert).with_extension("key")
}

/// A CA, as an enterprise has one of its own.
struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Result<Self, Error> {
        let mut params = params(name, &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Ok(Self { pem, der, issuer: Issuer::new(params, key) })
    }

    fn issue(
        &self,
        name: &str,
        hosts: &[&str],
        purpose: Purpose,
    ) -> Result<(rcgen::Certificate, KeyPair), Error> {
        let mut params = params(name, hosts)?;
        params.extended_key_usages = vec![purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?, key))
    }
}

/// For `CN=name, O=Example`, from yesterday (clocks differ) for a year.
fn params(name: &str, hosts: &[&str]) -> Result<CertificateParams, Error> {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(DAY);
    params.not_after = date_time_ymd(1970, 1, 1) + now + DAY * 365;
    Ok(params)
}
