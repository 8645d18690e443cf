//! What it all means: flags, a profile and the environment become the settings of each module.
//!
//! The only module that knows every `Settings`, so that none of them knows where its values come
//! from. Flags come before the profile, the profile before defaults. The environment is handed in
//! as a function; [`load`] alone reads the real one.

mod credentials;
mod env_file;
mod exec;
mod file;
mod flags;
mod forms;
mod identity;
mod layer;
mod nearest;
mod pairs;
mod place;
mod scope;
mod sent;
mod serve;
mod sidecar;
mod tls;
mod upstream;
mod value;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use crate::{
    bridge::{self, Era},
    cli::{self, Cli},
    failure::{Failure, Stage},
    ledger, log,
    upstream::url::UpstreamUrl,
};

pub use sidecar::{Routed, Sidecar};

use env_file::EnvFile;
use layer::{Layer, Layers};
use place::{Place, Stated};
use scope::Scope;

const MAX_MESSAGE: usize = 64 * 1024 * 1024;
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Calls in flight before the bridge stops reading: more than any client has, and few enough that
/// one gone wild does not exhaust memory.
const MAX_IN_FLIGHT: usize = 1024;

/// How long calls in flight may take to end once stdin has.
const DRAIN: Duration = Duration::from_secs(10);

/// The whole configuration: one `Settings` a module.
pub struct Config {
    /// Where requests go.
    pub upstream: crate::upstream::Settings,
    /// Who we are and whom we trust.
    pub tls: crate::tls::Settings,
    /// What is sent with each request.
    pub credentials: crate::credentials::Settings,
    /// The limits of the stdio bridge.
    pub bridge: bridge::Settings,
    /// The logs of requests.
    pub ledger: ledger::Settings,
}

/// What is to be said on stderr, which holds whether or not the rest of the configuration does.
#[must_use]
pub fn log(cli: &Cli) -> log::Settings {
    let said = &cli.diagnostics;
    // Nobody takes a sidecar's standard error for a sign of trouble, as some clients do a bridge's.
    let serves = matches!(cli.command, Some(cli::Command::Serve(_)));
    let level = match (said.verbose.max(u8::from(serves)), said.debug) {
        (3.., _) => log::Level::Trace,
        (2, _) | (_, true) => log::Level::Debug,
        (1, false) => log::Level::Verbose,
        (0, false) => log::Level::Quiet,
    };
    log::Settings { level, json: said.log_format.as_deref() == Some("json") }
}

/// The configuration that the flags `said` and the environment of the process amount to.
///
/// # Errors
///
/// As [`load_in`].
pub fn load(said: &cli::Bridge) -> Result<Config, Failure> {
    load_in(said, &of_process)
}

/// The configuration that the flags `said` and `environment` amount to, its `env:` and `file:`
/// secrets read.
///
/// # Errors
///
/// [`Stage::Configuration`], with the flag, key or variable at fault and the next step. No error
/// holds a value that may be a secret.
pub fn load_in(
    said: &cli::Bridge,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Failure> {
    let scope = Scope::new(environment);
    let profile = profile(&said.files, &scope)?;
    let said = Layers { flags: flags::layer(said)?, profile: profile.unwrap_or_default() };
    settle(&said, environment)
}

/// What both layers amount to, their file of variables read.
fn settle(said: &Layers, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Failure> {
    let scope = scope(said, environment)?;
    let upstream = upstream::settle(said, &scope)?;
    Ok(Config {
        bridge: bridge(said, &upstream.url)?,
        credentials: credentials::settle(said, &scope, &upstream.url)?,
        upstream,
        tls: tls::settle(said, &scope)?,
        ledger: ledger::Settings { access: None, audit: audit(said, &scope)? },
    })
}

/// The file of the audit log.
fn audit(said: &Layers, scope: &Scope<'_>) -> Result<Option<PathBuf>, Failure> {
    said.first(|layer| &layer.audit_log).map(|said| scope.path(said)).transpose()
}

fn scope<'e>(
    said: &Layers,
    environment: &'e dyn Fn(&str) -> Option<String>,
) -> Result<Scope<'e>, Failure> {
    let scope = Scope::new(environment);
    let env_file = env_file(said.first(|layer| &layer.env_file), &scope)?;
    Ok(scope.with(env_file))
}

/// What `countersign serve` is told, by its flags, its profile and the environment of the process.
///
/// # Errors
///
/// As [`load_in`].
pub fn load_serve(said: &cli::Serve) -> Result<Sidecar, Failure> {
    load_serve_in(said, &of_process)
}

/// Where a sidecar with these flags would tell of itself.
///
/// # Errors
///
/// As [`load_in`]; and if it would tell nowhere.
pub fn load_admin(said: &cli::Serve) -> Result<crate::sidecar::listener::Address, Failure> {
    let scope = Scope::new(&of_process);
    let profile = profile(&said.bridge.files, &scope)?.unwrap_or_default();
    let mut layers = Layers { flags: flags::layer(&said.bridge)?, profile };
    layers.flags.serve = serve::flags(said)?;
    sidecar::admin(&layers, &scope)?.ok_or_else(|| {
        let what = "--healthcheck asks a running sidecar, but not where";
        Failure::new(Stage::Configuration, what)
            .hint("--admin ADDR is where it tells of itself, as in --admin 127.0.0.1:9901")
    })
}

