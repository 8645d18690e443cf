//! Programs that print secrets: what they print is not repeated when they fail, and they are given
//! no secret that is not theirs.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Canary, FORMATS, executable, loud, passphrase, private, profile};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE, Process},
    script::{Fault, Reply, Rule},
    upstream::Upstream,
};

/// The first answer of the program is an error of this stage, and the canary is not said.
#[track_caller]
fn refuses(program: Countersign, format: &str, about: &str) {
    let mut client = Client::start(&loud(program, format));
    let id = client.initialize("2025-11-25");
    assert_eq!(client.error(&id)["data"]["stage"], "credential", "{about}");
    client.process.close_stdin();
    client.process.wait_exit(DEADLINE);
    Canary::new().assert_unsaid(&client.process);
}

fn to_nobody(folder: &Path, lines: &str) -> Countersign {
    let program = Countersign::to("https://127.0.0.1:9/mcp").env("PATH", "/usr/bin:/bin");
    profile(program, folder, lines)
}

#[test]
fn a_helper_that_does_it_wrong_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    for script in [
        "echo '{\"X-A\": \"CANARY\"}'; exit 3",
        "echo '{\"X-A\": \"CANARY\"}'; echo 'got CANARY' >&2; exit 1",
        "echo 'CANARY'; echo 'CANARY' >&2",
        "echo '{\"X-A\": \"CANARY\"'; echo 'half of CANARY' >&2",
        "echo '{\"CANARY\": \"x\"}'",
        "echo '{\"X-A\": [\"CANARY\"]}'",
        "echo '{\"X-A\": \"CANARY\\u0001\"}'",
        "echo '{\"X-A\": \"CANARY\", \"x-a\": \"CANARY\"}'",
        "echo '{\"Host\": \"CANARY\"}'",
        "echo '{\"X-A\": \"CANARY\", \"expires_at\": \"CANARY\"}'",
        "echo '{\"X-A\": \"CANARY\", \"expires_in\": -1}'; echo 'over: CANARY' >&2",
        "echo '{\"headers\": {\"X-A\": \"CANARY\"}, \"X-B\": \"CANARY\"}'; echo '=CANARY' >&2",
        "echo '{\"X-Key\": \"CANARY\"}'; echo 'CANARY' >&2",
        "echo '{\"X-A\": \"CANARY\"}'; echo 'CANARY' >&2; kill -9 $$",
        // JSON may have a backslash before a slash.
        "echo '{\"X-A\": \"CANARY' | sed 's,/,\\\\/,'; echo 'half of CANARY' >&2",
        "echo '{\"X-A\": \"CANARY\"}'; echo 'got CANARY' | sed 's,/,\\\\/,' >&2; exit 1",
    ] {
        executable(folder.path(), script);
        private(folder.path(), "other", "another");
        let lines =
            "headers_helper = ['FOLDER/program']\napi_key = { X-Key = 'file:FOLDER/other' }";
        for format in FORMATS {
            refuses(to_nobody(folder.path(), lines), format, script);
        }
    }
}

#[test]
fn a_credential_process_that_does_it_wrong_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let keys = "\"Version\": 1, \"AccessKeyId\": \"AKIDEXAMPLE\", \"SecretAccessKey\": \"CANARY\"";
    for script in [
        format!("echo '{{{keys}}}'; echo 'got CANARY' >&2; exit 1"),
        format!("echo '{{{keys}'; echo 'half of CANARY' >&2"),
        format!("echo '{{{keys}, \"Expiration\": \"CANARY\"}}'"),
        format!("echo '{{{keys}, \"SessionToken\": \"CANARY\\u0001\"}}'; echo 'CANARY' >&2"),
        format!("echo '{{{keys}}}' | sed 's/: 1/: 2/'"),
        format!("echo '{{{keys}}}' | sed 's/AKIDEXAMPLE/CANARY/'"),
        "echo 'CANARY'; echo 'CANARY' >&2".to_owned(),
        format!("echo '{{{keys}}}' | sed 's,/,\\\\/,'; echo 'got CANARY' >&2; exit 1"),
        format!("echo '{{{keys}}}'; echo 'got CANARY' | sed 's,/,\\\\/,' >&2; exit 1"),
    ] {
        let program = executable(folder.path(), &script);
        let config = format!("[default]\ncredential_process = {}\n", program.display());
        private(folder.path(), "config", &config);
        let lines = "aws_sigv4 = { region = 'eu-west-1', service = 'execute-api',
                     credentials_file = 'FOLDER/none', config_file = 'FOLDER/config' }";
        for format in FORMATS {
            refuses(to_nobody(folder.path(), lines), format, &script);
        }
    }
}

