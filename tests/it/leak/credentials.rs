//! The secrets that travel in headers, from each place in which they may be kept.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    Canary, FORMATS, canary, executable,
    failures::{self, Echo},
    loud, profile,
};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE},
    upstream::Upstream,
};

/// One way of giving a secret: the change to the program, the header it ends in and its value.
struct Case {
    give: fn(Countersign, &Path) -> Countersign,
    header: &'static str,
    value: String,
}

/// The folder holds the canary in `secret`, the environment in `CANARY`.
fn carries(give: fn(Countersign, &Path) -> Countersign, header: &'static str, value: &str) {
    let case = Case { give, header, value: value.replace("CANARY", Canary::TEXT) };
    for format in FORMATS {
        case.run(format);
    }
}

impl Case {
    fn run(&self, format: &str) {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        fs::write(pki.path().join("secret"), format!("{}\n", Canary::TEXT)).unwrap();
        let program = Client::bridge(&pki, &upstream).env("CANARY", Canary::TEXT);
        let program = (self.give)(program, pki.path());
        let mut client = Client::start(&loud(program, format));
        client.handshake();
        failures::provoke(&mut client, &upstream, &self.echoes());
        failures::redirect(&mut client, &upstream, &self.echoes());

        let canary = Canary::new();
        canary.assert_unsaid(&client.process);
        client.process.close_stdin();
        client.process.wait_exit(DEADLINE);
        canary.assert_unsaid(&client.process);
        assert!(client.process.stdout().contains("<redacted>"), "echoes are quoted, cleaned");
        assert!(client.process.stderr().contains("request"), "everything is logged");
        for seen in upstream.seen() {
            assert_eq!(seen.header(self.header), Some(&*self.value), "{seen:?}");
        }
    }

    /// What a gateway that looks at the header may repeat of it.
    fn echoes(&self) -> Vec<Echo> {
        let mut echoes =
            vec![Canary::TEXT.to_owned(), self.value.clone(), canary::percent(Canary::TEXT)];
        if let Some(encoded) = self.value.strip_prefix("Basic ") {
            echoes.extend([encoded.to_owned(), format!("alice:{}", Canary::TEXT)]);
        } else {
            echoes.push(BASE64_STANDARD.encode(Canary::TEXT));
        }
        echoes.into_iter().map(failures::always).collect()
    }
}

fn file(folder: &Path) -> String {
    format!("file:{}", folder.join("secret").display())
}

fn command(folder: &Path) -> String {
    format!("command:cat {}", folder.join("secret").display())
}

#[test]
fn a_bearer_token_of_the_environment() {
    carries(|it, _| it.args(["--bearer", "env:CANARY"]), "authorization", "Bearer CANARY");
}

#[test]
fn a_bearer_token_of_a_file() {
    carries(|it, at| it.args(["--bearer", &file(at)]), "authorization", "Bearer CANARY");
}

#[test]
fn a_bearer_token_of_a_command() {
    carries(|it, at| it.args(["--bearer", &command(at)]), "authorization", "Bearer CANARY");
}

#[test]
fn a_password() {
    let pair = BASE64_STANDARD.encode(format!("alice:{}", Canary::TEXT));
    let value = format!("Basic {pair}");
    carries(|it, at| it.args(["--basic", &format!("alice:{}", file(at))]), "authorization", &value);
}

#[test]
fn an_api_key() {
    carries(|it, _| it.args(["--api-key", "env:CANARY"]), "x-api-key", "CANARY");
    carries(|it, at| it.args(["--api-key", &format!("X-Key={}", command(at))]), "x-key", "CANARY");
}

#[test]
fn a_header_from_the_environment() {
    carries(|it, _| it.args(["--header", "X-Auth: ${CANARY}"]), "x-auth", "CANARY");
    carries(
        |it, _| it.args(["--header", "Authorization: Bearer ${CANARY}"]),
        "authorization",
        "Bearer CANARY",
    );
}

#[test]
fn a_part_of_a_header() {
    carries(
        |it, _| it.args(["--header", "X-Auth: v=1; key=\"${CANARY}\", more"]),
        "x-auth",
        "v=1; key=\"CANARY\", more",
    );
}

#[test]
fn what_a_helper_prints() {
    fn with(program: Countersign, folder: &Path, script: &str) -> Countersign {
        program.arg("--headers-helper").arg(executable(folder, script)).env("PATH", "/usr/bin:/bin")
    }
    // Its other words are logged, but not what it printed.
    carries(
        |it, at| with(it, at, "echo 'asking the vault' >&2; echo '{\"X-Auth\": \"Key CANARY\"}'"),
        "x-auth",
        "Key CANARY",
    );
    carries(
        |it, at| with(it, at, "echo 'got CANARY' >&2; echo '{\"Authorization\": \"CANARY\"}'"),
        "authorization",
        "CANARY",
    );
}

#[test]
fn a_variable_of_a_file() {
    fn with(program: Countersign, folder: &Path) -> Countersign {
        let path = folder.join("mcp.env");
        fs::write(&path, format!("OF_FILE='{}'\n", Canary::TEXT)).unwrap();
        program.arg("--env-file").arg(path)
    }
    carries(
        |it, at| with(it, at).args(["--bearer", "env:OF_FILE"]),
        "authorization",
        "Bearer CANARY",
    );
    carries(|it, at| with(it, at).args(["--header", "X-Auth: k ${OF_FILE}"]), "x-auth", "k CANARY");
}

#[test]
fn the_secrets_of_a_profile() {
    carries(|it, at| profile(it, at, "headers = { X-Auth = \"${CANARY}\" }"), "x-auth", "CANARY");
    carries(
        |it, at| profile(it, at, "bearer = { file = \"FOLDER/secret\" }"),
        "authorization",
        "Bearer CANARY",
    );
    carries(
        |it, at| {
            profile(it, at, "api_key = { X-Key = { command = [\"cat\", \"FOLDER/secret\"] } }")
        },
        "x-key",
        "CANARY",
    );
}
