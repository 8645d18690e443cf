//! A CA, a server and a client of it, as PEM files in a directory that goes with them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::Outcome;

/// The directory of the files.
pub(crate) struct Certificates(tempfile::TempDir);

impl Certificates {
    /// Makes all of them, P-256.
    pub(crate) fn make() -> Outcome<Self> {
        let made = Self(tempfile::tempdir()?);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bench CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::write(made.ca(), ca.pem())?;
        for (name, usage) in [
            ("server", ExtendedKeyUsagePurpose::ServerAuth),
            ("client", ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let mut params = CertificateParams::new(["localhost".to_owned()])?;
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate()?;
            fs::write(certificate(made.path(), name), params.signed_by(&key, &ca)?.pem())?;
            fs::write(private_key(made.path(), name), key.serialize_pem())?;
            let owner_only = fs::Permissions::from_mode(0o600);
            fs::set_permissions(private_key(made.path(), name), owner_only)?;
        }
        Ok(made)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn ca(&self) -> PathBuf {
        certificate(self.path(), "ca")
    }

    pub(crate) fn client(&self) -> (PathBuf, PathBuf) {
        (certificate(self.path(), "client"), private_key(self.path(), "client"))
    }

    /// A client's configuration, read from the files as a program that starts does.
    pub(crate) fn client_config(&self, protocol: &[u8]) -> Outcome<Arc<ClientConfig>> {
        let (chain, key) = identity(self.path(), "client")?;
        let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(self.path())?)
            .with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }
}

/// The configuration of a server that demands a client certificate, from the files in `directory`.
pub(crate) fn server_config(directory: &Path) -> Outcome<Arc<ServerConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(roots(directory)?);
    let clients =
        WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
    let (chain, key) = identity(directory, "server")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificate(directory: &Path, name: &str) -> PathBuf {
    directory.join(name).with_extension("pem")
}

fn private_key(directory: &Path, name: &str) -> PathBuf {
    directory.join(name).with_extension("key")
}

fn roots(directory: &Path) -> Outcome<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate(directory, "ca"))?)?;
    Ok(roots)
}

fn identity(
    directory: &Path,
    name: &str,
) -> Outcome<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = vec![CertificateDer::from_pem_file(certificate(directory, name))?];
    Ok((chain, PrivateKeyDer::from_pem_file(private_key(directory, name))?))
}
