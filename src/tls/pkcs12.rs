//! A certificate, its chain and its key from one PKCS#12 file (RFC 7292), as Windows, Java and
//! OpenSSL write them, with today's ciphers or those of the nineties.
//!
//! The pair is found by the key itself, since names and identifiers in such files are often missing
//! or wrong. A file can ask for as much key derivation as it likes: its size is bounded, and the
//! time it gets (`aside`). The decoder does not wipe its own buffers; what passes here is wiped.

use std::{path::PathBuf, str, sync::Arc};

use p12_keystore::{Pkcs12Archive, PrivateKeyBag, error::Error};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::SigningKey,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::{aside, chain, files::Place, pem::Looks};
use crate::{
    failure::{Failure, Stage},
    secret::{self, Held, Secret},
};

/// A key and a long chain are some ten thousand bytes; each entry may cost a key derivation.
const LARGEST: usize = 1 << 20;

/// scrypt (RFC 7914 section 7) by its object identifier: it takes memory as well as time, and no
/// tool makes PKCS#12 with it.
const SCRYPT: [u8; 11] = *b"\x06\x09\x2B\x06\x01\x04\x01\xDA\x47\x04\x0B";

/// Where both are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file (`--pkcs12`).
    pub file: PathBuf,
    /// Its passphrase (`--pkcs12-passphrase`); `None`: an empty one, or none at all.
    pub passphrase: Option<Held>,
}

impl Settings {
    pub(super) fn place(&self) -> Place<'_> {
        Place { path: &self.file, flag: "--pkcs12" }
    }
}

/// What such a file is for: the leaf first, then its issuers, and the key that fits the leaf.
pub(super) struct Opened {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Arc<dyn SigningKey>,
}

/// Opens the file. A passphrase that fails is asked for anew once: a rotation may have changed it
/// together with the file.
///
/// # Errors
/// At the configuration stage, with the path and the flag.
pub(super) async fn open(settings: &Settings, file: &[u8]) -> Result<Opened, Failure> {
    let place = settings.place();
    check(file, place)?;
    let Some(held) = &settings.passphrase else {
        let archive = decode(file, &Secret::new([]), settings).await?;
        return choose(&archive.ok_or_else(|| unopened(settings))?, place);
    };
    let (secret, generation) = held.current().await.map_err(|error| unheld(&error))?;
    let mut archive = decode(file, &secret, settings).await?;
    if archive.is_none() && held.refresh(generation).await.unwrap_or(false) {
        let (secret, _) = held.current().await.map_err(|error| unheld(&error))?;
        archive = decode(file, &secret, settings).await?;
    }
    choose(&archive.ok_or_else(|| unopened(settings))?, place)
}

/// What can be said before a passphrase is tried.
fn check(file: &[u8], place: Place<'_>) -> Result<(), Failure> {
    if file.len() > LARGEST {
        let megabytes = LARGEST >> 20;
        return Err(refused(format!("{place} is no PKCS#12: it is larger than {megabytes} MiB")));
    }
    let looks = Looks::at(file);
    if looks == Looks::Pkcs12 {
        // An indefinite length (X.690 section 8.1.3.6), which only BER has.
        let found = if file.get(1) == Some(&0x80) {
            "in BER, and only DER is read"
        } else if memchr::memmem::find(file, &SCRYPT).is_some() {
            "protected by scrypt, which is not supported"
        } else {
            return Ok(());
        };
        return Err(refused(format!("{place} is PKCS#12 {found}")).hint(rewrite(place)));
    }
    let failure =
        refused(format!("expected PKCS#12 in {place}; this looks like {}", looks.words()));
    Err(match looks {
        Looks::PemCertificate | Looks::PemKey => {
            failure.hint("PEM is named with --cert and --key, in place of --pkcs12")
        }
        Looks::JavaKeyStore => match looks.conversion(place.path) {
            Some(command) => failure.hint(format!("to convert it: {command}")),
            None => failure,
        },
        Looks::DerKey | Looks::DerCertificate => failure.hint(
            "to make PKCS#12: openssl pkcs12 -export -in certificate.pem -inkey key.pem \
             -out identity.p12",
        ),
        _ => failure,
    })
}

/// Everything in the file; `None` when the passphrase does not open it.
async fn decode(
    file: &[u8],
    passphrase: &Secret,
    settings: &Settings,
) -> Result<Option<Pkcs12Archive>, Failure> {
    let place = settings.place();
    let Ok(text) = str::from_utf8(passphrase.expose()) else {
        return Err(refused(format!("the passphrase of {place} is not UTF-8")));
    };
    let (bytes, text) = (Zeroizing::new(file.to_vec()), Zeroizing::new(text.to_owned()));
    let Some(decoded) = aside::run(move || Pkcs12Archive::from_pkcs12(&bytes, &text)).await else {
        return Err(refused(format!(
            "{place} was not decrypted within {} s: its key derivation asks for too much",
            aside::LIMIT.as_secs()
        ))
        .hint(rewrite(place)));
    };
    match decoded {
        Ok(archive) => Ok(Some(archive)),
        // The MAC covers the whole content; a file without one shows it by its padding.
        Err(Error::MacError(_) | Error::UnpadError | Error::Pkcs5Error(_)) => Ok(None),
        Err(Error::InvalidParameters) => Err(refused(format!(
            "{place} asks for more key derivation than the 1000000 rounds that are allowed"
        ))
        .hint(rewrite(place))),
        Err(
            Error::UnsupportedEncryptionScheme
            | Error::UnsupportedMacAlgorithm
            | Error::UnsupportedContentType
            | Error::UnsupportedCertificateType,
        ) => Err(refused(format!(
            "{place} is protected in a way that is not supported (AES by PBES2, 3DES and RC2 with \
             40 bits are)"
        ))
        .hint(rewrite(place))),
        // The decoder's own words could quote the content.
        Err(_) => Err(refused(format!("{place} is damaged, or PKCS#12 of an unknown kind")).hint(
            format!("openssl pkcs12 -info -noout -in {} may say more", place.path.display()),
        )),
    }
}

