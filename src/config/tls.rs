//! Whom we trust and what we speak: roots, pins and versions of TLS.
//!
//! The roots are replaced as a whole: `--cacert` trusts exactly the roots it names.

use std::path::PathBuf;

use crate::{
    failure::Failure,
    tls::{Http, Minimum, Settings, pins::Pin, roots},
};

use super::{identity, layer::Layers, scope::Scope};

/// The TLS settings of both layers; no file is opened here but that of a passphrase.
pub(super) fn settle(said: &Layers, scope: &Scope<'_>) -> Result<Settings, Failure> {
    let server_name = said.first(|layer| &layer.server_name);
    Ok(Settings {
        identity: identity::settle(said, scope)?,
        roots: roots(said, scope)?,
        pins: pins(said)?,
        server_name: server_name.map(|name| scope.text(name)).transpose()?,
        minimum: minimum(said)?,
        http: http(said)?,
    })
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
