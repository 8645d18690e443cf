//! The client of the Workload API: keeps the newest SVID and bundles, and says when they change.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use spiffe::{
    TrustDomain, X509Source, X509SourceUpdates,
    x509_source::{MetricsErrorKind, MetricsRecorder},
};
use zeroize::Zeroizing;

use super::{BUNDLE, KEY, SVID, Settings};
use crate::{
    failure::{Failure, Stage},
    tls::{files::Contents, server_id::SpiffeId},
};

/// How long the agent may take for its first answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A line of PEM (RFC 7468, section 2).
const LINE: usize = 64;

/// The connection to the agent. It is made again when it breaks, and what there is stays.
pub(in crate::tls) struct Agent {
    source: X509Source,
    updates: X509SourceUpdates,
    endpoint: String,
}

impl Agent {
    /// Connects, and waits for the first identity.
    ///
    /// # Errors
    /// At the configuration stage: the endpoint is none, nobody answers there in time, or the agent
    /// has no identity for us.
    pub(in crate::tls) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let endpoint = settings.endpoint.clone();
        let trouble = Arc::new(Trouble { endpoint: endpoint.clone(), told: AtomicBool::new(true) });
        let source = X509Source::builder().endpoint(&endpoint).initial_sync_timeout(PATIENCE);
        let source = source.metrics(Arc::clone(&trouble) as _);
        let source = source.build().await.map_err(|error| {
            refused(format!("no identity from the SPIFFE agent at {endpoint} (--spiffe): {error}"))
                .hint(
                    "look whether the agent runs and its socket can be reached from here, and \
                     whether a registration entry matches this process",
                )
        })?;
        trouble.told.store(false, Ordering::Relaxed);
        Ok(Self { updates: source.updated(), source, endpoint })
    }

    /// What the agent gives now, as the files it stands for. The bundle is that of the server's
    /// trust domain, else of our own: federated domains speak for nobody else's names.
    ///
    /// # Errors
    /// At the configuration stage: it was withdrawn, or there is no bundle of that domain.
    pub(in crate::tls) fn contents(&self, server: Option<&SpiffeId>) -> Result<Contents, Failure> {
        let at = &self.endpoint;
        let withdrawn = |error| refused(format!("the SPIFFE agent at {at} has none now: {error}"));
        let svid = self.source.svid().map_err(withdrawn)?;
        let own = svid.spiffe_id().trust_domain().clone();
        let domain = match server.map(SpiffeId::trust_domain) {
            Some(name) => TrustDomain::new(name)
                .map_err(|error| refused(format!("{name} is no trust domain: {error}")))?,
            None => own,
        };
        let bundles = self.source.bundle_set().map_err(withdrawn)?;
        let bundle = bundles.get(&domain).ok_or_else(|| {
            refused(format!("the SPIFFE agent at {at} has no bundle of the trust domain {domain}"))
                .hint("federate with it, or name its roots with --cacert")
        })?;
        let chain = svid.cert_chain().iter().map(|certificate| certificate.as_bytes());
        let roots = bundle.authorities().iter().map(|certificate| certificate.as_bytes());
        Ok(Contents::from([
            (SVID.into(), pem("CERTIFICATE", chain)),
            (KEY.into(), pem("PRIVATE KEY", [svid.private_key().as_bytes()].into_iter())),
            (BUNDLE.into(), pem("CERTIFICATE", roots)),
        ]))
    }

    /// Waits until the agent has pushed something new.
    pub(in crate::tls) async fn changed(&mut self) {
        if self.updates.changed().await.is_err() {
            // The client has ended for good: what there is stays until it expires.
            std::future::pending::<()>().await;
        }
    }
}

/// Says what the client of the API would keep to itself: once, until there is something new. What
/// goes wrong before the first identity is not for it to tell.
struct Trouble {
    endpoint: String,
    told: AtomicBool,
}

impl MetricsRecorder for Trouble {
    fn record_update(&self) {
        self.told.store(false, Ordering::Relaxed);
    }

    fn record_reconnect(&self) {}

    fn record_error(&self, kind: MetricsErrorKind) {
        let what = match kind {
            MetricsErrorKind::StreamEnded | MetricsErrorKind::StreamError => {
                "went away or gave what can't be read"
            }
            MetricsErrorKind::UpdateRejected => "gave no identity that can be used",
            // In vain again, or in other words.
            _ => return,
        };
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the SPIFFE agent at {} (--spiffe) {what}: what it gave before stays, and it is \
                 asked again until it answers",
                self.endpoint
            );
        }
    }
}

/// PEM in one allocation: a buffer that grows leaves copies of the key behind that nobody wipes.
fn pem<'a>(label: &str, ders: impl Iterator<Item = &'a [u8]>) -> Zeroizing<Vec<u8>> {
    let ders: Vec<&[u8]> = ders.collect();
    let room: usize = ders.iter().map(|der| der.len() * 2 + 2 * label.len() + 64).sum();
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    for der in ders {
        text.extend_from_slice(format!("-----BEGIN {label}-----\n").as_bytes());
        let encoded = Zeroizing::new(STANDARD.encode(der));
        for line in encoded.as_bytes().chunks(LINE) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    }
    text
}

fn refused(what: String) -> Failure {
    Failure::new(Stage::Configuration, what)
}
