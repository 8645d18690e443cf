//! Profiles, and configurations that do not hold: the client is told, standard error is told, and
//! the exit code is 78.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE},
    refusal::Refusal,
    upstream::Upstream,
};

/// EX_CONFIG of sysexits(3).
const CONFIGURATION: i32 = 78;

fn file(pki: &Pki, text: &str) -> PathBuf {
    let path = pki.path().join("corp.toml");
    fs::write(&path, text).unwrap();
    path
}

/// The program answers every request, says the same on stderr once, and exits with 78 at the end.
#[track_caller]
fn does_not_hold(program: &Countersign, what: &str, hint: &str) {
    let mut client = Client::start(program);
    for method in ["initialize", "tools/list"] {
        let id = client.request(method, json!({}));
        Refusal::of(&client.error(&id)).says("configuration", &[what], hint);
    }
    client.process.close_stdin();
    let status = client.process.wait_exit(DEADLINE);
    assert_eq!(status.code(), Some(CONFIGURATION), "{}", client.process.transcript());
    let said = client.process.stderr();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("countersign: error: ") && lines[0].contains(what), "{said}");
    assert!(lines.len() <= 2, "{said}");
    assert!(lines.get(1).is_none_or(|line| line.starts_with("countersign: hint: ")), "{said}");
    assert!(said.contains(hint), "{said}");
}

#[test]
fn a_profile_is_a_whole_configuration() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let text = format!(
        "[profile.staging]\nurl = 'https://staging.example/mcp'\n\n\
         [profile.prod]\nurl = '{}'\ncert = 'client.pem'\nkey = 'client.key'\ncacert = 'ca.pem'\n\
         bearer = {{ env = 'TOKEN' }}\nheaders = {{ X-Tenant = '${{TENANT_ID}}' }}\n",
        upstream.url()
    );
    let program = Countersign::new().arg("--config").arg(file(&pki, &text));
    let program = program.args(["--profile", "prod", "--header", "X-Team: blue"]);
    let mut client = Client::start(&program.env("TOKEN", "s3cret").env("TENANT_ID", "acme"));
    client.handshake();
    assert_eq!(client.finish(), [] as [Value; 0]);
    for seen in upstream.seen() {
        assert_eq!(seen.client.as_deref(), Some("CN=client"));
        assert_eq!(seen.header("authorization"), Some("Bearer s3cret"));
        assert_eq!(seen.header("x-tenant"), Some("acme"));
        assert_eq!(seen.header("x-team"), Some("blue"));
    }
}

#[test]
fn unknown_keys_and_profiles_are_refused_with_the_nearest_name() {
    let pki = Pki::new();
    let url = "url = 'https://mcp.example/mcp'\n";
    for (text, profile, what, hint) in [
        (format!("[profile.a]\n{url}cacrt = 'x'\n"), "a", "corp.toml:3: cacrt", "mean cacert?"),
        (format!("[profile.a]\n{url}[profile.b]\nurll = 'x'\n"), "a", "corp.toml:4: urll", "url?"),
        (url.to_owned(), "a", "corp.toml:1: url: expected [profile.NAME]", "put url below"),
        (format!("[profile.a]\n{url}"), "b", "has no profile b", "it has: a"),
        ("[profile.a\n".to_owned(), "a", "corp.toml:1: ", "the file is TOML"),
    ] {
        let path = file(&pki, &text);
        let program = Countersign::new().arg("--config").arg(path).args(["--profile", profile]);
        does_not_hold(&program, what, hint);
    }
}

#[test]
fn a_configuration_that_is_not_there_says_where_one_could_be() {
    does_not_hold(&Countersign::new(), "expected the URL of an MCP server, found none", "API_URL");
    let program = Countersign::new().args(["--config", "/no/such/corp.toml"]);
    does_not_hold(&program, "/no/such/corp.toml", "COUNTERSIGN_CONFIG");
    let program = Countersign::to("https://mcp.example/mcp").args(["--profile", "a"]);
    does_not_hold(&program, "--profile names a profile", "--config FILE");
}

#[test]
fn files_that_do_not_hold_are_named_with_their_flag() {
    let pki = Pki::new();
    let to = || Countersign::to("https://mcp.example/mcp");
    let program = to().args(["--cert", "/no/such.pem"]);
    does_not_hold(&program, "/no/such.pem (--cert): there is no such file", "");
    let program = to().args(["--cert", "client.pem"]);
    does_not_hold(&program, "client.pem (--cert)", "--cert the whole path");
    let swapped = to().arg("--cert").arg(&pki.client.key).arg("--key").arg(&pki.client.cert);
    does_not_hold(&swapped, "client.key (--cert)", "are they swapped");
    does_not_hold(&to().identity(&pki.mismatched), "does not fit the certificate", "--key");
}