/// Its first keys are over by the next call; what it prints then is worse each time.
#[test]
fn a_credential_process_that_goes_bad_does_not_name_what_it_printed_before() {
    let keys = "\"Version\": 1, \"AccessKeyId\": \"AKIDEXAMPLE\", \"SecretAccessKey\": \"CANARY\"";
    for worse in [
        "echo 'CANARY is expired' >&2; exit 1".to_owned(),
        format!("echo '{{{keys}'; echo 'half of CANARY' >&2"),
        format!("echo '{{{keys}, \"Expiration\": \"CANARY\"}}'; echo '=CANARY' >&2"),
    ] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let program = executable(pki.path(), &format!("echo '{{{keys}}}'"));
        let config = format!("[default]\ncredential_process = {}\n", program.display());
        private(pki.path(), "config", &config);
        let lines = "aws_sigv4 = { region = 'eu-west-1', service = 'execute-api',
                     credentials_file = 'FOLDER/none', config_file = 'FOLDER/config' }";
        let bridge = Client::bridge(&pki, &upstream).env("PATH", "/usr/bin:/bin");
        let mut client = Client::start(&loud(profile(bridge, pki.path(), lines), "text"));
        client.handshake();
        let refusal = Reply::new(403).header("content-type", "text/plain").body("no".to_owned());
        upstream.script(Rule::call("leak").always(), Fault::Answer(refusal));
        executable(pki.path(), &worse);
        for _ in 0..2 {
            let id = client.call("leak", json!({}));
            client.error(&id);
        }
        client.process.close_stdin();
        client.process.wait_exit(DEADLINE);
        Canary::new().assert_unsaid(&client.process);
        let sent = upstream.wait_for_method("tools/call");
        assert!(sent.header("authorization").is_some_and(|it| it.contains("AKIDEXAMPLE")));
    }
}

#[test]
fn a_helper_that_goes_bad_does_not_name_what_it_printed_before() {
    for worse in [
        "echo 'CANARY is expired' >&2; exit 1",
        "echo '{\"X-A\": \"new-CANARY\"'; echo 'new-CANARY' >&2",
        "echo; echo 'token=CANARY' >&2",
    ] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        executable(pki.path(), "echo '{\"X-A\": \"CANARY\"}'");
        let program = Client::bridge(&pki, &upstream).env("PATH", "/usr/bin:/bin");
        let program = profile(program, pki.path(), "headers_helper = ['FOLDER/program']");
        let mut client = Client::start(&loud(program, "text"));
        client.handshake();
        let refusal = Reply::new(403).header("content-type", "text/plain").body(Canary::TEXT);
        upstream.script(Rule::call("leak").always(), Fault::Answer(refusal));
        executable(pki.path(), worse);
        for _ in 0..2 {
            let id = client.call("leak", json!({}));
            client.error(&id);
        }
        client.process.close_stdin();
        client.process.wait_exit(DEADLINE);
        Canary::new().assert_unsaid(&client.process);
        assert!(client.process.stderr().contains("not renewed"), "{}", client.process.transcript());
        let sent = upstream.wait_for_method("tools/call");
        assert_eq!(sent.header("x-a"), Some(Canary::TEXT));
    }
}

/// A program that prints this once it is let go, and says when it has started.
fn held(folder: &Path, name: &str, prints: &str) {
    let (started, gate) = (folder.join(name).with_extension("started"), folder.join("gate"));
    let (started, gate) = (started.display(), gate.display());
    let wait = format!("until [ -e '{gate}' ]; do sleep 0.01; done");
    let script = format!("#!/bin/sh\n: >'{started}'\n{wait}\necho '{prints}'\n");
    private(folder, name, &script);
}

