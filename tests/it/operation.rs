//! How the sidecar is watched at work: what its probes look at, figures, logs, traces; and the audit
//! log of the bridge.

mod audit;
mod figures;
mod logs;
#[cfg(feature = "otlp")]
mod otlp;
mod probes;
mod trace;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    pki::{Identity, Pki},
    process::{Countersign, DEADLINE, Process},
    upstream::Upstream,
};

/// A sidecar before an upstream, with its probes.
struct Sidecar {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
}

/// What came back: the status, the head and the body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

impl Sidecar {
    /// One that shows `pki.client`, with these arguments more.
    fn start(pki: &Pki, upstream: &Upstream, more: &[&str]) -> Self {
        Self::showing(&pki.client, pki, upstream, more)
    }

    fn showing(identity: &Identity, pki: &Pki, upstream: &Upstream, more: &[&str]) -> Self {
        let program = serve(pki, upstream).identity(identity).args(more);
        Self::of(&program.args(["--admin", "127.0.0.1:0"]))
    }

    fn of(program: &Countersign) -> Self {
        let process = program.start();
        process.wait_for_stderr(": listening on ");
        let port = |after: &str| {
            let said = process.stderr();
            let rest = said.split_once(after).unwrap_or_else(|| panic!("{said}")).1;
            rest.lines().next().unwrap().parse().unwrap()
        };
        let (address, admin) = (port(": listening on "), port("telling of itself on "));
        Self { process, address, admin }
    }

    /// POSTs a message, with these lines more in the head.
    fn post(&self, path: &str, lines: &str, message: &Value) -> Answer {
        let body = message.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n{lines}\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        exchange(TcpStream::connect(self.address).unwrap(), &head)
    }

    /// Opens the one session of an upstream without ids, which calls of tools need: one request.
    fn open(&self) {
        let params = json!({"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {
            "name": "test", "version": "1"
        }});
        let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        assert_eq!(self.post("/mcp", "", &message).status, 200);
    }

    /// Calls a tool.
    fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.post("/mcp", "", &call(tool, arguments))
    }

    /// What the admin listener answers to this path.
    fn probe(&self, path: &str) -> Answer {
        exchange(TcpStream::connect(self.admin).unwrap(), &get("localhost", path))
    }
}

/// `serve` before this upstream, on a free port.
fn serve(pki: &Pki, upstream: &Upstream) -> Countersign {
    let program = Countersign::new().arg("serve").cacert(&pki.ca);
    program.args(["--listen", "127.0.0.1:0", &upstream.url()])
}

fn call(tool: &str, arguments: Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
}

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).unwrap();
    let text = String::from_utf8(read).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// The lines of a log, as soon as there are so many.
#[track_caller]
fn lines(path: &Path, count: usize) -> Vec<Value> {
    let text = wait_for(|| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        (text.lines().count() >= count).then_some(text)
    });
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `look` finds, sooner or later.
#[track_caller]
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs the probe of images without a shell: its exit code, and its line.
fn healthcheck(arguments: &[&str]) -> (i32, String) {
    let program = Countersign::new().args(["serve", "--healthcheck"]).args(arguments);
    let mut process = program.start();
    let code = process.wait_exit(DEADLINE).code().unwrap();
    (code, process.stderr())
}

/// A connection to a Unix socket.
fn unix(path: &Path) -> UnixStream {
    UnixStream::connect(path).unwrap()
}
