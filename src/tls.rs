//! One generation of the whole TLS configuration: who we are, whom we trust, what we speak.
//!
//! Files go in; one immutable [`Tls`] comes out, checked to fit together. A rotation makes a
//! new one with everything fresh, sessions to resume included, since a session resumed under a
//! new certificate would still be the old identity's. Nothing here connects to anyone, and
//! nothing turns a check off.

mod alerts;
mod aside;
mod chain;
mod date;
mod explain;
mod files;
mod generations;
pub mod identity;
pub mod inbound;
mod key;
mod pem;
pub mod pins;
pub mod pkcs11;
pub mod pkcs12;
#[cfg(test)]
mod pki;
pub mod reload;
pub mod roots;
pub mod server_id;
pub mod spiffe;
mod whose;

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, SupportedProtocolVersion,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::ServerName,
    version::{TLS12, TLS13},
};

pub use self::{date::Date, files::Contents, generations::Generations};
use crate::failure::{Failure, Stage};

/// What the whole of TLS is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The agent that gives identity and roots in the place of files (`--spiffe`).
    pub spiffe: Option<spiffe::Settings>,
    /// The client certificate, if there is to be one.
    pub identity: Option<identity::Settings>,
    /// Whom a server's certificate must come from.
    pub roots: roots::Settings,
    /// The keys that a server may have; none given: any.
    pub pins: Vec<pins::Pin>,
    /// The server's name in place of the URL's, for SNI and the certificate (`--server-name`).
    pub server_name: Option<String>,
    /// The server's SPIFFE id, which then takes the place of its name (`--server-spiffe-id`).
    pub server_id: Option<server_id::SpiffeId>,
    /// The oldest version that is spoken (`--tls-min`).
    pub minimum: Minimum,
    /// The versions of HTTP that are offered (`--http`).
    pub http: Http,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Minimum {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// The versions of HTTP that are offered by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http {
    /// HTTP/2, else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 alone.
    One,
    /// HTTP/2 alone.
    Two,
}

/// One loaded generation. A rotation makes another; this one stays as it is.
pub struct Tls {
    /// What a connection is made with.
    pub config: Arc<ClientConfig>,
    /// The name to use in place of the URL's host.
    pub server_name: Option<ServerName<'static>>,
    /// The client certificate, if there is one.
    pub identity: Option<identity::Summary>,
    minimum: Minimum,
    origins: Vec<roots::Origin>,
    answer: Arc<identity::Answer>,
    fingerprint: files::Fingerprint,
    seen: Vec<files::Seen>,
    /// Who gives what is not in a file; the reloading takes it over.
    agent: Option<spiffe::Agent>,
}

impl Tls {
    /// Whether another generation can follow: something of this one came from a file or an agent.
    #[must_use]
    pub fn rotates(&self) -> bool {
        self.identity.is_some() || !self.seen.is_empty()
    }

    /// True once a server has asked for a client certificate in a handshake of this generation.
    #[must_use]
    pub fn was_asked_for_certificate(&self) -> bool {
        self.answer.was_asked()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .field("identity", &self.identity)
            .field("roots", &self.origins)
            .finish_non_exhaustive()
    }
}

/// Loads a generation: reads every file, and checks that they hold and fit together. It waits
/// for nothing but a passphrase that a command gives, and the first word of a SPIFFE agent.
///
/// # Errors
/// At the configuration stage, with the file, the flag and the next step.
pub async fn load(settings: &Settings) -> Result<Tls, Failure> {
    let agent = match &settings.spiffe {
        Some(spiffe) => Some(spiffe::Agent::connect(spiffe).await?),
        None => None,
    };
    let tls = make(settings, files_beside(settings, agent.as_ref())?).await?;
    Ok(Tls { agent, ..tls })
}

/// Loads the next generation, with what the agent of the first gives now.
async fn again(settings: &Settings, agent: Option<&spiffe::Agent>) -> Result<Tls, Failure> {
    make(settings, files_beside(settings, agent)?.again()).await
}

fn files_beside(
    settings: &Settings,
    agent: Option<&spiffe::Agent>,
) -> Result<files::Files, Failure> {
    Ok(match agent {
        Some(agent) => files::Files::beside(agent.contents(settings.server_id.as_ref())?),
        None => files::Files::default(),
    })
}

/// Loads a generation from memory: the files that the settings name are those of `contents`, and
/// there are no others. Nothing about it can change, so there is nothing to reload.
///
/// # Errors
/// As [`load`].
pub async fn from_memory(settings: &Settings, contents: Contents) -> Result<Tls, Failure> {
    make(settings, files::Files::in_memory(contents)).await
}

async fn make(settings: &Settings, mut files: files::Files) -> Result<Tls, Failure> {
    let identity = match &settings.identity {
        Some(identity) => Some(identity::load(identity, &mut files).await?),
        None => None,
    };
    let (roots, origins) = roots::load(&settings.roots, &mut files)?;
    let server_name = settings.server_name.as_deref().map(server_name).transpose()?;
    let answer = Arc::new(identity::Answer::new(
        identity.as_ref().map(|identity| Arc::clone(&identity.certified)),
    ));
    let config = configure(settings, roots, Arc::clone(&answer))
        .map_err(|error| refused(format!("cannot set up TLS: {error}")).caused_by(error))?;
    if let Some(identity) = &identity {
        // Only now: what is not going to be used deserves no warning.
        identity.warn();
    }
    let (fingerprint, seen) = files.finish();
    Ok(Tls {
        config: Arc::new(config),
        server_name,
        identity: identity.map(|identity| identity.summary),
        minimum: settings.minimum,
        origins,
        answer,
        fingerprint,
        seen,
        agent: None,
    })
}

