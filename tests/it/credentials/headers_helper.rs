//! A headers helper: what it prints goes with every request, it runs once for all who need it, and
//! whatever it does wrong costs its caller a clear error and leaves nothing running.

mod cached;
mod wrong;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Program, secret, values};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE},
    refusal::Refusal,
    upstream::Upstream,
};

/// The bridge with this helper. Its shell finds what it needs.
fn bridge(pki: &Pki, upstream: &Upstream, helper: &Program) -> Countersign {
    let bridge = Client::bridge(pki, upstream).arg("--headers-helper").arg(&helper.path);
    bridge.env("PATH", "/usr/bin:/bin")
}

/// The ids that a helper has written, one a line.
fn pids(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("pids")).unwrap_or_default();
    text.lines().map(String::from).collect()
}

/// Waits until none of these processes runs.
#[track_caller]
fn assert_gone(pids: &[String]) {
    let until = Instant::now() + DEADLINE;
    for pid in pids {
        // A zombie is for its parent to count.
        let runs = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        };
        while runs() {
            assert!(Instant::now() < until, "process {pid} was left behind");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Waits for something that no one announces.
#[track_caller]
fn wait_for(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < until, "{what} never came");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A file with one profile, `corp`, for this upstream.
fn profile(folder: &Path, pki: &Pki, upstream: &Upstream, keys: &str) -> PathBuf {
    let path = folder.join("corp.toml");
    let (cert, key, ca) = (&pki.client.cert, &pki.client.key, &pki.ca.cert);
    let text = format!(
        "[profile.corp]\nurl = '{}'\ncert = '{}'\nkey = '{}'\ncacert = '{}'\n{keys}\n",
        upstream.url(),
        cert.display(),
        key.display(),
        ca.display()
    );
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn every_request_has_what_it_prints_and_nothing_else_wins() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let helper = Program::new(
        folder.path(),
        "[ \"$(cat)\" = '' ] || exit 1\n\
         printf '{\"Authorization\": \"Bearer printed\", \"X-Server\": \"%s\", \"X-Urls\": \"%s\"}' \
         \"$CLAUDE_CODE_MCP_SERVER_NAME\" \"$CLAUDE_CODE_MCP_SERVER_URL $COUNTERSIGN_URL\"",
    );
    let bridge = bridge(&pki, &upstream, &helper).args(["--header", "X-Server: fixed"]);
    let mut client = Client::start(&bridge);
    client.handshake();
    upstream.wait_for_listener();
    client.tool("echo", json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let url = upstream.url();
    for seen in upstream.seen() {
        assert_eq!(values(&seen, "authorization"), ["Bearer printed"], "{seen:?}");
        assert_eq!(values(&seen, "x-server"), [&upstream.address().ip().to_string()], "{seen:?}");
        assert_eq!(values(&seen, "x-urls"), [format!("{url} {url}")], "{seen:?}");
    }
    assert_eq!(helper.runs(), 1);
}

#[test]
fn a_profile_gives_it_a_name_a_list_or_a_shell() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let helper = Program::new(
        folder.path(),
        "printf '{\"X-Server\": \"%s\", \"X-Arguments\": \"%s\"}' \
         \"$CLAUDE_CODE_MCP_SERVER_NAME\" \"$#\"",
    );
    let shell = "read a b <<.\n1 2\n.\necho \"{\\\"X-Server\\\": \\\"$CLAUDE_CODE_MCP_SERVER_NAME\\\", \
                 \\\"X-Arguments\\\": \\\"$b\\\"}\" | cat";
    for (keys, arguments) in [
        ("headers_helper = ['./print-token', 'a b', 'c']".to_owned(), "2"),
        ("headers_helper = './print-token a b c'".to_owned(), "3"),
        ("headers_helper = { command = ['./print-token'], ttl = '5m' }".to_owned(), "0"),
        (format!("[profile.corp.headers_helper]\nshell = true\ncommand = '''{shell}'''"), "2"),
    ] {
        let config = profile(folder.path(), &pki, &upstream, &keys);
        let program = Countersign::new().arg("--config").arg(config).env("PATH", "/usr/bin:/bin");
        let mut client = Client::start(&program);
        client.handshake();
        assert_eq!(client.finish(), [] as [Value; 0]);
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(values(&seen, "x-server"), ["corp"], "{keys}");
        assert_eq!(values(&seen, "x-arguments"), [arguments], "{keys}");
    }
    assert_eq!(helper.runs(), 3);
}

#[test]
fn variables_that_hold_other_secrets_are_kept_from_it() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let helper = Program::new(
        folder.path(),
        "printf '{\"X-Kept\": \"%s\", \"X-Given\": \"%s\"}' \"${KEY-unset}\" \"$TENANT\"",
    );
    let bridge = bridge(&pki, &upstream, &helper)
        .args(["--api-key", "env:KEY", "--header", "X-Tenant: ${TENANT}"])
        .env("KEY", "s3cret-canary")
        .env("TENANT", "acme");
    let mut client = Client::start(&bridge);
    client.handshake();
    assert_eq!(client.finish(), [] as [Value; 0]);
    for seen in upstream.seen() {
        assert_eq!(values(&seen, "x-api-key"), ["s3cret-canary"]);
        assert_eq!(values(&seen, "x-kept"), ["unset"]);
        assert_eq!(values(&seen, "x-given"), ["acme"]);
    }
}

#[test]
fn what_it_says_is_logged_and_what_it_prints_is_not() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let script = "echo 'asking the vault' >&2; echo '{\"X-A\": \"canary\"}'";
    let helper = Program::new(folder.path(), script);
    let mut client = Client::start(&bridge(&pki, &upstream, &helper).arg("-vvv"));
    client.handshake();
    client.tool("echo", json!({}));
    client.process.wait_for_stderr("asking the vault");
    assert!(!client.process.transcript().contains("canary"), "{}", client.process.transcript());
    fs::remove_file(folder.path().join("print-token")).unwrap();
    let helper =
        Program::new(folder.path(), "echo 'got canary' >&2; echo '{\"X-A\": \"a canary\"}'");
    let mut client = Client::start(&bridge(&pki, &upstream, &helper).arg("-vvv"));
    client.handshake();
    client.process.wait_for_stderr("wrote its secret to stderr; not shown");
    assert!(!client.process.transcript().contains("canary"), "{}", client.process.transcript());
}

#[test]
fn the_header_of_another_credential_is_not_for_it() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let helper = Program::new(folder.path(), "echo '{\"Authorization\": \"Bearer canary\"}'");
    let token = format!("file:{}", secret(folder.path(), "canary").display());
    let bridge = bridge(&pki, &upstream, &helper).args(["--bearer", &token]);
    let refusal = Refusal::of_initialize(&bridge);
    let what = "printed the header authorization, which --bearer sets";
    refusal.says("credential", &["the headers helper", what], "remove --bearer");
    assert!(!format!("{refusal:?}").contains("canary"));
    assert_eq!(upstream.record().connections.len(), 0);
}
