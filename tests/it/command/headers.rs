//! `countersign headers`: one JSON object on standard output, or nothing there and an error.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
};

use rustix::{
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process::{Countersign, DEADLINE, Process};

/// `countersign headers` with these flags, to a host that is not there: nothing is sent.
fn headers(flags: &[&str]) -> Countersign {
    Countersign::new().arg("headers").args(flags).arg("https://127.0.0.1:9/mcp")
}

/// Runs it to its end with this exit code.
#[track_caller]
fn ends(program: &Countersign, code: i32) -> Process {
    let mut process = program.start();
    let status = process.wait_exit(DEADLINE);
    assert_eq!(status.code(), Some(code), "{}", process.transcript());
    process
}

/// What it prints, and that it prints nothing else.
#[track_caller]
fn printed(program: &Countersign) -> Value {
    let process = ends(program, 0);
    let (stdout, stderr) = (process.stdout(), process.stderr());
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    assert_eq!(stderr, "");
    serde_json::from_str(&stdout).unwrap()
}

fn script(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[test]
fn what_a_request_would_get_is_one_json_object() {
    let folder = tempfile::tempdir().unwrap();
    let program = script(&folder, "print", "echo from-a-program");
    let reference = format!("command:{}", program.display());
    let flags = ["--header", "X-Tenant: ${TENANT}", "--bearer", &reference, "--api-key", "env:KEY"];
    let program = headers(&flags).env("TENANT", "a \"b\"").env("KEY", "a-key");
    assert_eq!(
        printed(&program),
        json!({"authorization": "Bearer from-a-program", "x-api-key": "a-key", "x-tenant": "a \"b\""})
    );
    let basic = headers(&["--basic", "alice:env:KEY"]).env("KEY", "s3cret");
    assert_eq!(printed(&basic), json!({"authorization": "Basic YWxpY2U6czNjcmV0"}));
    assert_eq!(printed(&headers(&[])), json!({}));
}

#[test]
fn the_same_profile_serves_without_a_url_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("corp.toml");
    let profile = "[profile.corp]\nurl = 'https://127.0.0.1:9/mcp'\nbearer = 'env:TOKEN'\n";
    fs::write(&file, profile).unwrap();
    let program = || Countersign::new().arg("headers").env("TOKEN", "s3cret");
    let expected = json!({"authorization": "Bearer s3cret"});
    assert_eq!(printed(&program().arg("--config").arg(&file)), expected);
    assert_eq!(printed(&program().env("COUNTERSIGN_CONFIG", &file)), expected);
    let flags = ["--bearer", "env:TOKEN"];
    assert_eq!(printed(&program().args(flags).env("API_URL", "https://127.0.0.1:9/")), expected);

    let nowhere = ends(&program().args(flags), 78);
    assert_eq!(nowhere.stdout(), "");
    assert!(nowhere.stderr().contains("expected the URL of an MCP server"), "{}", nowhere.stderr());
}

#[test]
fn a_credential_that_cannot_be_had_is_an_error_and_nothing_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let program = script(&folder, "fail", "echo canary; exit 3");
    let reference = format!("command:{}", program.display());
    let process =
        ends(&headers(&["--api-key", "env:KEY", "--bearer", &reference]).env("KEY", "k"), 1);
    assert_eq!(process.stdout(), "");
    let said = process.stderr();
    assert!(said.starts_with("countersign: error: the program of command:"), "{said}");
    assert!(said.contains("exit status: 3") && said.contains("countersign: hint: "), "{said}");
    assert!(!said.contains("canary"), "{said}");

    let unset = ends(&headers(&["--bearer", "env:TOKEN"]), 78);
    assert_eq!(unset.stdout(), "");
    assert!(unset.stderr().contains("--bearer: the variable TOKEN is not set"));
}

#[test]
fn no_value_is_in_the_log_at_any_level() {
    let program = headers(&["-vvv", "--bearer", "env:TOKEN", "--header", "X-A: ${TOKEN}"]);
    let process = ends(&program.env("TOKEN", "canary-7"), 0);
    assert!(process.stdout().contains("canary-7"));
    assert!(!process.stderr().contains("canary-7"), "{}", process.stderr());
}

#[test]
fn a_reader_that_is_gone_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let wait = format!("until [ -e '{}' ]; do sleep 0.01; done; echo token", gate.display());
    let reference = format!("command:{}", script(&folder, "wait", &wait).display());
    let mut process = headers(&["--bearer", &reference]).start();
    process.close_stdout();
    fs::write(&gate, "").unwrap();
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(1));
    assert!(process.stderr().contains("could not be written"), "{}", process.stderr());
}

#[test]
fn when_it_is_stopped_nothing_is_left_running() {
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let wait = format!("echo $$ >'{0}.new'; mv '{0}.new' '{0}'; exec sleep 600", started.display());
    let reference = format!("command:{}", script(&folder, "wait", &wait).display());
    let mut process = headers(&["--bearer", &reference]).start();
    while !started.exists() {
        assert!(process.is_running(), "{}", process.transcript());
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    process.signal(Signal::TERM);
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(1));
    assert_eq!(process.stdout(), "");
    assert!(process.stderr().contains("stopped before"), "{}", process.stderr());
    let pid = fs::read_to_string(&started).unwrap();
    let stat = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let until = std::time::Instant::now() + DEADLINE;
    while stat().contains("sleep") && !stat().contains(") Z") {
        assert!(std::time::Instant::now() < until, "the program was left running");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn to_a_terminal_it_prints_as_well_and_says_what_it_shows() {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let theirs = File::options().read(true).write(true).open(name).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["headers", "--bearer", "env:TOKEN", "https://127.0.0.1:9/mcp"])
        .env_clear()
        .env("TOKEN", "s3cret")
        .stdin(std::process::Stdio::null())
        .stdout(theirs)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("countersign: warning: ") && said.contains("secrets"), "{said}");
    assert!(!said.contains("s3cret"));
    let mut line = String::new();
    BufReader::new(File::from(ours)).read_line(&mut line).unwrap();
    assert_eq!(line, "{\"authorization\":\"Bearer s3cret\"}\r\n");
}

/// A signature is of one request: there is none to print beforehand.
#[test]
fn what_signs_each_request_is_refused_by_name() {
    for (flag, said) in [
        ("--hmac", "preset=body,key=env:KEY"),
        ("--http-signature", "alg=hmac-sha256,key=env:KEY,keyid=me"),
        ("--jwt", "alg=HS256,key=env:KEY,per_request=true"),
        (
            "--aws-sigv4",
            "region=eu-west-1,service=execute-api,access_key_id=AKID,secret_access_key=env:KEY",
        ),
    ] {
        let program = headers(&[flag, said]).env("KEY", "a-shared-secret-of-32-characters");
        let process = ends(&program, 78);
        assert_eq!(process.stdout(), "");
        let stderr = process.stderr();
        assert!(stderr.contains(&format!("{flag} covers each request")), "{stderr}");
        assert!(!stderr.contains("a-shared-secret"), "{stderr}");
    }
}

#[test]
fn a_token_that_is_minted_here_is_printed() {
    let program = headers(&["--jwt", "alg=HS256,key=env:KEY,iss=me"]);
    let printed = printed(&program.env("KEY", "a-shared-secret-of-32-characters"));
    let token = printed["authorization"].as_str().unwrap().strip_prefix("Bearer ").unwrap();
    assert_eq!(token.split('.').count(), 3);
}
