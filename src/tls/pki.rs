//! Certificates, keys and handshakes for the tests of this module, all made in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{io, path::PathBuf, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, SignatureAlgorithm,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::WebPkiClientVerifier,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Http, Minimum, Settings, Tls, identity, provider, roots};
use crate::failure::Failure;

/// The name in the servers' certificates.
pub(super) const HOST: &str = "upstream.example";

pub(super) struct Ca {
    pub(super) pem: String,
    pub(super) der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        Self::of(name, |_| ())
    }

    pub(super) fn of(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = params(name);
        change(&mut params);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self { pem: cert.pem(), der: cert.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// Another authority, with a certificate of this one.
    pub(super) fn authority(&self, name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Self { pem: cert.pem(), der: cert.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub(super) fn leaf(&self, name: &str) -> Leaf {
        self.leaf_of(&PKCS_ECDSA_P256_SHA256, name, |_| ())
    }

    /// A certificate to the key of `leaf` that holds for longer than anyone needs.
    pub(super) fn renewed(&self, leaf: &Leaf, name: &str) -> CertificateDer<'static> {
        params(name).signed_by(&leaf.key, &self.issuer).unwrap().der().clone()
    }

    pub(super) fn leaf_of(
        &self,
        algorithm: &'static SignatureAlgorithm,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let mut params = params(name);
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { pem: cert.pem(), der: cert.der().clone(), key }
    }
}

pub(super) struct Leaf {
    pub(super) pem: String,
    pub(super) der: CertificateDer<'static>,
    pub(super) key: KeyPair,
}

impl Leaf {
    fn private(&self) -> PrivateKeyDer<'static> {
        self.key.serialize_der().try_into().unwrap()
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A folder with the files of a test.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// `client.pem` and `client.key` of a leaf.
    pub(super) fn identity(&self, leaf: &Leaf) -> identity::Settings {
        identity::Settings::Pair(identity::Pair {
            cert: identity::Source::File(self.write("client.pem", &leaf.pem)),
            key: identity::Source::File(self.write("client.key", leaf.key.serialize_pem())),
            passphrase: None,
        })
    }

    /// Settings that trust `ca` alone.
    pub(super) fn trusting(&self, ca: &Ca) -> Settings {
        settings(roots::Settings {
            cacert: vec![self.write("ca.pem", &ca.pem)],
            ..roots::Settings::default()
        })
    }
}

pub(super) fn settings(roots: roots::Settings) -> Settings {
    Settings {
        identity: None,
        roots,
        pins: Vec::new(),
        server_name: None,
        server_id: None,
        spiffe: None,
        minimum: Minimum::Tls12,
        http: Http::Auto,
    }
}

/// A server with this certificate; it demands one from `clients`, if given.
pub(super) fn server(leaf: &Leaf, clients: Option<&Ca>) -> ServerConfig {
    let provider = Arc::new(provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions();
    let builder = match clients {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der.clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.unwrap().with_client_cert_verifier(verifier.unwrap())
        }
        None => builder.unwrap().with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(vec![leaf.der.clone()], leaf.private()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// What the two sides agreed on.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) group: rustls::NamedGroup,
    pub(super) client: Option<CertificateDer<'static>>,
    pub(super) resumed: bool,
}

/// A handshake in memory and one byte each way, so that late refusals and session tickets come.
pub(super) async fn shake(tls: &Tls, server: Arc<ServerConfig>) -> io::Result<Agreed> {
    let (near, far) = tokio::io::duplex(64 << 10);
    let serve = async {
        let mut stream = tokio_rustls::TlsAcceptor::from(server).accept(far).await?;
        let client = stream.get_ref().1.peer_certificates().map(|chain| chain[0].clone());
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.shutdown().await?;
        io::Result::Ok(client.map(CertificateDer::into_owned))
    };
    let name = tls.server_name.clone().unwrap_or(ServerName::try_from(HOST).unwrap());
    let connect = async {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&tls.config));
        let mut stream = connector.connect(name, near).await?;
        stream.write_u8(1).await?;
        stream.read_u8().await?;
        let connection = stream.get_ref().1;
        Ok(Agreed {
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            group: connection.negotiated_key_exchange_group().unwrap().name(),
            client: None,
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        })
    };
    let (client, agreed) = tokio::join!(serve, connect);
    agreed.map(|agreed| Agreed { client: client.unwrap(), ..agreed })
}

/// How a failed handshake is explained.
pub(super) async fn explained(tls: &Tls, server: ServerConfig) -> Failure {
    let error = shake(tls, Arc::new(server)).await.unwrap_err();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    tls.explain(inner.unwrap_or_else(|| panic!("{error}")), HOST)
}
