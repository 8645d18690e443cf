//! TLS of the sidecar's own listeners: who we are to callers, and which callers we know.
//!
//! Certificate, key and the roots of client certificates are loaded together, checked together and
//! published together, like those for the upstream; what does not hold keeps the last that did. Each
//! generation has sessions of its own to resume, so that none outlives the roots it was made under.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::CertificateDer,
    server::{ResolvesServerCert, WebPkiClientVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at},
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use super::{
    Minimum, chain,
    files::{Files, Fingerprint, Place, Seen},
    key, provider, roots, versions,
};
use crate::failure::{Failure, Stage};

/// How often the files are looked at, and after how many looks they are read whatever they seem.
const LOOK: Duration = Duration::from_secs(2);
const THOROUGH: u32 = 5;

/// Where it all is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our certificate and its chain, PEM (`--listen-cert`).
    pub cert: PathBuf,
    /// Its key, PEM (`--listen-key`), which may be in the same file.
    pub key: PathBuf,
    /// The roots that client certificates must come from (`--client-ca`); none are asked for without.
    pub client_ca: Option<PathBuf>,
}

/// What connections that come in are secured with.
pub type Current = watch::Receiver<Arc<ServerConfig>>;

struct Loaded {
    config: Arc<ServerConfig>,
    fingerprint: Fingerprint,
    seen: Vec<Seen>,
}

/// Loads the first generation; the future, to be spawned, makes the next ones. `hangup` asks for a
/// look at once (SIGHUP).
///
/// # Errors
///
/// At the configuration stage, with the file, the flag and the next step.
pub async fn start(
    settings: Settings,
    mut hangup: mpsc::Receiver<()>,
) -> Result<(Current, impl Future<Output = ()> + Send + 'static), Failure> {
    let mut loaded = load(&settings, Files::default()).await?;
    let (publish, current) = watch::channel(Arc::clone(&loaded.config));
    let watching = async move {
        let mut ticks = interval_at(Instant::now() + LOOK, LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut failed, mut signals) = (None, true);
        for count in 1_u32.. {
            let mut asked = false;
            tokio::select! {
                () = publish.closed() => return,
                signal = hangup.recv(), if signals => {
                    signals = signal.is_some();
                    asked = signals;
                }
                _ = ticks.tick() => {}
            }
            let due = count.is_multiple_of(THOROUGH);
            // All of them, each time: what was seen must be as old for one as for the others.
            let changed = loaded.seen.iter_mut().fold(false, |any, seen| seen.changed(due) | any);
            if !(asked || changed || (due && failed.is_some())) {
                continue;
            }
            match load(&settings, Files::default().again()).await {
                Ok(next) => {
                    failed = None;
                    if next.fingerprint != loaded.fingerprint {
                        tracing::info!("reloaded the TLS files of the listeners");
                        publish.send_replace(Arc::clone(&next.config));
                    }
                    loaded = next;
                }
                Err(failure) => keep(&failure, asked, &mut failed),
            }
        }
    };
    Ok((current, watching))
}

/// Keeps what there is, and says why: once for each reason, and to whoever asks.
fn keep(failure: &Failure, asked: bool, failed: &mut Option<String>) {
    let what = failure.to_string();
    if asked || failed.as_ref() != Some(&what) {
        let hint = failure.next_step().unwrap_or_default();
        tracing::warn!(
            hint,
            "the TLS files of the listeners are not used as they are now, the ones before stay: {what}"
        );
    }
    *failed = Some(what);
}

async fn load(settings: &Settings, mut files: Files) -> Result<Loaded, Failure> {
    let place = Place { path: &settings.cert, flag: "--listen-cert" };
    let cert = files.read(place, "the certificate of the listeners")?;
    let chain = chain::read(&cert.bytes, &place)?;
    let (of_key, file) = if settings.key == settings.cert {
        (place, cert)
    } else {
        let place = Place { path: &settings.key, flag: "--listen-key" };
        (place, files.read(place, "the private key of the listeners")?)
    };
    let key = key::load(&file.bytes, of_key, None).await?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| {
        refused(format!("the private key in {of_key} does not fit the certificate in {place}"))
            .hint("a pair is made together: give the key that the certificate was made from")
    })?;
    let config = configure(settings, certified, &mut files)?;
    let (fingerprint, seen) = files.finish();
    Ok(Loaded { config: Arc::new(config), fingerprint, seen })
}

fn configure(
    settings: &Settings,
    certified: CertifiedKey,
    files: &mut Files,
) -> Result<ServerConfig, Failure> {
    let broken = |error: &dyn std::fmt::Display| refused(format!("cannot set up TLS: {error}"));
    let provider = Arc::new(provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(Minimum::Tls12))
        .map_err(|error| broken(&error))?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut known = RootCertStore::empty();
            roots::exactly(Place { path, flag: "--client-ca" }, files, &mut known)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(known), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| broken(&error))?)
        }
    };
    let only: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(certified));
    let mut config = builder.with_cert_resolver(only);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The names of a client in its verified certificate: DNS names and URIs, or the subject of one that
/// has neither.
#[must_use]
pub fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.iter().flat_map(|it| &it.value.general_names);
    let names: Vec<String> = alternatives
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
        .collect();
    if names.is_empty() { vec![certificate.subject().to_string()] } else { names }
}

fn refused(what: String) -> Failure {
    Failure::new(Stage::Configuration, what)
}
