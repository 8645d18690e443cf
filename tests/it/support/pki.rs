//! The certificates of a test: a CA with a server and clients, what goes wrong with each, and
//! the two ways in which they are replaced on disk. All of it lives in one temporary directory.
//! Keys are P-256 unless a test asks for another kind; key files are readable by the owner only.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::SystemTime,
};

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::Digest;

/// A CA that both sides trust and one that nobody does, with what they signed.
pub struct Pki {
    /// The CA of the server and of the good client; the server demands clients of it.
    pub ca: Authority,
    /// A CA that neither side knows.
    pub foreign_ca: Authority,
    /// For `localhost`, `127.0.0.1` and `::1`.
    pub server: Identity,
    /// `CN=client`.
    pub client: Identity,
    /// `CN=expired`, good until 2021-01-31.
    pub expired: Identity,
    /// `CN=early`, good from 2098-01-01.
    pub early: Identity,
    /// `CN=foreign`, of the foreign CA.
    pub foreign: Identity,
    /// The certificate of `client` with another key.
    pub mismatched: Identity,
    directory: tempfile::TempDir,
    mounts: AtomicU32,
}

impl Pki {
    /// Makes all of them.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let ca = Authority::new(at, "ca");
        let foreign_ca = Authority::new(at, "foreign-ca");
        let client = ca.issue(&client_params("client"), "client", P256);
        let mut expired = client_params("expired");
        expired.not_after = date_time_ymd(2021, 1, 31);
        let mut early = client_params("early");
        early.not_before = date_time_ymd(2098, 1, 1);
        let key = KeyPair::generate().unwrap();
        Self {
            server: ca.issue(&server_params(&LOCAL), "server", P256),
            expired: ca.issue(&expired, "expired", P256),
            early: ca.issue(&early, "early", P256),
            foreign: foreign_ca.issue(&client_params("foreign"), "foreign", P256),
            mismatched: Identity::write(at, "mismatched", client.cert_pem(), key.serialize_pem()),
            client,
            foreign_ca,
            ca,
            directory,
            mounts: AtomicU32::new(0),
        }
    }

    /// The directory of all files, for those a test adds.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Another client of the trusted CA, `CN=name`, in files of its own.
    pub fn issue_client(&self, name: &str) -> Identity {
        self.ca.issue(&client_params(name), name, P256)
    }

    /// The same with a key of `kind`: `rcgen::PKCS_ED25519`, `PKCS_RSA_SHA256`...
    pub fn issue_client_with(&self, name: &str, kind: &'static SignatureAlgorithm) -> Identity {
        self.ca.issue(&client_params(name), name, kind)
    }

    /// The same as a SPIFFE agent gives it: it speaks for [`SPIFFE_ID`], and says that it is no CA.
    pub fn issue_svid(&self, name: &str) -> Identity {
        let mut params = client_params(name);
        params.subject_alt_names = vec![SanType::URI(SPIFFE_ID.try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        self.ca.issue(&params, name, P256)
    }

    /// The same with these alternative names, in their order, until `end`: names with a colon are URIs.
    pub fn issue_client_named(&self, names: &[&str], end: SystemTime) -> Identity {
        let name = format!("named-{}", self.mounts.fetch_add(1, Ordering::Relaxed));
        let mut params = client_params(&name);
        let named = names.iter().map(|name| match name.contains(':') {
            true => SanType::URI((*name).try_into().unwrap()),
            false => SanType::DnsName((*name).try_into().unwrap()),
        });
        params.subject_alt_names = named.collect();
        params.not_after = end.into();
        self.ca.issue(&params, &name, P256)
    }

    /// The same with this as its DNS name, whatever it is.
    pub fn issue_client_dns(&self, name: &str) -> Identity {
        let mut params = client_params("dns");
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        self.ca.issue(&params, "dns", P256)
    }

    /// Another server of the trusted CA, for these host names and addresses.
    pub fn issue_server(&self, name: &str, hosts: &[&str]) -> Identity {
        self.ca.issue(&server_params(hosts), name, P256)
    }

    /// `identity` in a directory as Kubernetes mounts a secret.
    pub fn mount(&self, identity: &Identity) -> Mount {
        let number = self.mounts.fetch_add(1, Ordering::Relaxed);
        Mount::new(self.path().join(format!("mount-{number}")), identity)
    }
}

/// Who a client is by its SVID.
pub const SPIFFE_ID: &str = "spiffe://prod.example/agent";

const P256: &SignatureAlgorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2098, 12, 31);
    params.use_authority_key_identifier_extension = true;
    params
}

