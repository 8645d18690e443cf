//! Who we are to the upstream: the client certificate with its chain, and the key to it.
//!
//! PEM files, one file of PKCS#12 or a token go in, a checked pair comes out: the key fits the first
//! certificate. Whether the certificate is in date is told and not decided; the upstream decides.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    pki_types::CertificateDer,
    sign::{CertifiedKey, SigningKey},
};

use super::{
    chain,
    date::Date,
    files::{Content, Files, Place},
    key, pkcs11, pkcs12,
    whose::Whose,
};
use crate::{
    failure::{Failure, Stage},
    secret::Held,
};

/// Where the identity is.
#[derive(Clone, Debug)]
pub enum Settings {
    /// A certificate and its key, each in a place of its own or in one file.
    Pair(Pair),
    /// Both in one PKCS#12 file.
    Pkcs12(pkcs12::Settings),
}

/// Where a certificate and its key are.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate and its chain (`--cert`).
    pub cert: Source,
    /// The private key (`--key`), which may be in the file of the certificate.
    pub key: Source,
    /// The passphrase of an encrypted key in PEM (`--key-passphrase`).
    pub passphrase: Option<Held>,
}

/// A place that a certificate or a key can be in.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file in PEM.
    File(PathBuf),
    /// A token.
    Token(Box<pkcs11::Object>),
}

impl Settings {
    /// Whether a part of it is where no file shows that it has changed.
    pub(super) fn is_on_token(&self) -> bool {
        let on_token = |source: &Source| matches!(source, Source::Token(_));
        matches!(self, Self::Pair(pair) if on_token(&pair.cert) || on_token(&pair.key))
    }
}

/// What people need to know of the certificate: whose it is, and when it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The subject (`CN=agent, O=Example`), or the first alternative name of a certificate
    /// without one.
    pub subject: String,
    /// The first moment in which it is valid.
    pub not_before: Date,
    /// The last moment in which it is valid.
    pub not_after: Date,
    /// Where it came from: `client.pem (--cert)`.
    pub place: String,
    /// The flag of that place.
    pub flag: &'static str,
}

impl Summary {
    /// True after its last moment, by this machine's clock.
    #[must_use]
    pub fn expired(&self) -> bool {
        Date::now() > self.not_after
    }

    /// True before its first moment, by this machine's clock.
    #[must_use]
    pub fn not_yet_valid(&self) -> bool {
        Date::now() < self.not_before
    }

    fn read(leaf: &CertificateDer<'_>, place: String, flag: &'static str) -> Result<Self, Failure> {
        let certificate = chain::parse(leaf, &place, 1)?;
        let subject = certificate.subject();
        let subject = if subject.iter().next().is_some() {
            subject.to_string()
        } else {
            // SPIFFE and its like put the name into a URI and leave the subject empty.
            let names = certificate.subject_alternative_name().ok().flatten();
            let first = names.and_then(|names| names.value.general_names.first());
            first.map_or_else(|| "no name".to_owned(), ToString::to_string)
        };
        Ok(Self {
            subject: subject.replace(char::is_control, " "),
            not_before: Date(certificate.validity().not_before.timestamp()),
            not_after: Date(certificate.validity().not_after.timestamp()),
            place,
            flag,
        })
    }
}

/// `CN=agent, valid until 2026-11-22`, as a part of a sentence.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.expired() {
            write!(f, "{}, expired on {}", self.subject, self.not_after.with_distance())
        } else if self.not_yet_valid() {
            write!(f, "{}, not valid before {}", self.subject, self.not_before.with_distance())
        } else {
            write!(f, "{}, valid until {}", self.subject, self.not_after)
        }
    }
}

/// A certificate with the key that fits it.
pub(super) struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) summary: Summary,
    whose: Whose,
    /// The key file and its mode, if anyone on this machine can read it.
    exposed: Option<(PathBuf, u32)>,
}

impl Identity {
    /// Says what is no error and yet should not stay.
    pub(super) fn warn(&self) {
        let summary = &self.summary;
        if summary.expired() || summary.not_yet_valid() {
            let (whose, place) = (self.whose.name(), &summary.place);
            tracing::warn!("the {whose} certificate {place} is out of date: {summary}");
        }
        if let Some((path, mode)) = &self.exposed {
            let path = path.display();
            tracing::warn!(
                "the private key {path} can be read by everyone on this machine (mode {mode:04o}): \
                 chmod 600 {path}"
            );
        }
    }
}

