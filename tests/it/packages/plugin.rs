//! The plugin for Claude Code and the bundle, made by their scripts and started as the clients do:
//! the placeholders filled in, or left open in each of the ways that clients have.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{carries_a_session, deployed, json_of, texts};
use crate::support::{jsonrpc::Client, pki::Pki, process::Countersign, upstream::Upstream};

/// What a user types into the form; the rest is left open.
type Form<'a> = &'a [(&'a str, &'a str)];

/// What becomes of an option that was left open: a client fills in its default, or nothing.
#[derive(Clone, Copy)]
enum Open {
    Empty,
    AsItStands,
}

/// The plugin's folder, as `deploy/pack/plugin` makes it.
fn plugin(pki: &Pki) -> PathBuf {
    let folder = pki.path().join("a plugin");
    let made = Command::new(deployed("pack/plugin"))
        .args([Path::new(env!("CARGO_BIN_EXE_countersign")), &folder])
        .status()
        .unwrap();
    assert!(made.success());
    folder
}

/// The server of `.mcp.json` in a plugin's folder, as Claude Code starts it.
fn server(folder: &Path, pki: &Pki, upstream: &Upstream, more: Form, open: Open) -> Countersign {
    let text = fs::read_to_string(folder.join(".mcp.json")).unwrap();
    let server = serde_json::from_str::<Value>(&text).unwrap()["secure-api"].take();
    let url = upstream.url();
    let paths = [&pki.client.cert, &pki.client.key, &pki.ca.cert].map(|it| it.to_str().unwrap());
    let mut given = vec![
        ("api_url", url.as_str()),
        ("client_cert", paths[0]),
        ("client_key", paths[1]),
        ("cacert", paths[2]),
    ];
    given.extend(more);
    let filled = |text: &str| {
        let mut text = text.replace("${CLAUDE_PLUGIN_ROOT}", folder.to_str().unwrap());
        for (name, value) in &given {
            text = text.replace(&format!("${{user_config.{name}}}"), value);
        }
        match (open, text.contains("${user_config.")) {
            (Open::Empty, true) => String::new(),
            _ => text,
        }
    };
    let mut program = Countersign::program(filled(server["command"].as_str().unwrap()))
        .args(texts(&server["args"]).iter().map(|word| filled(word)))
        .env("PATH", "/usr/bin:/bin");
    for (name, value) in server["env"].as_object().unwrap() {
        program = program.env(name, filled(value.as_str().unwrap()));
    }
    program
}

#[test]
fn the_server_is_the_documented_one() {
    let mut server = json_of("claude-code-plugin/.mcp.json")["secure-api"].take();
    let documented: Value = serde_json::from_str(
        r#"{
          "command": "${CLAUDE_PLUGIN_ROOT}/servers/mtls-wrapper",
          "args": ["--cert", "${CLIENT_CERT}", "--key", "${CLIENT_KEY}"],
          "env": {"API_URL": "${API_URL}"}
        }"#,
    )
    .unwrap();
    // The values come from the form, not from the user's environment, and there are more of them.
    let text = server
        .to_string()
        .replace("${user_config.client_cert}", "${CLIENT_CERT}")
        .replace("${user_config.client_key}", "${CLIENT_KEY}")
        .replace("${user_config.api_url}", "${API_URL}");
    server = serde_json::from_str(&text).unwrap();
    server["env"].as_object_mut().unwrap().retain(|name, _| name == "API_URL");
    assert_eq!(server, documented);
}

#[test]
fn the_manifest_has_documented_keys_alone() {
    let manifest = json_of("claude-code-plugin/.claude-plugin/plugin.json");
    for key in manifest.as_object().unwrap().keys() {
        let known = [
            "name",
            "displayName",
            "version",
            "description",
            "author",
            "license",
            "keywords",
            "userConfig",
        ];
        assert!(known.contains(&key.as_str()), "{key}");
    }
    let name = manifest["name"].as_str().unwrap();
    assert!(name.bytes().all(|it| it.is_ascii_lowercase() || it == b'-'), "{name}");
    assert!(manifest["author"]["name"].is_string());
}

#[test]
fn a_filled_form_carries_a_session() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let form = &[("token", "a-token")];
    let program = server(&plugin(&pki), &pki, &upstream, form, Open::Empty);
    carries_a_session(&program, &upstream, Some("a-token"));
}

#[test]
fn what_is_left_open_becomes_no_flag() {
    for open in [Open::Empty, Open::AsItStands] {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let program = server(&plugin(&pki), &pki, &upstream, &[], open);
        carries_a_session(&program, &upstream, None);
    }
}

#[test]
fn secrets_of_the_form_are_on_no_command_line() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let form = &[("token", "a-token-to-hide")];
    let program = server(&plugin(&pki), &pki, &upstream, form, Open::Empty);
    let mut client = Client::start(&program);
    client.handshake();
    let lines = String::from_utf8(client.process.command_lines()).unwrap();
    assert!(lines.contains("env:MTLS_TOKEN") && !lines.contains("-to-hide"), "{lines}");
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.posts("initialize");
    assert_eq!(seen[0].header("authorization"), Some("Bearer a-token-to-hide"));
}

#[test]
fn an_encrypted_key_opens_with_the_phrase_of_the_form() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let key = pki.path().join("encrypted.key");
    let made = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:a-phrase", "-in"])
        .arg(&pki.client.key)
        .arg("-out")
        .arg(&key)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let folder = plugin(&pki);
    let text = fs::read_to_string(folder.join(".mcp.json")).unwrap();
    let text = text.replace("${user_config.client_key}", key.to_str().unwrap());
    fs::write(folder.join(".mcp.json"), text).unwrap();
    let form = &[("key_passphrase", "a-phrase")];
    carries_a_session(&server(&folder, &pki, &upstream, form, Open::Empty), &upstream, None);
}

#[test]
fn without_a_binary_of_its_own_it_takes_the_installed_one() {
    let folder = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_countersign");
    symlink(binary, folder.path().join("countersign")).unwrap();
    let output = Command::new(deployed("claude-code-plugin/servers/mtls-wrapper"))
        .arg("--version")
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("countersign {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_the_program_it_says_where_it_was_looked_for() {
    let output = Command::new(deployed("claude-code-plugin/servers/mtls-wrapper"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(127));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no program of this name in") && said.contains("PATH"), "{said}");
    assert_eq!(output.stdout, b"");
}