fn load_serve_in(
    said: &cli::Serve,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Sidecar, Failure> {
    let scope = Scope::new(environment);
    let profile = profile(&said.bridge.files, &scope)?.unwrap_or_default();
    let mut layers = Layers { flags: flags::layer(&said.bridge)?, profile };
    layers.flags.serve = serve::flags(said)?;
    let routes = match sidecar::routes(&layers)? {
        // The demo has a route of its own.
        _ if said.demo => Vec::new(),
        [] => vec![Routed::only(settle(&layers, environment)?)],
        routes => {
            // There are routes, so there is a file.
            let file = config_file(&said.bridge.files, &scope)?.unwrap_or_default();
            let routed = |said: &Stated<serve::Route>| {
                let profile = file::read(&file, Some(&said.value.profile.value));
                let profile =
                    profile.map_err(|failure| said.value.profile.place.blame(&failure))?;
                let layers = Layers { flags: Layer::default(), profile };
                said.value.settle(&said.place, settle(&layers, environment)?)
            };
            routes.iter().map(routed).collect::<Result<_, _>>()?
        }
    };
    let limits = limits(&layers)?;
    sidecar::settle(&layers, &self::scope(&layers, environment)?, limits, routes)
}

/// What `countersign exec` is told, by its flags and the environment of the process.
///
/// # Errors
///
/// As [`load_in`].
pub fn load_exec(said: &cli::Exec) -> Result<crate::exec::Settings, Failure> {
    load_exec_in(said, &of_process)
}

fn load_exec_in(
    said: &cli::Exec,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<crate::exec::Settings, Failure> {
    let scope = Scope::new(environment);
    let profile = profile(&said.files, &scope)?.ok_or_else(exec::without_a_file)?;
    let of_flag = flags::env_file(&said.files);
    let env_file = env_file(of_flag.as_ref().or(profile.env_file.as_ref()), &scope)?;
    exec::settle(profile.env.as_ref(), &said.command, &scope.with(env_file))
}

#[expect(clippy::disallowed_methods, reason = "the one place in config that reads it")]
fn of_process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The file of variables, found by what the environment alone says.
fn env_file(said: Option<&Stated<String>>, scope: &Scope<'_>) -> Result<Option<EnvFile>, Failure> {
    said.map(|said| EnvFile::read(&said.place, scope.path(said)?)).transpose()
}

/// The chosen profile, where there is a file.
fn profile(said: &cli::Files, scope: &Scope<'_>) -> Result<Option<Layer>, Failure> {
    let wanted = said.profile.as_ref().map(|name| {
        let place = Place::flag("--profile");
        scope.text(&Stated { value: name.clone(), place })
    });
    match (config_file(said, scope)?, wanted.transpose()?) {
        (Some(path), wanted) => file::read(&path, wanted.as_deref()).map(Some),
        (None, None) => Ok(None),
        (None, Some(_)) => {
            let what = "--profile names a profile, but no file of profiles is given";
            Err(Failure::new(Stage::Configuration, what)
                .hint("name the file with --config FILE or in the variable COUNTERSIGN_CONFIG"))
        }
    }
}

/// The file of profiles, where one is named.
fn config_file(said: &cli::Files, scope: &Scope<'_>) -> Result<Option<PathBuf>, Failure> {
    let flag = said.config.clone();
    let flag = flag.map(|value| Stated { value, place: Place::flag("--config") });
    let variable = scope.stated("COUNTERSIGN_CONFIG").filter(|said| !said.value.is_empty());
    flag.or(variable).map(|path| scope.path(&path)).transpose()
}

/// The largest message, and how long a call may go without a byte.
fn limits(said: &Layers) -> Result<(usize, Duration), Failure> {
    let max_message = match said.first(|layer| &layer.max_message) {
        Some(size) => forms::size(&size.value).map_err(|what| size.place.refuse(what))?,
        None => MAX_MESSAGE,
    };
    let idle_timeout = match said.first(|layer| &layer.idle_timeout) {
        Some(time) => forms::duration(&time.value).map_err(|what| time.place.refuse(what))?,
        None => IDLE_TIMEOUT,
    };
    Ok((max_message, idle_timeout))
}

/// The era that the client speaks; none where it shows that itself.
fn protocol(said: &Layers) -> Result<Option<Era>, Failure> {
    let Some(era) = said.first(|layer| &layer.protocol) else { return Ok(None) };
    match era.value.as_str() {
        "auto" => Ok(None),
        "modern" => Ok(Some(Era::Modern)),
        "legacy" => Ok(Some(Era::Legacy)),
        _ => Err(era.place.refuse("expected auto, modern or legacy")),
    }
}

fn bridge(said: &Layers, url: &UpstreamUrl) -> Result<bridge::Settings, Failure> {
    let (max_message, idle_timeout) = limits(said)?;
    Ok(bridge::Settings {
        uri: url.uri().clone(),
        upstream: url.origin(),
        websocket: url.is_websocket(),
        max_message,
        idle_timeout,
        max_in_flight: MAX_IN_FLIGHT,
        drain: DRAIN,
        protocol: protocol(said)?,
        ledger: None,
    })
}
