//! The composition root: configuration in, services joined, front end run, everything drained.
//! The only place that knows all stages.

use std::{io::IoSlice, io::IsTerminal as _, process::ExitCode};

use crate::{
    bridge,
    cli::{Cli, Command},
    config, demo,
    failure::{Failure, Stage},
    log, outbound,
    service::HttpService,
    shutdown::{self, Parent},
    stdio::{Input, Output},
    tls,
};

/// Failed while running.
const FAILED: u8 = 1;
/// EX_CONFIG of sysexits(3).
const CONFIGURATION: u8 = 78;

/// Runs what the command line asks for and returns the process's exit code.
///
/// Must be called within a runtime on one thread.
pub async fn run(cli: &Cli, parent: Parent) -> ExitCode {
    log::start(config::log(cli));
    let result = match &cli.command {
        Some(Command::Demo(said)) => demo::run(said.stdio, parent).await.inspect_err(report),
        None => run_bridge(cli, parent).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.stage() == Stage::Configuration => ExitCode::from(CONFIGURATION),
        Err(_) => ExitCode::from(FAILED),
    }
}

async fn run_bridge(cli: &Cli, parent: Parent) -> Result<(), Failure> {
    let stop = shutdown::requested(parent).map_err(|error| signals(&error)).inspect_err(report)?;
    let mut stop = std::pin::pin!(stop);
    let prepared = tokio::select! {
        prepared = prepare(cli) => prepared,
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
async fn prepare(cli: &Cli) -> Result<(bridge::Settings, HttpService), Failure> {
    let config = config::load(cli)?;
    let tls = tls::load(&config.tls).await?;
    let hangups = shutdown::hangups().map_err(|error| signals(&error))?;
    let (current, reloading) = tls::reload::start(config.tls.clone(), tls, hangups);
    if let Some(reloading) = reloading {
        tokio::spawn(reloading);
    }
    let service = outbound::join(&config.upstream, &config.credentials, current)?;
    Ok((config.bridge, service))
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
