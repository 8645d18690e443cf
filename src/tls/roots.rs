//! Whom we trust: the roots that a server's certificate must come from.
//!
//! `--cacert` means exactly those; otherwise the system's, as `SSL_CERT_FILE` and `SSL_CERT_DIR`
//! or the system itself name them; and those of Mozilla where a system has none, as an empty
//! container. There is no way to trust nothing in particular.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use rustls::{RootCertStore, pki_types::CertificateDer};

use super::{
    files::{Files, Place},
    pem::{self, Looks},
};
use crate::failure::{Failure, Stage};

/// Where the roots are.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Files of roots, PEM (`--cacert`); exactly these, if any is given.
    pub cacert: Vec<PathBuf>,
    /// Those of the system beside `cacert` (`--system-roots`).
    pub system: bool,
    /// The file that replaces the system's (`SSL_CERT_FILE`).
    pub cert_file: Option<PathBuf>,
    /// The folders that replace the system's, separated as in `PATH` (`SSL_CERT_DIR`).
    pub cert_dir: Option<PathBuf>,
}

/// Where roots came from, for the words of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Cacert(Vec<PathBuf>),
    Environment,
    System,
    Bundled,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cacert(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "{} (--cacert)", paths.join(", "))
            }
            Self::Environment => f.write_str("SSL_CERT_FILE or SSL_CERT_DIR"),
            Self::System => f.write_str("the system's roots"),
            Self::Bundled => f.write_str("the built-in roots"),
        }
    }
}

/// The roots, and where they came from; never none.
///
/// # Errors
/// At the configuration stage: a file that was named and cannot be read, holds no certificate,
/// or holds a broken one.
pub(super) fn load(
    settings: &Settings,
    files: &mut Files,
) -> Result<(RootCertStore, Vec<Origin>), Failure> {
    let mut roots = RootCertStore::empty();
    let mut origins = Vec::new();
    for path in &settings.cacert {
        exactly(Place { path, flag: "--cacert" }, files, &mut roots)?;
    }
    if !settings.cacert.is_empty() {
        origins.push(Origin::Cacert(settings.cacert.clone()));
    }
    if settings.cacert.is_empty() || settings.system {
        origins.push(system(settings, files, &mut roots)?);
    }
    Ok((roots, origins))
}

/// Adds every certificate of a file that was given for this purpose; each must hold.
///
/// # Errors
/// As [`load`].
pub(super) fn exactly(
    place: Place<'_>,
    files: &mut Files,
    roots: &mut RootCertStore,
) -> Result<(), Failure> {
    let file = files.read(place, "the roots")?.bytes;
    let broken = |error| refused(format!("cannot read the roots in {place}: {error}"));
    let mut count = 0;
    for section in pem::sections(&file).map_err(broken)? {
        if section.is_certificate() {
            count += 1;
            let der = section.der().map_err(broken)?.to_vec();
            roots
                .add(der.into())
                .map_err(|_| refused(format!("certificate {count} in {place} is broken")))?;
        } else if section.label == "TRUSTED CERTIFICATE" {
            // To skip it would trust less than the file says.
            let failure = refused(format!(
                "{place} holds a certificate in OpenSSL's own form (TRUSTED CERTIFICATE)"
            ));
            let command = Looks::TrustedCertificate.conversion(place.path);
            return Err(command.into_iter().fold(failure, Failure::hint));
        }
    }
    if count == 0 { Err(missing(&file, place)) } else { Ok(()) }
}

/// Adds the system's roots, or what stands in for them.
fn system(
    settings: &Settings,
    files: &mut Files,
    roots: &mut RootCertStore,
) -> Result<Origin, Failure> {
    if settings.cert_file.is_some() || settings.cert_dir.is_some() {
        environment(settings, files, roots)?;
        return Ok(Origin::Environment);
    }
    // Reads SSL_CERT_FILE and SSL_CERT_DIR by itself; here they are known not to be set.
    if add_parsable(rustls_native_certs::load_native_certs(), files, roots) > 0 {
        return Ok(Origin::System);
    }
    tracing::info!("this system has no roots of its own: the built-in ones are used");
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    files.add(b"built-in");
    Ok(Origin::Bundled)
}

/// Adds what `SSL_CERT_FILE` and `SSL_CERT_DIR` name. A single certificate there that cannot be
/// used is skipped, as everybody does: these name whole collections.
fn environment(
    settings: &Settings,
    files: &mut Files,
    roots: &mut RootCertStore,
) -> Result<(), Failure> {
    let mut count = 0;
    if let Some(path) = &settings.cert_file {
        let place = Place { path, flag: "SSL_CERT_FILE" };
        let file = files.read(place, "the roots")?.bytes;
        let broken = |error| refused(format!("cannot read the roots in {place}: {error}"));
        let found = pem::sections(&file).map_err(broken)?;
        let certificates = found.iter().filter(|section| section.is_certificate());
        let parsed = certificates.filter_map(|section| section.der().ok());
        let (added, skipped) =
            roots.add_parsable_certificates(parsed.map(|der| CertificateDer::from(der.to_vec())));
        tracing::debug!("{added} roots from {place}, {skipped} skipped");
        if added == 0 {
            return Err(missing(&file, place));
        }
        count += added;
    }
    if let Some(folders) = &settings.cert_dir {
        for folder in std::env::split_paths(folders).filter(|folder| folder != Path::new("")) {
            let found = rustls_native_certs::load_certs_from_paths(None, Some(&folder));
            count += add_parsable(found, files, roots);
        }
    }
    if count == 0 {
        let folders = settings.cert_dir.as_deref().unwrap_or(Path::new("")).display();
        return Err(refused(format!("there is no certificate in {folders} (SSL_CERT_DIR)"))
            .hint("unset the variable to use the system's roots, or name files with --cacert"));
    }
    Ok(())
}