/// Reads the identity and checks that it is one.
///
/// # Errors
/// At the configuration stage, with the path and the flag.
pub(super) async fn load(settings: &Settings, files: &mut Files) -> Result<Identity, Failure> {
    match settings {
        Settings::Pair(pair) => load_pair(pair, Whose::Client, files).await,
        Settings::Pkcs12(settings) => in_one(settings, files).await,
    }
}

/// The same of a pair, whoever's it is.
///
/// # Errors
/// As [`load`].
pub(super) async fn load_pair(
    pair: &Pair,
    whose: Whose,
    files: &mut Files,
) -> Result<Identity, Failure> {
    let (chain, place, file) = match &pair.cert {
        Source::File(path) => {
            let place = Place { path, flag: whose.cert() };
            let file = files.read(place, &format!("the {} certificate", whose.name()))?;
            (chain::read(&file.bytes, &place, whose)?, place.to_string(), Some((path, file)))
        }
        Source::Token(object) => {
            let chain = pkcs11::chain(object).await?;
            chain.iter().for_each(|certificate| files.add(certificate));
            (chain, object.to_string(), None)
        }
    };
    let summary = Summary::read(&chain[0], place, whose.cert())?;
    let (path, file) = match (&pair.key, file) {
        (Source::Token(object), _) => {
            let key = pkcs11::key(object, &chain[0]).await?;
            let certified = Arc::new(CertifiedKey::new(chain, key));
            return Ok(Identity { certified, summary, whose, exposed: None });
        }
        (Source::File(key), Some((cert, file))) if cert == key => {
            (Place { path: key, flag: whose.cert() }, file)
        }
        (Source::File(key), _) => {
            let place = Place { path: key, flag: whose.key() };
            (place, files.read(place, "the private key")?)
        }
    };
    let key = key::load(&file.bytes, path, (whose, pair.passphrase.as_ref())).await?;
    let certified = CertifiedKey::new(chain, key);
    fits(&certified, &summary, path, whose)?;
    let exposed = exposed(&file, path);
    Ok(Identity { certified: Arc::new(certified), summary, whose, exposed })
}

async fn in_one(settings: &pkcs12::Settings, files: &mut Files) -> Result<Identity, Failure> {
    let place = settings.place();
    let file = files.read(place, "the client certificate and key")?;
    let pkcs12::Opened { chain, key } = pkcs12::open(settings, &file.bytes).await?;
    let summary = Summary::read(&chain[0], place.to_string(), place.flag)?;
    Ok(Identity {
        certified: Arc::new(CertifiedKey::new(chain, key)),
        summary,
        whose: Whose::Client,
        exposed: exposed(&file, place),
    })
}

/// The file and its mode, where others can read it: not the group, since a group that may read
/// keys is a way to share one on purpose.
fn exposed(file: &Content, place: Place<'_>) -> Option<(PathBuf, u32)> {
    let mode = file.mode.filter(|mode| mode & 0o007 != 0)?;
    Some((place.path.to_owned(), mode))
}

/// The key is the one to the first certificate.
fn fits(
    certified: &CertifiedKey,
    summary: &Summary,
    key: Place<'_>,
    whose: Whose,
) -> Result<(), Failure> {
    if fits_one(&certified.key, &certified.cert[0]) {
        return Ok(());
    }
    let failure = refused(format!(
        "the private key in {key} does not fit the certificate in {} ({})",
        summary.place, summary.subject
    ));
    let other = certified.cert.iter().position(|other| fits_one(&certified.key, other));
    Err(match other {
        Some(index) => failure.hint(format!(
            "it fits certificate {} in that file: the {}'s own must come first, then the CAs",
            index + 1,
            whose.name()
        )),
        None => failure.hint(format!(
            "a pair is made together: give the {} that {} was made from",
            whose.key(),
            whose.cert()
        )),
    })
}

fn fits_one(key: &Arc<dyn SigningKey>, certificate: &CertificateDer<'static>) -> bool {
    CertifiedKey::new(vec![certificate.clone()], Arc::clone(key)).keys_match().is_ok()
}

fn refused(what: String) -> Failure {
    Failure::new(Stage::Configuration, what)
}

/// Answers a server's request for a client certificate, and remembers that there was one: it
/// makes the difference between "refused ours" and "demands one" when the server then hangs up.
#[derive(Debug)]
pub(super) struct Answer {
    certified: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Answer {
    pub(super) fn new(certified: Option<Arc<CertifiedKey>>) -> Self {
        Self { certified, asked: AtomicBool::new(false) }
    }

    /// True once a server has asked for a client certificate.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Answer {
    /// The one identity, whatever issuers the server hints at: it is what we were told to be.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.certified.clone()
    }

