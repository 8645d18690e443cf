//! The composition root: configuration in, services joined, front end run, everything drained.
//! The only place that knows all stages.

use std::{io::IoSlice, io::IsTerminal as _, process::ExitCode};

use crate::{
    bridge,
    cli::{self, Cli, Command},
    config, demo, exec,
    failure::{Failure, Stage},
    headers,
    ledger::{self, Ledger},
    log, outbound,
    service::HttpService,
    shutdown::{self, Parent},
    sidecar::{self, Told, listener::Listener},
    stdio::{Input, Output},
    tls::{self, inbound},
    upstream,
};

/// Failed while running.
const FAILED: u8 = 1;
/// EX_CONFIG of sysexits(3).
const CONFIGURATION: u8 = 78;

/// Runs what the command line asks for and returns the process's exit code.
///
/// Must be called within a runtime on one thread.
pub async fn run(cli: &Cli, parent: Parent) -> ExitCode {
    let told = matches!(cli.command, Some(Command::Serve(_))).then(Told::default);
    log::start(config::log(cli), told.as_ref().map(Told::layer));
    let result = match &cli.command {
        Some(Command::Demo(said)) => demo::run(said.stdio, parent).await.inspect_err(report),
        Some(Command::Headers(said)) => run_headers(said, parent).await.inspect_err(report),
        Some(Command::Serve(said)) => {
            run_sidecar(said, told.unwrap_or_default()).await.inspect_err(report)
        }
        Some(Command::Exec(said)) => return run_exec(said, parent).await,
        None => run_bridge(&cli.bridge, parent).await,
    };
    result.map_or_else(|failure| code(&failure), |()| ExitCode::SUCCESS)
}

fn code(failure: &Failure) -> ExitCode {
    match failure.stage() {
        Stage::Configuration => ExitCode::from(CONFIGURATION),
        _ => ExitCode::from(FAILED),
    }
}

async fn run_bridge(said: &cli::Bridge, parent: Parent) -> Result<(), Failure> {
    let stop = shutdown::requested(parent).map_err(|error| signals(&error)).inspect_err(report)?;
    let mut stop = std::pin::pin!(stop);
    let prepared = tokio::select! {
        prepared = prepare(said) => prepared,
        // A passphrase's command may take its time.
        _ = &mut stop => return Ok(()),
    };
    match prepared {
        Ok((settings, service)) => {
            bridge::run(settings, service, (Input::stdin(), Output::stdout()), stop).await;
            Ok(())
        }
        Err(failure) => {
            report(&failure);
            // A person reads the report; a client shows the answers to its requests.
            if !std::io::stdin().is_terminal() {
                bridge::refuse(&failure, stop).await;
            }
            Err(failure)
        }
    }
}

/// Everything between the front end and the wire.
async fn prepare(said: &cli::Bridge) -> Result<(bridge::Settings, HttpService), Failure> {
    let config = config::load(said)?;
    let tls = reloading(&config.tls).await?;
    let service = outbound::join(&config.upstream, &config.credentials, tls)?;
    let ledger = ledger(&config.ledger)?;
    Ok((bridge::Settings { ledger, ..config.bridge }, service))
}

async fn run_sidecar(said: &cli::Serve, told: Told) -> Result<(), Failure> {
    if said.healthcheck {
        return sidecar::admin::probe(&config::load_admin(said)?).await;
    }
    let stop = shutdown::signalled().map_err(|error| signals(&error))?;
    let config = config::load_serve(said)?;
    let ledger = ledger(&config.ledger)?;
    let tls = match &config.tls {
        Some(settings) => Some(of_listeners(settings.clone()).await?),
        None => None,
    };
    let mut inherited = listenfd::ListenFd::from_env();
    let mut public = Vec::new();
    for address in &config.listen {
        config.may_listen(&address.to_string(), address.is_exposed())?;
        let listener = Listener::open(address, config.access, &mut inherited)?;
        // What was inherited is known only now.
        config.may_listen(&listener.name(), listener.is_exposed())?;
        public.push(match &tls {
            Some(tls) => listener.secured(tls),
            None => listener,
        });
    }
    let open = |address| Listener::open(address, config.access, &mut inherited);
    let admin = config.admin.as_ref().map(open).transpose()?;
    let listeners = sidecar::Listeners { public, admin };
    let collector = match &config.otlp {
        Some(otlp) => Some(collector(otlp).await?),
        None => None,
    };
    let watched = sidecar::Watched { ledger, told, collector };
    let mut routes = Vec::new();
    if said.demo {
        routes.push(demo::route(config.translate).await?);
    }
    for routed in config.routes {
        routes.push(route(routed, config.ready_upstream, config.translate).await?);
    }
    let now = async || match shutdown::signalled() {
        Ok(again) => drop(again.await),
        Err(_) => std::future::pending().await,
    };
    sidecar::run(config.settings, routes, listeners, watched, stop, now).await
}