fn configure(
    settings: &Settings,
    roots: rustls::RootCertStore,
    answer: Arc<identity::Answer>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(provider());
    let verifier = verifier(settings, Arc::new(roots), &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(settings.minimum))?;
    // The builder calls every verifier but its own dangerous.
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = builder.with_client_cert_resolver(answer);
    let offered: &[&[u8]] = match settings.http {
        Http::Auto => &[b"h2", b"http/1.1"],
        Http::One => &[b"http/1.1"],
        Http::Two => &[b"h2"],
    };
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// The usual checks; an id in place of the name, and pins on top, where they are asked for.
fn verifier(
    settings: &Settings,
    roots: Arc<rustls::RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    let usual =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
    let named: Arc<dyn ServerCertVerifier> = match &settings.server_id {
        Some(id) => {
            let algorithms = provider.signature_verification_algorithms;
            Arc::new(server_id::ById::new(id.clone(), roots, algorithms, usual))
        }
        None => usual,
    };
    Ok(match settings.pins.as_slice() {
        [] => named,
        pins => Arc::new(pins::Pinned::new(named, pins.to_vec())),
    })
}

/// The one crypto provider. Its groups are named here so that no feature of a dependency decides
/// whether traffic recorded today can be read by a quantum computer later.
fn provider() -> CryptoProvider {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    CryptoProvider {
        kx_groups: vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

fn versions(minimum: Minimum) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    static NEWEST: [&SupportedProtocolVersion; 1] = [&TLS13];
    match minimum {
        Minimum::Tls12 => &BOTH,
        Minimum::Tls13 => &NEWEST,
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        refused(format!("expected a host name or an IP address, found {name:?} (--server-name)"))
            .hint("it is a name alone, without https:// and port")
    })
}

fn refused(what: String) -> Failure {
    Failure::new(Stage::Configuration, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rustls::NamedGroup;

    use super::{
        pki::{Ca, Folder, HOST, server, shake},
        *,
    };

    #[tokio::test]
    async fn the_hybrid_group_is_offered_first_and_taken() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let tls = load(&folder.trusting(&ca)).await.unwrap();
        let offered: Vec<_> =
            tls.config.crypto_provider().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(offered[0], NamedGroup::X25519MLKEM768);
        let agreed = shake(&tls, Arc::new(server(&ca.leaf(HOST), None))).await.unwrap();
        assert_eq!(agreed.group, NamedGroup::X25519MLKEM768);
    }

    #[tokio::test]
    async fn http_is_offered_as_told() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let server = Arc::new(server(&ca.leaf(HOST), None));
        for (http, alpn) in [(Http::Auto, "h2"), (Http::One, "http/1.1"), (Http::Two, "h2")] {
            let tls = load(&Settings { http, ..folder.trusting(&ca) }).await.unwrap();
            let agreed = shake(&tls, Arc::clone(&server)).await.unwrap();
            assert_eq!(agreed.alpn.as_deref(), Some(alpn.as_bytes()));
        }
    }

    #[tokio::test]
    async fn the_server_sees_our_certificate() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let client = ca.leaf("client");
        let identity = Some(folder.identity(&client));
        let tls = load(&Settings { identity, ..folder.trusting(&ca) }).await.unwrap();
        assert!(!tls.was_asked_for_certificate());
        let agreed = shake(&tls, Arc::new(server(&ca.leaf(HOST), Some(&ca)))).await.unwrap();
        assert_eq!(agreed.client, Some(client.der));
        assert!(tls.was_asked_for_certificate());
    }

    #[tokio::test]
    async fn the_server_name_replaces_the_one_of_the_url() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let server = Arc::new(server(&ca.leaf("inside.example"), None));
        let named =
            |name: &str| Settings { server_name: Some(name.to_owned()), ..folder.trusting(&ca) };
        let tls = load(&named("inside.example")).await.unwrap();
        shake(&tls, Arc::clone(&server)).await.unwrap();
        let failure = load(&named("https://inside.example")).await.unwrap_err();
        assert!(failure.what().contains("--server-name"), "{failure}");
    }

    #[tokio::test]
    async fn sessions_are_resumed_within_a_generation_alone() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let server = Arc::new(server(&ca.leaf(HOST), None));
        let settings = folder.trusting(&ca);
        let first = load(&settings).await.unwrap();
        assert!(!shake(&first, Arc::clone(&server)).await.unwrap().resumed);
        assert!(shake(&first, Arc::clone(&server)).await.unwrap().resumed);
        let second = load(&settings).await.unwrap();
        assert!(!shake(&second, Arc::clone(&server)).await.unwrap().resumed);
    }

    #[tokio::test]
    async fn files_may_be_in_memory() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let settings = folder.trusting(&ca);
        let from_disk = load(&settings).await.unwrap();
        let path = folder.path("ca.pem");
        std::fs::remove_file(&path).unwrap();
        let contents = Contents::from([(path, ca.pem.clone().into_bytes().into())]);
        let tls = from_memory(&settings, contents).await.unwrap();
        assert!(tls.fingerprint == from_disk.fingerprint && tls.seen.is_empty());
        let failure = from_memory(&settings, Contents::new()).await.unwrap_err();
        assert!(failure.what().contains("ca.pem (--cacert): there is no such file"), "{failure}");
    }

    #[tokio::test]
    async fn equal_files_make_equal_fingerprints() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let identity = Some(folder.identity(&ca.leaf("client")));
        let settings = Settings { identity, ..folder.trusting(&ca) };
        let first = load(&settings).await.unwrap();
        assert!(first.fingerprint == load(&settings).await.unwrap().fingerprint);
        folder.identity(&ca.leaf("client"));
        assert!(first.fingerprint != load(&settings).await.unwrap().fingerprint);
    }
}
