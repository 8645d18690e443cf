//! What is said where no client looks: help, version, mistakes in the command line, warnings at
//! the start; and nothing at all when there is nothing to say.

use std::{fs, os::unix::fs::PermissionsExt, process::ExitStatus};

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE, Process},
    upstream::Upstream,
};

/// Runs a command line to its end, with no one on stdin.
fn run(arguments: &[&str]) -> (ExitStatus, Process) {
    let mut process = Countersign::new().args(arguments).start();
    process.close_stdin();
    (process.wait_exit(DEADLINE), process)
}

/// What a session says on stderr, and the session's end was clean.
fn said(program: &Countersign) -> String {
    let mut client = Client::start(program);
    client.handshake();
    client.tool("echo", json!({}));
    client.process.close_stdin();
    assert!(client.process.wait_exit(DEADLINE).success(), "{}", client.process.transcript());
    client.process.stderr()
}

#[test]
fn help_and_version_go_to_stdout_and_are_no_failure() {
    for (flag, part) in [
        ("--help", "--key-passphrase <REF>"),
        ("-h", "countersign [OPTIONS] [URL]"),
        ("--version", concat!("countersign ", env!("CARGO_PKG_VERSION"))),
    ] {
        let (status, process) = run(&[flag]);
        assert_eq!(status.code(), Some(0), "{flag}");
        assert!(process.stdout().contains(part), "{flag}: {}", process.stdout());
        assert_eq!(process.stderr(), "");
    }
}

#[test]
fn a_flag_that_is_not_known_is_a_usage_error_on_stderr() {
    for (arguments, tip) in [
        (&["--insecure", "https://mcp.example/"][..], "--cacert FILE"),
        (&["--token", "canary"], "--bearer env:NAME"),
        (&["--cacrt", "ca.pem"], "--cacert"),
        (&["--tls-min", "1.1"], "1.2"),
    ] {
        let (status, process) = run(arguments);
        assert_eq!(status.code(), Some(2), "{arguments:?}");
        assert_eq!(process.stdout(), "");
        assert!(process.stderr().contains(tip), "{}", process.stderr());
        assert!(!process.stderr().contains("canary"), "{}", process.stderr());
    }
}

#[test]
fn a_session_in_which_nothing_is_wrong_says_nothing() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).args(["--bearer", "env:TOKEN"]);
    assert_eq!(said(&program.env("TOKEN", "s3cret")), "");
}

#[test]
fn an_expired_certificate_is_warned_of_at_the_start_with_its_date() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).any_client().start();
    for (identity, words) in [
        (&pki.expired, "CN=expired, expired on 2021-01-31"),
        (&pki.early, "CN=early, not valid before 2098-01-01"),
    ] {
        let program = Countersign::to(&upstream.url()).cacert(&pki.ca).identity(identity);
        let said = said(&program);
        let file = identity.cert.display();
        let start = format!("countersign: warning: the client certificate {file} (--cert)");
        assert!(said.starts_with(&start) && said.contains(words), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn secrets_that_others_can_read_are_warned_of_with_their_mode() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let token = pki.path().join("token");
    fs::write(&token, "canary\n").unwrap();
    for path in [&pki.client.key, &token] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let reference = format!("file:{}", token.display());
    let said = said(&Client::bridge(&pki, &upstream).args(["--bearer", &reference]));
    for path in [&pki.client.key, &token] {
        let path = path.display().to_string();
        let of = |line: &&str| line.contains(&path) && line.contains("(mode 0644)");
        assert_eq!(said.lines().filter(of).count(), 1, "{said}");
    }
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.lines().all(|line| line.starts_with("countersign: warning: ")), "{said}");
    assert!(!said.contains("canary"));
}

#[test]
fn the_log_is_json_where_that_is_asked_for() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).args(["--debug", "--log-format", "json"]);
    let said = said(&program);
    assert!(!said.is_empty());
    for line in said.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["level"].is_string() && event["timestamp"].is_string(), "{line}");
    }
}