fn client_params(name: &str) -> CertificateParams {
    let mut params = params(name, &[]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn server_params(hosts: &[&str]) -> CertificateParams {
    let mut params = params(hosts[0], hosts);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// A certificate authority and its file.
pub struct Authority {
    /// The CA's certificate: what `--cacert` and the server's client CA take.
    pub cert: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    fn new(directory: &Path, name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let cert = directory.join(format!("{name}.pem"));
        fs::write(&cert, issuer.pem()).unwrap();
        Self { cert, issuer, directory: directory.into() }
    }

    fn issue(
        &self,
        params: &CertificateParams,
        name: &str,
        kind: &'static SignatureAlgorithm,
    ) -> Identity {
        let key = KeyPair::generate_for(kind).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Identity::write(&self.directory, name, cert.pem(), key.serialize_pem())
    }

    /// The certificate as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The certificate as DER.
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }
}

/// A certificate and its key: in memory as they were issued, and in two files.
#[derive(Clone)]
pub struct Identity {
    /// The certificate's file.
    pub cert: PathBuf,
    /// The key's file (PKCS#8, mode 0600).
    pub key: PathBuf,
    cert_pem: String,
    key_pem: String,
}

impl Identity {
    fn write(directory: &Path, name: &str, cert_pem: String, key_pem: String) -> Self {
        let cert = directory.join(format!("{name}.pem"));
        let key = directory.join(format!("{name}.key"));
        write_public(&cert, &cert_pem);
        write_private(&key, &key_pem);
        Self { cert, key, cert_pem, key_pem }
    }

    /// The certificate as it was issued, whatever its file holds now.
    pub fn cert_pem(&self) -> String {
        self.cert_pem.clone()
    }

    /// The key as it was issued.
    pub fn key_pem(&self) -> String {
        self.key_pem.clone()
    }

    /// The certificate as DER.
    pub fn cert_der(&self) -> CertificateDer<'static> {
        rustls::pki_types::pem::PemObject::from_pem_slice(self.cert_pem.as_bytes()).unwrap()
    }

    /// The key as DER.
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(KeyPair::from_pem(&self.key_pem).unwrap().serialize_der()).into()
    }

    /// The public key as `--pinnedpubkey` takes it.
    pub fn pin(&self) -> String {
        let public = KeyPair::from_pem(&self.key_pem).unwrap().subject_public_key_info();
        let hash = sha2::Sha256::digest(public);
        format!("sha256//{}", base64::engine::general_purpose::STANDARD.encode(hash))
    }

    /// Certificate and key in one new file beside the others.
    pub fn combined(&self) -> PathBuf {
        let path = self.cert.with_extension("both.pem");
        write_private(&path, &format!("{}{}", self.cert_pem, self.key_pem));
        path
    }

    /// This certificate with the key of another, in memory alone.
    pub fn with_key_of(&self, other: &Self) -> Self {
        Self { key_pem: other.key_pem.clone(), ..self.clone() }
    }

    /// Puts `next` into these files, in place: between the two writes they do not fit.
    pub fn overwrite(&self, next: &Self) {
        write_public(&self.cert, &next.cert_pem);
        write_private(&self.key, &next.key_pem);
    }

    /// Puts into these files what no one can load.
    pub fn break_files(&self) {
        write_public(&self.cert, "-----BEGIN CERTIFICATE-----\nnot base64!\n");
    }
}

fn write_public(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A secret as Kubernetes mounts it: `tls.crt -> ..data/tls.crt`, `..data -> ..GENERATION`, and
/// an update is one rename of `..data`, which no watch on the files themselves ever sees.
pub struct Mount {
    /// The certificate's path, a link.
    pub cert: PathBuf,
    /// The key's path, a link.
    pub key: PathBuf,
    directory: PathBuf,
    generation: AtomicU32,
}

impl Mount {
    fn new(directory: PathBuf, identity: &Identity) -> Self {
        fs::create_dir(&directory).unwrap();
        let (cert, key) = (directory.join("tls.crt"), directory.join("tls.key"));
        symlink("..data/tls.crt", &cert).unwrap();
        symlink("..data/tls.key", &key).unwrap();
        let mount = Self { cert, key, directory, generation: AtomicU32::new(0) };
        mount.swap(identity);
        mount
    }

    /// Replaces what is mounted, as the kubelet does, and removes the old generation.
    pub fn swap(&self, identity: &Identity) {
        let number = self.generation.fetch_add(1, Ordering::Relaxed);
        let name = format!("..2026_{number}");
        let generation = self.directory.join(&name);
        fs::create_dir(&generation).unwrap();
        write_public(&generation.join("tls.crt"), &identity.cert_pem);
        write_private(&generation.join("tls.key"), &identity.key_pem);
        symlink(&name, self.directory.join("..data_tmp")).unwrap();
        fs::rename(self.directory.join("..data_tmp"), self.directory.join("..data")).unwrap();
        if let Some(before) = number.checked_sub(1) {
            fs::remove_dir_all(self.directory.join(format!("..2026_{before}"))).unwrap();
        }
    }
}
