//! One generation of TLS for those who connect to us: our certificate, and whose they may show.
//!
//! Files go in, one immutable [`Inbound`] comes out. With roots for clients, whoever shows no
//! certificate that comes from them is refused in the handshake, in every handshake: nothing is
//! resumed. Which of the verified names may ask is not decided here.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig, ServerConnection,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{
    Minimum,
    date::Date,
    files::{Files, Fingerprint, Place, Seen},
    identity::{self, Pair, Source},
    provider, reload, roots, versions,
    whose::Whose,
};
use crate::failure::{Failure, Stage};

/// What TLS of the listeners is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our certificate and its chain, PEM (`--listen-cert`).
    pub cert: PathBuf,
    /// Its key (`--listen-key`), which may be in the file of the certificate.
    pub key: PathBuf,
    /// Whom clients' certificates must come from (`--client-ca`): exactly these roots. None: no
    /// client is asked for a certificate.
    pub client_ca: Option<PathBuf>,
}

/// The current generation, and those to come.
pub type Current = watch::Receiver<Arc<Inbound>>;

/// One loaded generation. A rotation makes another; this one stays as it is.
pub struct Inbound {
    /// What a handshake is made with.
    pub config: Arc<ServerConfig>,
    /// Our certificate.
    pub identity: identity::Summary,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    fingerprint: Fingerprint,
    seen: Vec<Seen>,
}

/// Loads the first generation: reads every file, and checks that they hold and fit together. The
/// future, to be spawned, makes the next ones; `hangup` asks for a look at once (SIGHUP).
///
/// # Errors
/// At the configuration stage, with the file, the flag and the next step.
pub async fn start(
    settings: Settings,
    hangup: mpsc::Receiver<()>,
) -> Result<(Current, impl Future<Output = ()> + Send + 'static), Failure> {
    let first = load(&settings, Files::default()).await?;
    let (watch, current) = reload::Watch::begin(settings, first);
    // Nobody waits for a look.
    Ok((current, watch.run(hangup, mpsc::channel(1).1)))
}

impl reload::Source for Settings {
    type Generation = Inbound;
    const FILES: &'static str = "the TLS files of the listeners";

    async fn load(&self) -> Result<Inbound, Failure> {
        load(self, Files::default().again()).await
    }

    async fn pushed(&mut self) {
        std::future::pending().await
    }

    fn fingerprint(inbound: &Inbound) -> Fingerprint {
        inbound.fingerprint
    }

    fn seen(inbound: &Inbound) -> &[Seen] {
        &inbound.seen
    }

    fn told(inbound: &Inbound) -> String {
        format!("the server certificate is {}", reload::held(&inbound.identity))
    }
}

async fn load(settings: &Settings, mut files: Files) -> Result<Inbound, Failure> {
    let pair = Pair {
        cert: Source::File(settings.cert.clone()),
        key: Source::File(settings.key.clone()),
        passphrase: None,
    };
    let identity = identity::load_pair(&pair, Whose::Server, &mut files).await?;
    let provider = Arc::new(provider());
    let unset = |error: &dyn std::fmt::Display| {
        let what = format!("cannot set up TLS for the listeners: {error}");
        Failure::new(Stage::Configuration, what)
    };
    let clients = match &settings.client_ca {
        Some(path) => {
            let roots = authorities(path, &mut files)?;
            Some(verifier(roots, &provider).map_err(|error| unset(&error))?)
        }
        None => None,
    };
    let ours = SingleCertAndKey::from(Arc::clone(&identity.certified));
    let config = configure(provider, clients.clone(), ours).map_err(|error| unset(&error))?;
    identity.warn();
    let (fingerprint, seen) = files.finish();
    let config = Arc::new(config);
    Ok(Inbound { config, identity: identity.summary, clients, fingerprint, seen })
}

/// Every certificate of the file, none of the system's.
fn authorities(path: &Path, files: &mut Files) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    roots::exactly(Place { path, flag: "--client-ca" }, files, &mut roots)?;
    Ok(roots)
}

fn verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::server::VerifierBuilderError> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()
}

fn configure(
    provider: Arc<CryptoProvider>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    ours: SingleCertAndKey,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(Minimum::Tls12))?;
    let proven = clients.is_some();
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ours));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if proven {
        // A session that is resumed is not verified again: it would outlive the certificate that
        // it was opened with. Connections are kept open, so full handshakes are few.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// Whoever showed a certificate that was verified.
#[derive(Debug)]
pub struct Caller {
    /// The DNS names (in lower case) and URIs in its certificate, in order, each once; the subject
    /// of a certificate that has neither. Never none.
    pub names: Arc<[String]>,
    not_after: Date,
    chain: Vec<CertificateDer<'static>>,
}

/// Its certificate was verified and still does not tell who it is.
#[derive(Debug, Error)]
pub enum Unnamed {
    /// Not in the form of RFC 5280, section 4.2.1.6.
    #[error("the names in the client certificate cannot be read")]
    Broken,
    /// No name that anyone could allow, or be told apart by.
    #[error("the client certificate names nobody")]
    None,
}

impl Inbound {
    /// Who is at the other end after the handshake; none where nobody is asked for a certificate.
    ///
    /// # Errors
    /// The certificate does not tell.
    pub fn caller(&self, connection: &ServerConnection) -> Result<Option<Caller>, Unnamed> {
        if self.clients.is_none() {
            return Ok(None);
        }
        let chain = connection.peer_certificates().unwrap_or_default();
        let leaf = chain.first().ok_or(Unnamed::None)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| Unnamed::Broken)?;
        Ok(Some(Caller {
            names: names(&parsed)?.into(),
            not_after: Date(parsed.validity().not_after.timestamp()),
            chain: chain.iter().map(|it| it.clone().into_owned()).collect(),
        }))
    }

    /// Whether `caller` would be let in now, in a handshake of this generation.
    #[must_use]
    pub fn admits(&self, caller: &Caller) -> bool {
        let (Some(clients), [leaf, others @ ..]) = (&self.clients, caller.chain.as_slice()) else {
            return false;
        };
        clients.verify_client_cert(leaf, others, UnixTime::now()).is_ok()
    }
}

impl Caller {
    /// How long its certificate holds from now on, by this machine's clock.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let seconds = self.not_after.0.saturating_sub(Date::now().0);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

/// The names that a certificate is known by. A DNS name is never taken for a URI nor a URI for a DNS
/// name: an authority may be trusted with one kind alone.
fn names(certificate: &X509Certificate<'_>) -> Result<Vec<String>, Unnamed> {
    let alternative = certificate.subject_alternative_name().map_err(|_| Unnamed::Broken)?;
    let alternative = alternative.map_or(&[][..], |it| &it.value.general_names);
    let mut names = Vec::new();
    for name in alternative {
        match name {
            GeneralName::DNSName(name) if is_plain(name) && !name.contains(':') => {
                names.push(name.to_ascii_lowercase());
            }
            GeneralName::URI(uri) if is_plain(uri) && uri.contains(':') => {
                names.push((*uri).to_owned());
            }
            GeneralName::DNSName(_) | GeneralName::URI(_) | GeneralName::Invalid(..) => {
                return Err(Unnamed::Broken);
            }
            _ => {}
        }
    }
    if names.is_empty() {
        let subject = certificate.subject();
        subject.iter().next().ok_or(Unnamed::None)?;
        names.push(subject.to_string().replace(char::is_control, " "));
    }
    // The same holder whatever the order in which its authority writes them.
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
