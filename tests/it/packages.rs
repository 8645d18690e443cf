//! What `deploy/` gives to MCP clients: snippets, the Claude Code plugin, the bundle, the npm
//! packages, the registry's entry. What can be run is run as the client would, against the real
//! upstream; what npm and the clients' own tools say of it is in `tests/packages`.

mod clients;
mod forms;
mod plugin;
mod registry;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::support::{jsonrpc::Client, pki::Pki, process::Countersign, upstream::Upstream};

/// A file of `deploy/`.
fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn json_of(name: &str) -> Value {
    let path = deployed(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// A home with what the snippets say is in it.
fn home(pki: &Pki) -> PathBuf {
    let home = pki.path().join("home");
    for folder in ["pki", "secrets"] {
        fs::create_dir_all(home.join(folder)).unwrap();
    }
    fs::copy(&pki.client.cert, home.join("pki/client.pem")).unwrap();
    for (name, text) in
        [("pki/client.key", pki.client.key_pem()), ("secrets/token", "a-token".into())]
    {
        fs::write(home.join(name), text).unwrap();
        fs::set_permissions(home.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    home
}

/// A session through `program`; every request came with the certificate and with `token`, which
/// stood on no command line.
#[track_caller]
fn carries_a_session(program: &Countersign, upstream: &Upstream, token: Option<&str>) {
    let process = program.start();
    let mut client = Client::over(process);
    client.handshake();
    assert_eq!(client.tool("echo", json!({"a": 1})), json!({"a": 1}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let expected = token.map(|token| format!("Bearer {token}"));
    let seen = upstream.seen();
    assert!(!seen.is_empty());
    for seen in seen {
        assert_eq!(seen.client.as_deref(), Some("CN=client"), "{seen:?}");
        assert_eq!(seen.header("authorization"), expected.as_deref(), "{seen:?}");
    }
}