/// The logs of requests, opened again at each SIGHUP.
fn ledger(settings: &ledger::Settings) -> Result<Option<Ledger>, Failure> {
    let Some(ledger) = Ledger::open(settings)? else { return Ok(None) };
    let mut hangups = shutdown::hangups().map_err(|error| signals(&error))?;
    let reopened = ledger.clone();
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            reopened.reopen();
        }
    });
    Ok(Some(ledger))
}

/// The TLS of the listeners, and what keeps it current.
async fn of_listeners(settings: inbound::Settings) -> Result<inbound::Current, Failure> {
    let hangups = shutdown::hangups().map_err(|error| signals(&error))?;
    let (current, watching) = inbound::start(settings, hangups).await?;
    tokio::spawn(watching);
    Ok(current)
}

/// A route with a way of its own: another identity, other credentials, another pool.
async fn route(
    routed: config::Routed,
    reached: bool,
    translates: bool,
) -> Result<sidecar::Route, Failure> {
    let config = routed.config;
    let tls = reloading(&config.tls).await?;
    let join =
        |upstream| outbound::join_without_redirects(upstream, &config.credentials, tls.clone());
    let service = join(&config.upstream)?;
    let sockets = join(&upstream::Settings { upgrades: true, ..config.upstream.clone() })?;
    let translate = match translates {
        true => Some(sidecar::Translate {
            settings: config.bridge,
            service: outbound::join(&config.upstream, &config.credentials, tls.clone())?,
        }),
        false => None,
    };
    let reach = reached.then(|| upstream::reach::Reach::new(&config.upstream, tls.clone()));
    Ok(sidecar::Route {
        name: routed.name,
        host: routed.host,
        prefix: routed.prefix,
        upstream: config.upstream.url.uri().clone(),
        service,
        sockets,
        tls: Some(tls),
        reach: reach.transpose()?,
        translate,
    })
}

/// Who takes spans; on the way there nothing is added to a request.
async fn collector(otlp: &config::Otlp) -> Result<sidecar::Collector, Failure> {
    let tls = reloading(&otlp.tls).await?;
    let service = upstream::client(&otlp.upstream, tls)?;
    Ok(sidecar::Collector { uri: otlp.upstream.url.uri().clone(), service })
}

/// The TLS configuration, and what keeps it current.
async fn reloading(settings: &tls::Settings) -> Result<tls::Generations, Failure> {
    let tls = tls::load(settings).await?;
    let hangups = shutdown::hangups().map_err(|error| signals(&error))?;
    let (generations, reloading) = tls::reload::start(settings.clone(), tls, hangups);
    if let Some(reloading) = reloading {
        tokio::spawn(reloading);
    }
    Ok(generations)
}

async fn run_headers(said: &cli::Bridge, parent: Parent) -> Result<(), Failure> {
    let config = config::load(said)?;
    if std::io::stdout().is_terminal() {
        tracing::warn!("these headers are secrets: they are meant for a program, not for a screen");
    }
    let printed = headers::print(&config.credentials, &config.bridge.uri);
    let mut printed = unless_stopped(parent, printed).await??;
    printed.push(b'\n');
    let unwritten = |error| {
        Failure::new(Stage::Downstream, format!("the headers could not be written: {error}"))
    };
    write(&Output::stdout(), &printed).await.map_err(unwritten)
}

async fn run_exec(said: &cli::Exec, parent: Parent) -> ExitCode {
    let prepared = async {
        let settings = config::load_exec(said)?;
        if settings.at_hand() {
            // A signal that is ignored stays ignored in the command, unless a handler was set.
            return exec::prepare(settings).await;
        }
        unless_stopped(parent, exec::prepare(settings)).await?
    };
    let (failure, code) = match prepared.await.map(exec::run) {
        Ok(Ok(code)) => return ExitCode::from(code),
        Ok(Err(exec::NotStarted { failure, code })) => (failure, ExitCode::from(code)),
        Err(failure) => {
            let code = code(&failure);
            (failure, code)
        }
    };
    report(&failure);
    code
}

/// `work`, given up when this process is to end: the programs that it runs must not outlive it.
async fn unless_stopped<T>(parent: Parent, work: impl Future<Output = T>) -> Result<T, Failure> {
    let stop = shutdown::requested(parent).map_err(|error| signals(&error))?;
    tokio::select! {
        biased;
        _ = stop => Err(Failure::new(Stage::Credential, "stopped before there was an answer")),
        done = work => Ok(done),
    }
}

async fn write(output: &Output, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match output.try_write(&[IoSlice::new(bytes)]) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                output.writable().await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn signals(error: &std::io::Error) -> Failure {
    Failure::new(Stage::Configuration, format!("the signal handlers can't be set: {error}"))
}

/// Writes a failure to standard error, as people read it.
fn report(failure: &Failure) {
    let mut text = format!("countersign: error: {}\n", failure.what());
    if let Some(hint) = failure.next_step() {
        text.push_str("countersign: hint: ");
        text.push_str(hint);
        text.push('\n');
    }
    // Nobody is left to be told if this fails.
    let _ = Output::stderr().try_write(&[IoSlice::new(text.as_bytes())]);
}