#[track_caller]
fn wait_until_started(folder: &Path, name: &str, process: &Process) {
    let started = folder.join(name).with_extension("started");
    let until = Instant::now() + DEADLINE;
    while !started.exists() {
        assert!(Instant::now() < until, "{name} never started\n{}", process.transcript());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until it has started, looks at it, and lets it go.
#[track_caller]
fn look_at(folder: &Path, name: &str, process: &Process) {
    wait_until_started(folder, name, process);
    let environment = String::from_utf8(process.environments()).unwrap();
    assert!(environment.contains("KEPT=kept"), "it is there: {environment}");
    assert!(String::from_utf8(process.command_lines()).unwrap().contains(name));
    Canary::new().assert_unsaid(process);
    fs::write(folder.join("gate"), "").unwrap();
}

#[test]
fn what_is_started_has_no_secret_in_its_environment_or_command_line() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    passphrase::packed(&pki, Canary::TEXT);
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    private(pki.path(), "mcp.env", "OF_FILE='CANARY'\n");
    let lines = "env_file = 'FOLDER/mcp.env'\nheaders_helper = ['FOLDER/helper']\n\
                 pkcs12 = 'FOLDER/client.p12'\npkcs12_passphrase = 'env:PASSPHRASE'\n\
                 api_key = { X-Env = 'env:TOKEN', X-File = 'env:OF_FILE', \
                             X-Command = { command = ['FOLDER/command'] } }\n\
                 jwt = { alg = 'HS256', key = 'env:JWT', header = 'X-Jwt' }\n\
                 hmac = { preset = 'body', key = 'env:HMAC' }\n\
                 http_signature = { alg = 'ed25519', key = 'env:SIGNING' }\n\
                 AWS_SIGV4";
    let of_references = "aws_sigv4 = { region = 'eu-west-1', service = 'execute-api', \
                         access_key_id = 'AKIDEXAMPLE', secret_access_key = 'env:AWS', \
                         session_token = 'env:AWS_TOKEN' }";
    // Where the tools of AWS look first.
    let of_variables = "aws_sigv4 = { region = 'eu-west-1', service = 'execute-api' }";
    let bridge = |aws: &str| {
        let program = Countersign::to(&upstream.url()).cacert(&pki.ca);
        let program = program.env("PATH", "/usr/bin:/bin");
        let program = program.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
        let names = [
            "PASSPHRASE",
            "TOKEN",
            "JWT",
            "HMAC",
            if aws == of_references { "AWS" } else { "AWS_SECRET_ACCESS_KEY" },
            if aws == of_references { "AWS_TOKEN" } else { "AWS_SESSION_TOKEN" },
        ];
        let program = names.into_iter().fold(program, |it, name| it.env(name, Canary::TEXT));
        let program = program.env("SIGNING", key.trim_end()).env("KEPT", "kept");
        loud(profile(program, pki.path(), &lines.replace("AWS_SIGV4", aws)), "text")
    };
    let of_key: Vec<&str> = super::canary::lines(&key).collect();
    for (name, aws) in [
        ("helper", of_references),
        ("command", of_references),
        ("helper", of_variables),
        ("command", of_variables),
    ] {
        let _ = fs::remove_file(pki.path().join("gate"));
        held(pki.path(), "helper", "{\"X-Helper\": \"printed\"}");
        held(pki.path(), "command", "printed-too");
        // The one that is not looked at is let go by the same gate, after or before the other.
        let other = if name == "helper" { "command" } else { "helper" };
        let prints = if other == "helper" { "{\"X-Helper\": \"printed\"}" } else { "printed-too" };
        private(pki.path(), other, &format!("#!/bin/sh\necho '{prints}'\n"));
        let _ = fs::remove_file(pki.path().join(name).with_extension("started"));
        let mut client = Client::start(&bridge(aws));
        let id = client.initialize("2025-11-25");
        look_at(pki.path(), name, &client.process);
        Canary::of(&of_key).assert_unsaid(&client.process);
        client.result(&id);
        client.process.close_stdin();
        client.process.wait_exit(DEADLINE);
        Canary::new().assert_unsaid(&client.process);
        Canary::of(&of_key).assert_unsaid(&client.process);
    }
    let seen = upstream.wait_for_method("initialize");
    for (name, value) in [
        ("x-env", Canary::TEXT),
        ("x-file", Canary::TEXT),
        ("x-command", "printed-too"),
        ("x-helper", "printed"),
        ("x-amz-security-token", Canary::TEXT),
    ] {
        assert_eq!(seen.header(name), Some(value));
    }
    assert!(
        ["x-jwt", "x-hub-signature-256", "signature"].iter().all(|it| seen.header(it).is_some())
    );
}

/// As with the AWS CLI: of a profile that was named, variables are no part, and its program may
/// have its own use for them.
#[test]
fn a_credential_process_inherits_the_variables_of_aws_that_are_not_ours() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let keys = "\"Version\": 1, \"AccessKeyId\": \"AKIDEXAMPLE\", \"SecretAccessKey\": \"CANARY\"";
    held(pki.path(), "process", &format!("{{{keys}}}"));
    let process = pki.path().join("process");
    let config = format!("[profile mcp]\ncredential_process = {}\n", process.display());
    private(pki.path(), "config", &config);
    let lines = "aws_sigv4 = { region = 'eu-west-1', service = 'execute-api',
                 aws_profile = 'mcp', config_file = 'FOLDER/config' }";
    let program = profile(Client::bridge(&pki, &upstream), pki.path(), lines);
    let program = program.env("AWS_ACCESS_KEY_ID", "AKIDOTHER").env("KEPT", "kept");
    let mut client = Client::start(&program.env("PATH", "/usr/bin:/bin").env("HOME", pki.path()));
    let id = client.initialize("2025-11-25");
    wait_until_started(pki.path(), "process", &client.process);
    let environment = String::from_utf8(client.process.environments()).unwrap();
    assert!(environment.contains("AWS_ACCESS_KEY_ID=AKIDOTHER"), "{environment}");
    look_at(pki.path(), "process", &client.process);
    client.result(&id);
    let sent = upstream.wait_for_method("initialize");
    assert!(sent.header("authorization").unwrap().contains("AKIDEXAMPLE/"), "{sent:?}");
}