    fn has_certs(&self) -> bool {
        self.certified.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{PKCS_ECDSA_P256_SHA256, date_time_ymd};

    use super::*;
    use crate::tls::pki::{Ca, Folder};

    fn alone(cert: PathBuf) -> Settings {
        let file = Source::File(cert);
        Settings::Pair(Pair { cert: file.clone(), key: file, passphrase: None })
    }

    async fn read(settings: &Settings) -> Result<Identity, Failure> {
        load(settings, &mut Files::default()).await
    }

    #[tokio::test]
    async fn certificate_and_key_may_share_a_file_in_any_order() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let leaf = ca.leaf("client");
        let key = leaf.key.serialize_pem();
        for content in
            [format!("{}{}{key}", leaf.pem, ca.pem), format!("{key}{}{}", leaf.pem, ca.pem)]
        {
            let cert = folder.write("both.pem", content);
            let identity = read(&alone(cert)).await.unwrap();
            assert_eq!(identity.certified.cert, [leaf.der.clone(), ca.der.clone()]);
            assert_eq!(identity.summary.subject, "CN=client");
        }
    }

    #[tokio::test]
    async fn a_key_to_another_certificate_is_refused() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let settings = folder.identity(&ca.leaf("client"));
        folder.write("client.key", ca.leaf("other").key.serialize_pem());
        let failure = read(&settings).await.err().unwrap();
        let what = failure.what();
        assert!(what.contains("client.key (--key) does not fit"), "{what}");
        assert!(what.contains("client.pem (--cert) (CN=client)"), "{what}");
    }

    #[tokio::test]
    async fn a_chain_in_the_wrong_order_is_recognised() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let leaf = ca.leaf("client");
        let settings = folder.identity(&leaf);
        folder.write("client.pem", format!("{}{}", ca.pem, leaf.pem));
        let failure = read(&settings).await.err().unwrap();
        assert!(failure.next_step().unwrap().starts_with("it fits certificate 2"));
    }

    #[tokio::test]
    async fn dates_are_told_and_decide_nothing() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let old = ca.leaf_of(&PKCS_ECDSA_P256_SHA256, "client", |params| {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 3);
        });
        let summary = read(&folder.identity(&old)).await.unwrap().summary;
        assert!(summary.expired() && !summary.not_yet_valid());
        assert!(summary.to_string().starts_with("CN=client, expired on 2020-02-03, "), "{summary}");

        let young = ca.leaf_of(&PKCS_ECDSA_P256_SHA256, "client", |params| {
            params.not_before = date_time_ymd(3000, 1, 1);
        });
        let summary = read(&folder.identity(&young)).await.unwrap().summary;
        assert!(!summary.expired() && summary.not_yet_valid());
        assert!(summary.to_string().contains("not valid before 3000-01-01, in "), "{summary}");
    }

    #[tokio::test]
    async fn what_holds_no_certificate_is_said_to_be_what_it_looks_like() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let leaf = ca.leaf("client");
        let settings = folder.identity(&leaf);
        for (content, words, hint) in [
            (leaf.key.serialize_pem().into_bytes(), "looks like a private key", "swapped"),
            (leaf.der.to_vec(), "looks like a certificate in DER", "openssl x509 -inform DER"),
            (b"0\x82\x01\x01\x02\x01\x03".to_vec(), "looks like PKCS#12", "--pkcs12 "),
        ] {
            folder.write("client.pem", content);
            let failure = read(&settings).await.err().unwrap();
            assert!(failure.what().contains(words), "{failure}");
            assert!(failure.what().contains("client.pem (--cert)"), "{failure}");
            assert!(failure.next_step().unwrap().contains(hint), "{failure}");
        }
        let settings = alone(folder.write("client.pem", &leaf.pem));
        let failure = read(&settings).await.err().unwrap();
        assert!(failure.what().contains("no private key"), "{failure}");
        assert!(failure.next_step().unwrap().contains("--key"));
    }

    #[tokio::test]
    #[cfg(unix)]
    async fn a_key_that_everyone_can_read_is_noticed() {
        use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};
        let folder = Folder::new();
        let settings = folder.identity(&Ca::new("ca").leaf("client"));
        for (mode, exposed) in [(0o600, false), (0o640, false), (0o644, true)] {
            let permissions = Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path("client.key"), permissions).unwrap();
            let found = read(&settings).await.unwrap().exposed;
            assert_eq!(found, exposed.then(|| (folder.path("client.key"), mode)));
        }
    }
}
