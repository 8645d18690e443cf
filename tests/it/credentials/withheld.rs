//! Nothing leaves without its credentials: where one can't be had, the client gets an error and
//! the upstream gets nothing.

use std::{fs, time::Instant};

use serde_json::json;

use super::{Program, secret, values};
use crate::support::{
    jsonrpc::Client, pki::Pki, process::DEADLINE, refusal::Refusal, upstream::Upstream,
};

/// The refusal of `initialize` with these flags; the upstream was not even connected to.
fn nothing_leaves(flags: &[&str]) -> Refusal {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).args(flags);
    let program = program.env("EMPTY", "").env("COPIED", "canary\n").env("UNFILLED", "${UNFILLED}");
    let refusal = Refusal::of_initialize(&program);
    assert_eq!(upstream.record().connections.len(), 0);
    assert!(!format!("{refusal:?}").contains("canary"));
    refusal
}

#[test]
fn a_secret_that_is_not_there_stops_everything() {
    for (flags, what, hint) in [
        (["--bearer", "file:/no/such/token"], "/no/such/token could not be read", "check the path"),
        (["--bearer", "env:UNSET"], "the variable UNSET is not set", "\"env\""),
        (["--bearer", "env:EMPTY"], "the secret env:EMPTY is empty", ""),
        (["--bearer", "env:COPIED"], "env:COPIED has white space", "remove it"),
        (["--bearer", "env:UNFILLED"], "the variable UNFILLED is not set", "\"env\""),
        (["--api-key", "env:UNSET"], "--api-key x-api-key: the variable UNSET is not set", ""),
        (["--basic", "alice:env:UNSET"], "--basic: the variable UNSET is not set", ""),
        (["--header", "X-A: ${UNSET}"], "--header x-a: the variable UNSET is not set", "\"env\""),
        (["--bearer", "canary"], "--bearer: expected a reference to a secret", "env:NAME"),
    ] {
        nothing_leaves(&flags).says("configuration", &[what], hint);
    }
}

#[test]
fn a_program_that_fails_stops_each_request_and_not_the_bridge() {
    for (script, what) in [
        ("echo canary; exit 3", "failed with exit status: 3"),
        ("true", "print-token is empty"),
        ("echo ' canary'", "has white space"),
        ("printf 'canary\\ncanary\\n'", "has a blank, a line break"),
        ("echo Bearer canary", "already begins with the scheme Bearer"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::new(folder.path(), script);
        let refusal = nothing_leaves(&["--bearer", &program.reference()]);
        refusal.says("credential", &[what], "");
    }
    let refusal = nothing_leaves(&["--bearer", "command:/no/such/program"]);
    refusal.says("credential", &["command:/no/such/program"], "full path");
}

#[test]
fn a_program_that_works_again_needs_no_restart() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let program = Program::new(folder.path(), "cat token");
    let bridge = Client::bridge(&pki, &upstream).args(["--bearer", &program.reference()]);
    let mut client = Client::start(&bridge.env("PATH", "/usr/bin:/bin"));
    let id = client.initialize("2025-11-25");
    Refusal::of(&client.error(&id)).says("credential", &["failed with exit status"], "--debug");
    assert!(upstream.seen().is_empty());
    secret(folder.path(), "token");
    client.handshake();
    assert!(upstream.seen().iter().all(|seen| values(seen, "authorization") == ["Bearer token"]));
}

#[test]
fn a_file_that_goes_away_leaves_its_last_value_and_one_complaint() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let file = secret(folder.path(), "token");
    let reference = format!("file:{}", file.display());
    let bridge = Client::bridge(&pki, &upstream).args(["--bearer", &reference]);
    let mut client = Client::start(&bridge);
    client.handshake();
    fs::remove_file(&file).unwrap();
    let said = "the last value stays in use";
    // It is looked at once a second at most, and only when someone asks.
    let until = Instant::now() + DEADLINE;
    while !client.process.stderr().contains(said) {
        client.tool("echo", json!({}));
        assert!(Instant::now() < until, "{}", client.process.transcript());
    }
    client.tool("echo", json!({}));
    assert!(upstream.seen().iter().all(|seen| values(seen, "authorization") == ["Bearer token"]));
    assert_eq!(client.process.stderr().matches(said).count(), 1);
}
