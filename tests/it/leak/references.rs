//! Secrets that can't be had, or stand where none belongs.

use std::fs;

use serde_json::{Value, json};

use super::{Canary, FORMATS, loud};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE},
    script::{Fault, Reply, Rule},
    upstream::Upstream,
};

/// The first answer of the program, an error, and that nothing of the canary was said but in
/// its arguments, which are the user's own.
fn refusal(program: Countersign, format: &str) -> Value {
    let mut client = Client::start(&loud(program, format));
    let id = client.initialize("2025-11-25");
    let error = client.error(&id);
    client.process.close_stdin();
    client.process.wait_exit(DEADLINE);
    Canary::new().assert_unsaid(&client.process);
    error
}

#[test]
fn a_literal_where_a_reference_belongs_is_not_repeated() {
    for arguments in [
        ["--bearer", Canary::TEXT],
        ["--basic", Canary::TEXT],
        ["--basic", &format!("alice:{}", Canary::TEXT)],
        ["--api-key", Canary::TEXT],
        ["--api-key", &format!("X-Key={}", Canary::TEXT)],
        ["--key-passphrase", Canary::TEXT],
        ["--proxy-user", &format!("alice:{}", Canary::TEXT)],
        ["--header", Canary::TEXT],
    ] {
        for format in FORMATS {
            let program = Countersign::to("https://127.0.0.1:9/mcp").args(arguments);
            assert_eq!(refusal(program, format)["data"]["stage"], "configuration", "{arguments:?}");
        }
    }
}

#[test]
fn a_profile_that_does_not_hold_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    for lines in [
        "bearer = \"CANARY\"",
        "bearer = CANARY",
        "bearer = \"CANARY",
        "bearer = { env = \"X\", value = \"CANARY\" }",
        "headers = { X = [\"CANARY\"] }",
        "headers = { X = \"CANARY\\n\" }",
        "api_key = [\"CANARY\"]",
        "proxy = \"ftp://alice:CANARY@proxy\"",
        "http = \"CANARY\"",
        "tls_min = \"CANARY\"",
        "idle_timeout = \"CANARY\"",
        "url = \"https://alice:CANARY@h/mcp\"",
        "url = \"CANARY\"",
    ] {
        let text = lines.replace("CANARY", Canary::TEXT);
        fs::write(&path, format!("[profile.test]\n{text}\n")).unwrap();
        let program = Countersign::new().arg("--config").arg(&path);
        let program =
            if lines.starts_with("url") { program } else { program.arg("https://127.0.0.1:9/mcp") };
        assert_eq!(refusal(program, "text")["data"]["stage"], "configuration", "{lines}");
    }
}

#[test]
fn a_variable_that_no_header_can_hold_is_not_shown() {
    for value in [
        format!("{}\n", Canary::TEXT),
        format!(" {}", Canary::TEXT),
        format!("a\u{1}{}", Canary::TEXT),
    ] {
        for arguments in [
            ["--bearer", "env:CANARY"],
            ["--api-key", "env:CANARY"],
            ["--basic", "alice:env:CANARY"],
            ["--header", "X-Auth: ${CANARY}"],
        ] {
            let program = Countersign::to("https://127.0.0.1:9/mcp").args(arguments);
            refusal(program.env("CANARY", &value), "text");
        }
    }
}

#[test]
fn a_command_that_fails_is_not_quoted() {
    for script in [
        "echo $CANARY; exit 1",
        "echo $CANARY; echo $CANARY >&2; exit 1",
        "echo $CANARY; echo \"token $CANARY is expired\" >&2; exit 1",
        "echo $CANARY; echo $CANARY; echo $CANARY >&2",
        "echo $CANARY; kill -9 $$",
        "printf '%s\\n\\001' $CANARY; printf '%s\\n' $CANARY >&2",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.sh");
        fs::write(&path, script).unwrap();
        for format in FORMATS {
            let program = Countersign::to("https://127.0.0.1:9/mcp")
                .args(["--bearer", &format!("command:/bin/sh {}", path.display())])
                .env("CANARY", Canary::TEXT);
            assert_eq!(refusal(program, format)["data"]["stage"], "credential", "{script}");
        }
    }
}

/// A secret that is refused, renewed, and then can't be had.
fn goes_bad(kind: &str, worse: &str) {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let secret = pki.path().join("secret");
    let good = if kind == "command:/bin/sh " {
        format!("echo {}", Canary::TEXT)
    } else {
        Canary::TEXT.into()
    };
    fs::write(&secret, good).unwrap();
    let program =
        Client::bridge(&pki, &upstream).args(["--bearer", &format!("{kind}{}", secret.display())]);
    let mut client = Client::start(&loud(program, "text"));
    client.handshake();
    let refusal = Reply::new(401)
        .header(
            "www-authenticate",
            &format!("Bearer error_description=\"{} expired\"", Canary::TEXT),
        )
        .body(Canary::TEXT);
    upstream.script(Rule::call("leak").always(), Fault::Answer(refusal));
    fs::write(&secret, worse.replace("CANARY", Canary::TEXT)).unwrap();
    for _ in 0..2 {
        let id = client.call("leak", json!({}));
        client.error(&id);
    }
    client.process.close_stdin();
    client.process.wait_exit(DEADLINE);
    Canary::new().assert_unsaid(&client.process);
    let sent = upstream.wait_for_method("tools/call");
    assert_eq!(sent.header("authorization"), Some(&*format!("Bearer {}", Canary::TEXT)));
}

#[test]
fn a_file_that_goes_bad_is_not_quoted() {
    for worse in ["", " CANARY", "CANARY\nCANARY\n", "\u{1}CANARY"] {
        goes_bad("file:", worse);
    }
}

#[test]
fn a_command_that_goes_bad_is_not_quoted() {
    for worse in [
        "echo CANARY; exit 1",
        "echo 'the token CANARY is expired' >&2; exit 1",
        "echo new-CANARY; echo new-CANARY >&2; exit 1",
        "echo; echo CANARY >&2",
    ] {
        goes_bad("command:/bin/sh ", worse);
    }
}

#[test]
fn a_secret_in_the_urls_query_is_not_shown() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let url = format!("{}?key=${{CANARY}}", upstream.url());
    let key = super::canary::percent(Canary::TEXT);
    let program = Countersign::to(&url).identity(&pki.client).cacert(&pki.ca).env("CANARY", &key);
    let program = program.args(["--idle-timeout", "3s"]);
    let mut client = Client::start(&loud(program, "text"));
    client.handshake();
    for fault in [
        Fault::status(401),
        Fault::status(500),
        Fault::redirect(302, "/login"),
        Fault::json_text("{"),
        Fault::Stall,
    ] {
        upstream.script(Rule::call("leak"), fault);
        let id = client.call("leak", json!({}));
        client.error(&id);
    }
    upstream.down();
    let id = client.call("leak", json!({}));
    client.error(&id);
    client.process.close_stdin();
    client.process.wait_exit(DEADLINE);
    Canary::new().assert_unsaid(&client.process);
    assert!(upstream.seen().iter().all(|seen| seen.path.ends_with(&key)));
}
