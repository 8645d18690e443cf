//! Whom we trust and what we speak: roots, pins and versions of TLS.
//!
//! The roots are replaced as a whole: `--cacert` trusts exactly the roots it names.

use std::path::PathBuf;

use crate::{
    failure::Failure,
    tls::{Http, Minimum, Settings, pins::Pin, roots, server_id::SpiffeId, spiffe},
};

use super::{identity, layer::Layers, place::Stated, scope::Scope};

/// The TLS settings of both layers; no file is opened here but that of a passphrase.
pub(super) fn settle(said: &Layers, scope: &Scope<'_>) -> Result<Settings, Failure> {
    let server_name = said.first(|layer| &layer.server_name);
    let (identity, roots) = (identity::settle(said, scope)?, roots(said, scope)?);
    let spiffe = said.first(|layer| &layer.spiffe).map(|said| agent(said, scope)).transpose()?;
    if let (Some(said), true) = (said.first(|layer| &layer.spiffe), identity.is_some()) {
        let what = "expected one identity, found a certificate as well";
        return Err(said.place.refuse(what).hint("keep one of --spiffe and --cert"));
    }
    let agents = spiffe.is_some();
    Ok(Settings {
        spiffe,
        identity: if agents { Some(spiffe::identity()) } else { identity },
        roots: if agents { spiffe::roots(roots) } else { roots },
        pins: pins(said)?,
        server_name: server_name.map(|name| scope.text(name)).transpose()?,
        server_id: server_id(said, scope)?,
        minimum: minimum(said)?,
        http: http(said)?,
    })
}

/// Those for a collector of spans: the system's roots, and nothing that shows who we are.
pub(super) fn collector(scope: &Scope<'_>) -> Settings {
    Settings {
        spiffe: None,
        identity: None,
        roots: roots_of_system(scope),
        pins: Vec::new(),
        server_name: None,
        server_id: None,
        minimum: Minimum::default(),
        http: Http::default(),
    }
}

/// `unix:PATH`, or `agent` for the one that the environment names, as every SPIFFE client reads it.
fn agent(said: &Stated<String>, scope: &Scope<'_>) -> Result<spiffe::Settings, Failure> {
    let said_or_environment = match said.value.as_str() {
        "agent" => scope.stated("SPIFFE_ENDPOINT_SOCKET").ok_or_else(|| {
            said.place
                .refuse("the variable SPIFFE_ENDPOINT_SOCKET is not set")
                .hint("set it, or name the agent's socket: unix:///run/spire/agent.sock")
        })?,
        _ => Stated { value: said.value.clone(), place: said.place.clone() },
    };
    let endpoint = scope.text(&said_or_environment)?;
    if !endpoint.starts_with("unix:/") {
        return Err(said_or_environment
            .place
            .refuse("expected the agent's socket, as in unix:///run/spire/agent.sock")
            .hint("the Workload API gives out private keys: only a local socket will do"));
    }
    Ok(spiffe::Settings { endpoint })
}

fn roots(said: &Layers, scope: &Scope<'_>) -> Result<roots::Settings, Failure> {
    let (cacert, system) = if said.flags.cacert.is_empty() {
        (&said.profile.cacert, said.first(|layer| &layer.system_roots))
    } else {
        (&said.flags.cacert, said.flags.system_roots.as_ref())
    };
    Ok(roots::Settings {
        cacert: cacert.iter().map(|file| scope.path(file)).collect::<Result<_, _>>()?,
        system: system.copied().unwrap_or(false),
        ..roots_of_system(scope)
    })
}

fn roots_of_system(scope: &Scope<'_>) -> roots::Settings {
    let variable = |name| scope.variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    roots::Settings {
        cert_file: variable("SSL_CERT_FILE"),
        cert_dir: variable("SSL_CERT_DIR"),
        ..roots::Settings::default()
    }
}

fn pins(said: &Layers) -> Result<Vec<Pin>, Failure> {
    let Some(pins) = said.first(|layer| &layer.pinnedpubkey) else { return Ok(Vec::new()) };
    let read = |pin: &str| pin.trim().parse().map_err(|failure| pins.place.blame(&failure));
    pins.value.split(';').map(read).collect()
}

fn server_id(said: &Layers, scope: &Scope<'_>) -> Result<Option<SpiffeId>, Failure> {
    let Some(id) = said.first(|layer| &layer.server_spiffe_id) else { return Ok(None) };
    scope.text(id)?.parse().map(Some).map_err(|failure| id.place.blame(&failure))
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
