//! How an upstream is to be before it starts: its TLS, its address, its dialect of MCP.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion, crypto::aws_lc_rs,
    pki_types::CertificateDer, server::WebPkiClientVerifier,
};
use serde_json::Value;

use super::Upstream;
use crate::support::{
    pki::{Authority, Identity, Pki},
    script::{Form, Lost},
};

/// How an upstream is to be, before it starts.
pub struct Options {
    identity: Option<Identity>,
    client_ca: Option<CertificateDer<'static>>,
    tls: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    pub(super) address: IpAddr,
    versions: Vec<String>,
    pub(super) lost: Lost,
    pub(super) form: Option<Form>,
    pub(super) stateless: bool,
    pub(super) modern: bool,
    pub(super) refuse_abruptly: bool,
    pub(super) resumable: Option<Option<u64>>,
}

impl Options {
    /// A certificate for localhost, clients of the CA, all defaults.
    pub(super) fn new(pki: &Pki) -> Self {
        Self {
            identity: Some(pki.server.clone()),
            client_ca: Some(pki.ca.der()),
            tls: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            address: Ipv4Addr::LOCALHOST.into(),
            versions: ["2025-11-25", "2025-06-18", "2025-03-26"].map(String::from).into(),
            lost: Lost::NotFound,
            form: None,
            stateless: false,
            modern: false,
            refuse_abruptly: false,
            resumable: None,
        }
    }

    /// Takes no TLS: plain HTTP/1.1.
    pub fn plain(self) -> Self {
        Self { identity: None, client_ca: None, ..self }
    }

    /// Demands no client certificate.
    pub fn any_client(self) -> Self {
        Self { client_ca: None, ..self }
    }

    /// Shows this certificate.
    pub fn identity(self, identity: &Identity) -> Self {
        Self { identity: Some(identity.clone()), ..self }
    }

    /// Demands a client certificate of this CA.
    pub fn client_ca(self, ca: &Authority) -> Self {
        Self { client_ca: Some(ca.der()), ..self }
    }

    /// Speaks these TLS versions only: `&rustls::version::TLS12`...
    pub fn tls(self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self { tls: versions.to_vec(), ..self }
    }

    /// Offers these by ALPN, none for no ALPN at all; `["h2", "http/1.1"]` if not said.
    pub fn alpn(self, names: &[&str]) -> Self {
        Self { alpn: names.iter().map(|name| name.as_bytes().to_vec()).collect(), ..self }
    }

    /// Listens on `::1`.
    pub fn v6(self) -> Self {
        Self { address: Ipv6Addr::LOCALHOST.into(), ..self }
    }

    /// Speaks this protocol version, whatever the client asks for.
    pub fn protocol(self, version: &str) -> Self {
        Self { versions: vec![version.into()], ..self }
    }

    /// The shape in which it says that it does not know a session; 404 if not said.
    pub fn lost(self, lost: Lost) -> Self {
        Self { lost, ..self }
    }

    /// Answers everything in this form; what the tool needs if not said.
    pub fn form(self, form: Form) -> Self {
        Self { form: Some(form), ..self }
    }

    /// Gives out no session ids.
    pub fn stateless(self) -> Self {
        Self { stateless: true, ..self }
    }

    /// Speaks 2026-07-28 and nothing else.
    pub fn modern(self) -> Self {
        Self { modern: true, ..self }
    }

    /// Closes at once after a failed handshake, so that RST may overtake the alert.
    pub fn refuse_abruptly(self) -> Self {
        Self { refuse_abruptly: true, ..self }
    }

    /// Its streams have event ids and a priming event, with this `retry`, and can be resumed.
    pub fn resumable(self, retry: Option<Duration>) -> Self {
        let retry = retry.map(|retry| u64::try_from(retry.as_millis()).unwrap());
        Self { resumable: Some(retry), ..self }
    }

    /// Starts it.
    pub fn start(self) -> Upstream {
        Upstream::start(self)
    }

    /// The version that answers this `protocolVersion`.
    pub(super) fn negotiate(&self, asked: &Value) -> String {
        let known = self.versions.iter().find(|version| *asked == ***version);
        known.unwrap_or(&self.versions[0]).clone()
    }

    /// TLS as these options have it, with this certificate and this CA of clients.
    pub(super) fn server_config(
        &self,
        identity: &Identity,
        client_ca: Option<&CertificateDer<'static>>,
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.tls)
            .unwrap();
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(ca.clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = vec![identity.cert_der()];
        let mut config = builder.with_single_cert(chain, identity.key_der()).unwrap();
        config.alpn_protocols.clone_from(&self.alpn);
        Arc::new(config)
    }

    /// TLS as it is at the start, if there is any.
    pub(super) fn first_config(&self) -> Option<Arc<ServerConfig>> {
        let identity = self.identity.as_ref()?;
        Some(self.server_config(identity, self.client_ca.as_ref()))
    }
}