/// The one key that has its certificate in the file, and the chain to it.
fn choose(archive: &Pkcs12Archive, place: Place<'_>) -> Result<Opened, Failure> {
    let certificates: Vec<CertificateDer<'static>> =
        archive.certs.iter().map(|bag| bag.cert.as_der().to_vec().into()).collect();
    let mut pairs: Vec<(&PrivateKeyBag, CertificateDer<'static>, Arc<dyn SigningKey>)> = Vec::new();
    let mut usable = 0;
    for bag in &archive.keys {
        let der = PrivatePkcs8KeyDer::from(bag.key.as_der());
        let Ok(key) = any_supported_type(&der.into()) else { continue };
        usable += 1;
        let Some(leaf) = certificate_of(&key, &certificates) else { continue };
        if pairs.iter().all(|(_, other, _)| *other != leaf) {
            pairs.push((bag, leaf, key));
        }
    }
    match pairs.len() {
        0 => Err(lacking(archive, usable, place)),
        1 => {
            let (_, leaf, key) = pairs.remove(0);
            Ok(Opened { chain: chain::ordered(leaf, &certificates), key })
        }
        _ => {
            let names: Vec<String> = pairs.iter().map(|(bag, leaf, _)| name(bag, leaf)).collect();
            Err(refused(format!(
                "expected one key with its certificate in {place}, found {}: {}",
                names.len(),
                names.join(", ")
            ))
            .hint("export the one that is meant to a file of its own"))
        }
    }
}

/// The certificate to the key; of several the one that holds longest, since a renewed certificate
/// often stands beside the old one.
fn certificate_of(
    key: &Arc<dyn SigningKey>,
    certificates: &[CertificateDer<'static>],
) -> Option<CertificateDer<'static>> {
    let public = key.public_key()?;
    let until = |certificate: &CertificateDer<'_>| {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let fits = parsed.public_key().raw == public.as_ref();
        fits.then(|| parsed.validity().not_after.timestamp())
    };
    let fitting = certificates.iter().filter_map(|one| Some((until(one)?, one)));
    fitting.max_by_key(|(until, _)| *until).map(|(_, one)| one.clone())
}

fn name(bag: &PrivateKeyBag, leaf: &CertificateDer<'_>) -> String {
    let subject = || {
        X509Certificate::from_der(leaf)
            .map_or_else(|_| "no name".to_owned(), |(_, parsed)| parsed.subject().to_string())
    };
    let name = bag.friendly_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(subject);
    name.replace(char::is_control, " ")
}

fn lacking(archive: &Pkcs12Archive, usable: usize, place: Place<'_>) -> Failure {
    if archive.keys.is_empty() {
        let failure = refused(format!("there is no private key in {place}"));
        return if archive.certs.is_empty() {
            failure.hint("the file holds neither key nor certificate: export it again with both")
        } else {
            failure.hint(
                "it holds certificates alone: export it with the private key (on Windows the key \
                 must be marked as exportable), or give roots in PEM with --cacert",
            )
        };
    }
    if usable == 0 {
        return refused(format!(
            "the private key in {place} is of a kind that cannot be used here"
        ))
        .hint("RSA from 2048 bits, ECDSA on P-256, P-384 or P-521, and Ed25519 can");
    }
    refused(format!("there is no certificate in {place} that fits its private key"))
        .hint("export it again, the certificate included")
}

fn unopened(settings: &Settings) -> Failure {
    let place = settings.place();
    let (what, flag) = match &settings.passphrase {
        Some(held) => (
            format!(
                "the passphrase from {} (--pkcs12-passphrase) does not open {place}, or the file \
                 is damaged",
                held.reference()
            ),
            "",
        ),
        None => (
            format!("{place} needs a passphrase, and none is given"),
            "name where it is with --pkcs12-passphrase: env:NAME, file:PATH or command:PROGRAM; ",
        ),
    };
    refused(what).hint(format!(
        "{flag}this command asks for it and says whether it fits: openssl pkcs12 -noout -in {}",
        place.path.display()
    ))
}

/// The way out of every form that is not read: OpenSSL knows them all.
fn rewrite(place: Place<'_>) -> String {
    format!(
        "to use it as PEM: openssl pkcs12 -in {} -legacy -nodes -out identity.pem, then --cert \
         identity.pem",
        place.path.display()
    )
}

fn unheld(error: &secret::Error) -> Failure {
    let failure =
        refused(format!("no passphrase for the PKCS#12 file (--pkcs12-passphrase): {error}"));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn refused(what: String) -> Failure {
    Failure::new(Stage::Configuration, what)
}

#[cfg(test)]
mod tests;
