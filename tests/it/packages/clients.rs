//! The snippets of `deploy/clients`, read as each client reads its own configuration: the bridge is
//! started with the words and the variables that the client would give it, and carries a session;
//! the sidecar's URL is asked over plain HTTP.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use rustix::process::Signal;
use serde_json::Value;

use super::{carries_a_session, deployed, home, texts};
use crate::support::{
    pki::Pki,
    process::{Countersign, DEADLINE},
    upstream::Upstream,
};

/// What a client calls things.
struct Known {
    /// The snippet's name, without its ending.
    name: &'static str,
    /// The ending.
    form: &'static str,
    /// The table of servers.
    servers: &'static str,
    /// A variable of its own environment, as it is written in a value.
    variable: &'static str,
    /// The key of an HTTP server's URL; none where the file knows no such servers.
    url: Option<&'static str>,
    /// What the type of a server is called for stdio and for HTTP, where it must be said.
    types: Option<(&'static str, &'static str)>,
}

const CLIENTS: [Known; 8] = [
    client("claude-code", "json", "mcpServers", "${MCP_TOKEN}", Some("url")),
    client("claude-desktop", "json", "mcpServers", "", None),
    client("codex", "toml", "mcp_servers", "", Some("url")),
    client("cursor", "json", "mcpServers", "${env:MCP_TOKEN}", Some("url")),
    client("gemini-cli", "json", "mcpServers", "$MCP_TOKEN", Some("httpUrl")),
    client("vscode", "json", "servers", "${input:mcp-token}", Some("url")),
    client("windsurf", "json", "mcpServers", "${env:MCP_TOKEN}", Some("serverUrl")),
    client("zed", "json", "context_servers", "", Some("url")),
];

const fn client(
    name: &'static str,
    form: &'static str,
    servers: &'static str,
    variable: &'static str,
    url: Option<&'static str>,
) -> Known {
    let types = match name.as_bytes() {
        b"vscode" => Some(("stdio", "http")),
        // What a server with a URL is, it finds out itself.
        b"cursor" => Some(("stdio", "")),
        // Without a type it starts a program.
        b"claude-code" => Some(("", "http")),
        _ => None,
    };
    Known { name, form, servers, variable, url, types }
}

impl Known {
    fn read(&self, suffix: &str) -> Value {
        let name = format!("{}{suffix}.{}", self.name, self.form);
        let text = fs::read_to_string(deployed("clients").join(&name))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let whole: Value = match self.form {
            "toml" => toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")),
            _ => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")),
        };
        if suffix.is_empty() && self.name == "vscode" {
            let input = &whole["inputs"][0];
            assert_eq!(input["type"], "promptString");
            assert_eq!(format!("${{input:{}}}", input["id"].as_str().unwrap()), self.variable);
            assert_eq!(input["password"], true, "a token is not shown while it is typed");
        }
        let servers = whole[self.servers].as_object().unwrap_or_else(|| panic!("{name}"));
        assert_eq!(servers.keys().collect::<Vec<_>>(), ["secure-api"], "{name}");
        servers["secure-api"].clone()
    }

    /// The bridge as this client starts it, at this upstream.
    fn starts(&self, pki: &Pki, upstream: &Upstream) -> Countersign {
        let server = self.read("");
        let kind = self.types.map_or("", |(stdio, _)| stdio);
        assert_eq!(server["type"].as_str().unwrap_or_default(), kind, "{}", self.name);
        assert_eq!(server["command"], "countersign", "{}", self.name);
        let mut words = texts(&server["args"]);
        assert_eq!(words.pop().as_deref(), Some("https://mcp.example.com/mcp"), "{}", self.name);
        let mut program = Countersign::new()
            .args(words)
            .arg(upstream.url())
            .cacert(&pki.ca)
            .env("HOME", home(pki));
        for (name, value) in server["env"].as_object().into_iter().flatten() {
            assert_eq!(value, self.variable, "{}: {name}", self.name);
            program = program.env(name, "a-token");
        }
        for name in texts(&server["env_vars"]) {
            program = program.env(name, "a-token");
        }
        program
    }
}

#[test]
fn every_snippet_is_of_a_known_client() {
    let known: BTreeSet<String> = CLIENTS
        .iter()
        .flat_map(|it| {
            let sidecar = it.url.map(|_| format!("{}-sidecar.{}", it.name, it.form));
            [Some(format!("{}.{}", it.name, it.form)), sidecar]
        })
        .flatten()
        .collect();
    let there: BTreeSet<String> = fs::read_dir(deployed("clients"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, known);
    let text = fs::read_to_string(deployed("../docs/clients.md")).unwrap();
    for name in known {
        assert!(
            text.contains(&format!("deploy/clients/{name}")),
            "{name} is not in docs/clients.md"
        );
    }
}

#[test]
fn every_bridge_carries_a_session_with_certificate_and_token() {
    for client in CLIENTS {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        carries_a_session(&client.starts(&pki, &upstream), &upstream, Some("a-token"));
    }
}

#[test]
fn every_sidecar_url_is_answered() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut sidecar = Countersign::new()
        .args(["serve", "--listen", "127.0.0.1:0"])
        .identity(&pki.client)
        .cacert(&pki.ca)
        .arg(upstream.url())
        .start();
    sidecar.wait_for_stderr("listening on");
    let said = sidecar.stderr();
    let port = said.split("127.0.0.1:").nth(1).unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    for client in CLIENTS.iter().filter(|it| it.url.is_some()) {
        let server = client.read("-sidecar");
        let kind = client.types.map_or("", |(_, http)| http);
        assert_eq!(server["type"].as_str().unwrap_or_default(), kind, "{}", client.name);
        assert_eq!(server.get("command"), None, "{}", client.name);
        let url = server[client.url.unwrap()].as_str().unwrap();
        let at = url.replace(":8080/", &format!(":{port}/"));
        let answer = initialize(&at);
        assert!(answer.starts_with("HTTP/1.1 200"), "{}: {answer}", client.name);
        assert!(answer.contains("serverInfo"), "{}: {answer}", client.name);
    }
    sidecar.signal(Signal::TERM);
    assert!(sidecar.wait_exit(DEADLINE).success());
}

/// A client's first request to this URL, and all of the answer.
fn initialize(url: &str) -> String {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "POST /{path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len(),
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
