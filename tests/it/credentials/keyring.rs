//! A secret in the keyring. tests/keyring/run starts these within a session that has one.

use std::{
    io::Write,
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::values;
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE},
    script::{Fault, Rule},
    upstream::{Seen, Upstream},
};

const BUS: &str = "DBUS_SESSION_BUS_ADDRESS";

/// Puts `secret` into the keyring of the session that the test runs in.
pub(crate) fn store(account: &str, secret: &str) {
    let entry = ["service", "countersign test/mcp", "username", account];
    let mut child = Command::new("secret-tool")
        .args(["store", "--label=a test of countersign"])
        .args(entry)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// The program, which finds the keyring of this session, with this entry as its token.
pub(crate) fn bearer(program: Countersign, account: &str) -> Countersign {
    #[expect(clippy::disallowed_methods, reason = "the session that the test was started in")]
    let bus = std::env::var_os(BUS).expect("run tests/keyring/run, which starts a session");
    program.arg("--bearer").arg(format!("keyring:countersign test/mcp/{account}")).env(BUS, bus)
}

#[test]
fn an_entry_is_read_once_and_again_when_it_is_refused() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    store("rotating", "first");
    let mut client = Client::start(&bearer(Client::bridge(&pki, &upstream), "rotating"));
    client.handshake();
    client.tool("echo", json!({}));
    store("rotating", "second");
    client.tool("echo", json!({}));
    let first = |seen: &Seen| values(seen, "authorization") == ["Bearer first"];
    upstream.script(Rule::matching(first).always(), Fault::status(401));
    client.tool("echo", json!({}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let calls = upstream.posts("tools/call");
    let sent: Vec<&str> = calls.iter().flat_map(|seen| values(seen, "authorization")).collect();
    assert_eq!(sent, ["Bearer first", "Bearer first", "Bearer first", "Bearer second"]);
}

#[test]
fn an_entry_that_is_not_there_is_named_with_the_command_that_makes_it() {
    let program = Countersign::new().args(["headers", "https://127.0.0.1:9/mcp"]);
    let mut process = bearer(program, "nobody").start();
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(1));
    assert_eq!(process.stdout(), "");
    let said = process.stderr();
    assert!(said.contains("no entry keyring:countersign test/mcp/nobody"), "{said}");
    assert!(said.contains("secret-tool store"), "{said}");
}

/// An unlock prompt that nobody answers looks like this: a question without an answer.
#[test]
fn a_keyring_that_does_not_answer_is_given_up_at_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bus");
    let _silent = UnixListener::bind(&socket).unwrap();
    let asked = Instant::now();
    let mut process = Countersign::new()
        .args(["headers", "--bearer", "keyring:mcp/alice", "https://127.0.0.1:9/mcp"])
        .env(BUS, format!("unix:path={}", socket.display()))
        .start();
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(1));
    let took = asked.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(15)).contains(&took), "{took:?}");
    let said = process.stderr();
    assert!(said.contains("gave no answer for keyring:mcp/alice in 10 s"), "{said}");
    assert!(said.contains("unlock it"), "{said}");
}
