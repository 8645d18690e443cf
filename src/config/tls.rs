//! Who we are and whom we trust: identity, roots, pins and versions of TLS.
//!
//! The identity and the roots are each replaced as a whole: a certificate from a flag has nothing
//! to do with the key of a profile, and `--cacert` trusts exactly the roots it names.

use std::path::PathBuf;

use crate::{
    failure::Failure,
    secret::{Held, Reference},
    tls::{Http, Minimum, Settings, identity, pins::Pin, pkcs12, roots},
};

use super::{
    layer::{Layers, Stated},
    scope::Scope,
};

/// The TLS settings of both layers; no file is opened here but that of a passphrase.
pub(super) fn settle(said: &Layers, scope: &Scope<'_>) -> Result<Settings, Failure> {
    let server_name = said.first(|layer| &layer.server_name);
    Ok(Settings {
        identity: identity(said, scope)?,
        roots: roots(said, scope)?,
        pins: pins(said)?,
        server_name: server_name.map(|name| scope.text(name)).transpose()?,
        minimum: minimum(said)?,
        http: http(said)?,
    })
}

/// The identity of the flags, else of the profile; never parts of both.
fn identity(said: &Layers, scope: &Scope<'_>) -> Result<Option<identity::Settings>, Failure> {
    let flags = &said.flags;
    if let (None, Some(key)) = (&flags.cert, &flags.key) {
        if let Some(file) = &flags.pkcs12 {
            return Err(either(file, key));
        }
        let what = "expected --cert beside the key, found none";
        return Err(key.place.refuse(what).hint("name the certificate that the key belongs to"));
    }
    let of_flags = flags.cert.is_some() || flags.pkcs12.is_some();
    let layer = if of_flags { flags } else { &said.profile };
    // Only the passphrase may come from the other side: it opens what is chosen.
    let key_passphrase = flags.key_passphrase.as_ref().or(layer.key_passphrase.as_ref());
    let pkcs12_passphrase = flags.pkcs12_passphrase.as_ref().or(layer.pkcs12_passphrase.as_ref());
    match (&layer.pkcs12, &layer.cert) {
        (Some(file), cert) => {
            if let Some(other) = cert.as_ref().or(layer.key.as_ref()) {
                return Err(either(file, other));
            }
            unused(key_passphrase, "is for a key in PEM", "--pkcs12-passphrase")?;
            let passphrase = opened(pkcs12_passphrase, scope)?;
            let file = scope.path(file)?;
            Ok(Some(identity::Settings::Pkcs12(pkcs12::Settings { file, passphrase })))
        }
        (None, Some(cert)) => {
            unused(pkcs12_passphrase, "is for a file of PKCS#12", "--key-passphrase")?;
            Ok(Some(identity::Settings::Pair(identity::Pair {
                cert: scope.path(cert)?,
                key: layer.key.as_ref().map(|key| scope.path(key)).transpose()?,
                passphrase: opened(key_passphrase, scope)?,
            })))
        }
        (None, None) => {
            let passphrase = key_passphrase.or(pkcs12_passphrase).map(|said| &said.place);
            match layer.key.as_ref().map(|key| &key.place).or(passphrase) {
                Some(place) => Err(place
                    .refuse("expected a certificate beside it, found none")
                    .hint("--cert FILE or --pkcs12 FILE, or cert or pkcs12 in the profile")),
                None => Ok(None),
            }
        }
    }
}

fn opened(
    passphrase: Option<&Stated<Reference>>,
    scope: &Scope<'_>,
) -> Result<Option<Held>, Failure> {
    passphrase.map(|said| scope.open(&said.place, &said.value)).transpose()
}

/// Two identities in one place.
fn either(file: &Stated<String>, other: &Stated<String>) -> Failure {
    other
        .place
        .refuse(format_args!("expected one client identity, found {} as well", file.place))
        .hint("a PKCS#12 file holds certificate and key: name it alone, or the two in PEM")
}

/// A passphrase of the other kind would be asked for and never used.
fn unused(passphrase: Option<&Stated<Reference>>, what: &str, flag: &str) -> Result<(), Failure> {
    let Some(said) = passphrase else { return Ok(()) };
    let key = flag.trim_start_matches('-').replace('-', "_");
    Err(said
        .place
        .refuse(format_args!("this {what}, and the identity is none"))
        .hint(format!("{flag}, or {key} in the profile, opens the one that is named")))
}

fn roots(said: &Layers, scope: &Scope<'_>) -> Result<roots::Settings, Failure> {
    let (cacert, system) = if said.flags.cacert.is_empty() {
        (&said.profile.cacert, said.first(|layer| &layer.system_roots))
    } else {
        (&said.flags.cacert, said.flags.system_roots.as_ref())
    };
    let variable = |name| scope.variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    Ok(roots::Settings {
        cacert: cacert.iter().map(|file| scope.path(file)).collect::<Result<_, _>>()?,
        system: system.copied().unwrap_or(false),
        cert_file: variable("SSL_CERT_FILE"),
        cert_dir: variable("SSL_CERT_DIR"),
    })
}

fn pins(said: &Layers) -> Result<Vec<Pin>, Failure> {
    let Some(pins) = said.first(|layer| &layer.pinnedpubkey) else { return Ok(Vec::new()) };
    let read = |pin: &str| pin.trim().parse().map_err(|failure| pins.place.blame(&failure));
    pins.value.split(';').map(read).collect()
}

fn minimum(said: &Layers) -> Result<Minimum, Failure> {
    let Some(version) = said.first(|layer| &layer.tls_min) else { return Ok(Minimum::Tls12) };
    match version.value.as_str() {
        "1.2" => Ok(Minimum::Tls12),
        "1.3" => Ok(Minimum::Tls13),
        _ => Err(version.place.refuse("expected 1.2 or 1.3")),
    }
}

fn http(said: &Layers) -> Result<Http, Failure> {
    let Some(version) = said.first(|layer| &layer.http) else { return Ok(Http::Auto) };
    match version.value.as_str() {
        "auto" => Ok(Http::Auto),
        "1.1" => Ok(Http::One),
        "2" | "2.0" => Ok(Http::Two),
        _ => Err(version.place.refuse("expected auto, 1.1 or 2")),
    }
}