fn add_parsable(
    found: rustls_native_certs::CertificateResult,
    files: &mut Files,
    roots: &mut RootCertStore,
) -> usize {
    for error in &found.errors {
        tracing::debug!("a root of the system is skipped: {error}");
    }
    // A folder's order is no property of its content.
    let mut certs = found.certs;
    certs.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    certs.iter().for_each(|cert| files.add(cert));
    roots.add_parsable_certificates(certs).0
}

fn missing(file: &[u8], place: Place<'_>) -> Failure {
    let looks = Looks::at(file);
    let failure = refused(format!(
        "expected certificates in PEM in {place}, found none; this looks like {}",
        looks.words()
    ));
    match looks.conversion(place.path) {
        Some(command) => failure.hint(format!("to convert it: {command}")),
        None => failure,
    }
}

fn refused(what: String) -> Failure {
    Failure::new(Stage::Configuration, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tls::pki::{Ca, Folder};

    fn read(settings: &Settings) -> Result<(usize, Vec<Origin>), Failure> {
        load(settings, &mut Files::default()).map(|(roots, origins)| (roots.len(), origins))
    }

    #[test]
    fn cacert_is_every_certificate_of_its_files_and_no_other() {
        let (folder, [one, two, three]) = (Folder::new(), ["1", "2", "3"].map(Ca::new));
        let bundle = folder.write("two.pem", format!("one\n{}\ntwo\n{}", one.pem, two.pem));
        let cacert = vec![bundle, folder.write("one.pem", &three.pem)];
        let settings = Settings { cacert: cacert.clone(), ..Settings::default() };
        assert_eq!(read(&settings).unwrap(), (3, vec![Origin::Cacert(cacert)]));
    }

    #[test]
    fn the_systems_are_added_on_demand() {
        let (folder, [one, two]) = (Folder::new(), ["1", "2"].map(Ca::new));
        let settings = Settings {
            cacert: vec![folder.write("ca.pem", &one.pem)],
            system: true,
            cert_file: Some(folder.write("system.pem", &two.pem)),
            cert_dir: None,
        };
        let (count, origins) = read(&settings).unwrap();
        assert_eq!((count, &origins[1]), (2, &Origin::Environment));
        assert_eq!(read(&Settings { system: false, ..settings }).unwrap().0, 1);
    }

    #[test]
    fn the_variables_replace_the_systems() {
        let (folder, [one, two, three]) = (Folder::new(), ["1", "2", "3"].map(Ca::new));
        let cert_file = Some(folder.write("one.pem", &one.pem));
        let settings = Settings { cert_file, ..Settings::default() };
        assert_eq!(read(&settings).unwrap(), (1, vec![Origin::Environment]));

        std::fs::create_dir(folder.path("certs")).unwrap();
        folder.write("certs/two.pem", &two.pem);
        folder.write("certs/three.pem", &three.pem);
        folder.write("certs/README", "certificates");
        let settings = Settings { cert_dir: Some(folder.path("certs")), ..settings };
        assert_eq!(read(&settings).unwrap().0, 3);

        let none = Settings { cert_dir: Some(folder.path("none")), ..Settings::default() };
        assert!(read(&none).unwrap_err().what().contains("(SSL_CERT_DIR)"));
        let none = Settings { cert_file: Some(folder.path("none")), ..Settings::default() };
        assert!(read(&none).unwrap_err().what().contains("(SSL_CERT_FILE)"));
    }

    #[test]
    fn without_any_word_there_are_roots_all_the_same() {
        let (count, origins) = read(&Settings::default()).unwrap();
        assert!(count > 0);
        assert!(matches!(origins[..], [Origin::System | Origin::Bundled]), "{origins:?}");
    }

    #[test]
    fn a_cacert_that_does_not_hold_is_an_error_with_its_path() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let broken = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        let trusted = ca.pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
        for (content, words) in [
            (String::new(), "this looks like an empty file"),
            ("junk".to_owned(), "this looks like no kind of certificate"),
            (format!("{}{broken}", ca.pem), "certificate 2 in"),
            (ca.pem[..ca.pem.len() - 30].to_owned(), "has no end"),
            (format!("{}{trusted}", ca.pem), "TRUSTED CERTIFICATE"),
        ] {
            let cacert = vec![folder.write("ca.pem", content)];
            let failure = read(&Settings { cacert, ..Settings::default() }).unwrap_err();
            assert!(failure.what().contains(words), "{failure}");
            assert!(failure.what().contains("ca.pem (--cacert)"), "{failure}");
        }
    }
}