#[test]
fn the_command_of_exec_is_given_its_secret_and_its_arguments_do_not_show_it() {
    let folder = tempfile::tempdir().unwrap();
    held(folder.path(), "server", "done");
    private(folder.path(), "c.toml", "[profile.test.env]\nDB_PASSWORD = 'env:SOURCE'\n");
    let server = folder.path().join("server");
    let program = Countersign::new().args(["exec", "-vvv", "--config"]);
    let program = program.arg(folder.path().join("c.toml")).arg("--").arg(server);
    let mut process = program.env("SOURCE", Canary::TEXT).env("PATH", "/usr/bin:/bin").start();
    wait_until_started(folder.path(), "server", &process);
    // What it starts itself inherits the variable, as it should.
    assert_eq!(Canary::new().find(&process.command_lines()), None);
    let own = fs::read(format!("/proc/{}/environ", process.pid().as_raw_nonzero())).unwrap();
    let own = String::from_utf8(own).unwrap();
    assert!(own.contains(&format!("DB_PASSWORD={}\0", Canary::TEXT)), "it took our place");
    assert!(!own.contains("SOURCE="), "{own}");
    fs::write(folder.path().join("gate"), "").unwrap();
    process.close_stdin();
    assert!(process.wait_exit(DEADLINE).success());
    Canary::new().assert_unsaid(&process);
}

#[test]
fn the_headers_command_prints_them_and_says_nothing_of_them_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    executable(folder.path(), "echo 'got CANARY' >&2; echo '{\"X-A\": \"CANARY\"}'");
    let lines = "jwt = { alg = 'HS256', key = 'env:KEY' }\nheaders_helper = ['FOLDER/program']";
    for format in FORMATS {
        let program = Countersign::new().args(["headers", "https://127.0.0.1:9/mcp"]);
        let program = loud(profile(program, folder.path(), lines), format);
        let program = program.env("KEY", "another-canary-for-the-key").env("PATH", "/usr/bin:/bin");
        let mut process = program.start();
        assert!(process.wait_exit(DEADLINE).success(), "{}", process.transcript());
        let printed: Value = serde_json::from_str(&process.stdout()).unwrap();
        assert_eq!(printed["x-a"], Canary::TEXT);
        let token = printed["authorization"].as_str().unwrap();
        let secrets = Canary::of([Canary::TEXT, token, "another-canary-for-the-key"]);
        assert_eq!(secrets.find(process.stderr().as_bytes()), None);
        let key = Canary::of(["another-canary-for-the-key"]);
        assert_eq!(key.find(process.stdout().as_bytes()), None);
    }
}
