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
mod tls;
mod upstream;
mod value;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::{
    bridge,
    cli::{self, Cli},
    failure::{Failure, Stage},
    log,
    upstream::url::UpstreamUrl,
};

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
}

/// What is to be said on stderr, which holds whether or not the rest of the configuration does.
#[must_use]
pub fn log(cli: &Cli) -> log::Settings {
    let said = &cli.diagnostics;
    let level = match (said.verbose, said.debug) {
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
    let env_file = env_file(said.first(|layer| &layer.env_file), &scope)?;
    let scope = scope.with(env_file);
    let upstream = upstream::settle(&said, &scope)?;
    Ok(Config {
        bridge: bridge(&said, &upstream.url)?,
        credentials: credentials::settle(&said, &scope, &upstream.url)?,
        upstream,
        tls: tls::settle(&said, &scope)?,
    })
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
    let flag = |name, value: &Option<String>| {
        let place = Place::flag(name);
        value.clone().map(|value| Stated { value, place })
    };
    let wanted = flag("--profile", &said.profile);
    let wanted = wanted.map(|name| scope.text(&name)).transpose()?;
    let variable = scope.stated("COUNTERSIGN_CONFIG").filter(|said| !said.value.is_empty());
    match (flag("--config", &said.config).or(variable), wanted) {
        (Some(path), wanted) => file::read(&scope.path(&path)?, wanted.as_deref()).map(Some),
        (None, None) => Ok(None),
        (None, Some(_)) => {
            let what = "--profile names a profile, but no file of profiles is given";
            Err(Failure::new(Stage::Configuration, what)
                .hint("name the file with --config FILE or in the variable COUNTERSIGN_CONFIG"))
        }
    }
}

fn bridge(said: &Layers, url: &UpstreamUrl) -> Result<bridge::Settings, Failure> {
    let max_message = match said.first(|layer| &layer.max_message) {
        Some(size) => forms::size(&size.value).map_err(|what| size.place.refuse(what))?,
        None => MAX_MESSAGE,
    };
    let idle_timeout = match said.first(|layer| &layer.idle_timeout) {
        Some(time) => forms::duration(&time.value).map_err(|what| time.place.refuse(what))?,
        None => IDLE_TIMEOUT,
    };
    Ok(bridge::Settings {
        uri: url.uri().clone(),
        upstream: url.origin(),
        max_message,
        idle_timeout,
        max_in_flight: MAX_IN_FLIGHT,
        drain: DRAIN,
    })
}
