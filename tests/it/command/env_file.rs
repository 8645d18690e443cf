//! `--env-file`: what templates and references see of it, and that nobody else does.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE},
    refusal::Refusal,
    upstream::Upstream,
};

/// A file with these lines, for its owner alone.
fn file(folder: &Path, lines: &str) -> PathBuf {
    let path = folder.join("mcp.env");
    fs::write(&path, lines).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A session in which every request has these headers; what was said on stderr.
#[track_caller]
fn carries(program: &Countersign, upstream: &Upstream, headers: &[(&str, &str)]) -> String {
    let mut client = Client::start(program);
    client.handshake();
    client.tool("echo", json!({}));
    client.process.close_stdin();
    assert!(client.process.wait_exit(DEADLINE).success());
    assert!(!upstream.seen().is_empty());
    for seen in upstream.seen() {
        for (name, value) in headers {
            assert_eq!(seen.header(name), Some(*value), "{seen:?}");
        }
    }
    client.process.stderr()
}

#[test]
fn templates_and_references_see_its_variables() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let lines =
        "# for tests\nexport TOKEN='s3 cret#'\nTENANT_ID = \"acme\"\r\nWIDE=\"two\\twords\"\n";
    let program = Client::bridge(&pki, &upstream)
        .args(["--basic", "alice:env:TOKEN", "--header", "X-Tenant: ${TENANT_ID}, ${WIDE}"])
        .arg("--env-file")
        .arg(file(folder.path(), lines));
    let headers =
        [("authorization", "Basic YWxpY2U6czMgY3JldCM="), ("x-tenant", "acme, two\twords")];
    assert_eq!(carries(&program, &upstream, &headers), "");
}

#[test]
fn the_environment_comes_first_and_a_profile_may_name_the_file() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    file(
        folder.path(),
        &format!("TOKEN=of-the-file\nTEAM=of-the-file\nAPI_URL={}", upstream.url()),
    );
    let profile = folder.path().join("corp.toml");
    let text = "[profile.corp]\nenv_file = 'mcp.env'\nbearer = 'env:TOKEN'\n\
                headers = { X-Team = '${TEAM}' }\n";
    fs::write(&profile, text).unwrap();
    let program = Countersign::new().identity(&pki.client).cacert(&pki.ca).arg("--config");
    let program = program.arg(&profile).env("TOKEN", "of-the-process").env("TEAM", "${TEAM}");
    let headers = [("authorization", "Bearer of-the-process"), ("x-team", "of-the-file")];
    assert_eq!(carries(&program, &upstream, &headers), "");
}

#[test]
fn its_variables_are_not_passed_on_to_programs() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let (program, seen) = (folder.path().join("print"), folder.path().join("seen"));
    fs::write(&program, format!("#!/bin/sh\nenv >'{}'\necho token\n", seen.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let bridge = Client::bridge(&pki, &upstream)
        .args(["--api-key", "env:CANARY", "--bearer", &format!("command:{}", program.display())])
        .args(["--api-key", "X-Process=env:OF_PROCESS", "--header", "X-Kept: ${KEPT}"])
        .env("OF_PROCESS", "canary-8")
        .env("KEPT", "kept")
        .arg("--env-file")
        .arg(file(folder.path(), "CANARY=canary-7\n"))
        .env("PATH", "/usr/bin:/bin");
    carries(&bridge, &upstream, &[("x-api-key", "canary-7"), ("authorization", "Bearer token")]);
    let seen = fs::read_to_string(seen).unwrap();
    // What only fills in a template is no secret, and inherited like all else.
    assert!(seen.contains("KEPT=kept") && !seen.to_lowercase().contains("canary"), "{seen}");
    assert!(!seen.contains("OF_PROCESS"), "{seen}");
}

#[test]
fn a_mistake_is_told_by_file_and_line_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    for (lines, flags, what) in [
        ("A=b\ncanary\n", ["--bearer", "env:A"], "mcp.env:2: expected NAME=VALUE"),
        ("A='canary\n", ["--bearer", "env:A"], "mcp.env:1: the quote that opens the value"),
        ("A=\"canary\\q\"\n", ["--bearer", "env:A"], "mcp.env:1: found an escape"),
        ("A=' canary'\n", ["--bearer", "env:A"], "the secret env:A has white space"),
        ("\nA=\n", ["--bearer", "env:A"], "mcp.env:2)"),
        ("A='canary '\n", ["--header", "X-A: ${A}"], "the variable A ends in a blank"),
        ("A=canary\n", ["--bearer", "env:B"], "the variable B is not set"),
    ] {
        let program = Countersign::to("https://127.0.0.1:9/mcp").args(flags).arg("--env-file");
        let refusal = Refusal::of_initialize(&program.arg(file(folder.path(), lines)));
        refusal.says("configuration", &[what], "");
        assert!(!format!("{refusal:?}").contains("canary"), "{refusal:?}");
    }
    let program = Countersign::to("https://127.0.0.1:9/mcp").args(["--env-file", "/no/such.env"]);
    let words = ["--env-file: the file /no/such.env could not be read"];
    Refusal::of_initialize(&program).says("configuration", &words, "check the path");
}

#[test]
fn one_that_others_can_read_is_warned_of_with_its_mode() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let path = file(folder.path(), "TOKEN=canary-7\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let program = Client::bridge(&pki, &upstream).args(["--bearer", "env:TOKEN", "--env-file"]);
    let said = carries(&program.arg(&path), &upstream, &[("authorization", "Bearer canary-7")]);
    let start = format!("countersign: warning: the secret in {} is open", path.display());
    assert!(said.starts_with(&start) && said.contains("(mode 0644)"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// systemd's `LoadCredential` mounts files for the service's user alone and names their folder;
/// Docker and Kubernetes mount files at a path.
#[test]
fn secrets_that_a_service_manager_mounts_are_files() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let token = folder.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o400)).unwrap();
    let program = Client::bridge(&pki, &upstream)
        .args(["--bearer", "file:${CREDENTIALS_DIRECTORY}/token"])
        .env("CREDENTIALS_DIRECTORY", folder.path());
    assert_eq!(carries(&program, &upstream, &[("authorization", "Bearer s3cret")]), "");
}

/// With the feature it is the machine that has no keyring; without it, the program.
#[test]
fn a_secret_in_a_keyring_that_is_not_there_is_an_error_with_what_to_do() {
    let program = Countersign::to("https://127.0.0.1:9/mcp")
        .args(["--bearer", "keyring:mcp/alice"])
        // zbus looks for the session's bus here.
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/no/such/bus");
    let mut client = Client::start(&program);
    let id = client.initialize("2025-11-25");
    let refusal = Refusal::of(&client.error(&id));
    if cfg!(feature = "keyring") {
        refusal.says(
            "credential",
            &["the keyring could not be asked for keyring:mcp/alice"],
            "file:",
        );
    } else {
        refusal.says("configuration", &["keyring:mcp/alice can't be read"], "--features keyring");
    }
    client.process.close_stdin();
    client.process.wait_exit(DEADLINE);
    assert_eq!(client.unclaimed(), [] as [Value; 0]);
}
