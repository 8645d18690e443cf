//! `--translate`: HTTP clients before upstreams of the other era. Each is served as its own revision has
//! it, and where the eras agree not a byte is touched.

mod agreeing;
mod legacy;
mod modern;

use serde_json::{Value, json};

use super::{Scene, named, post};
use crate::support::{
    pki::Pki,
    process::DEADLINE,
    sidecar::{Answer, Line, Sidecar, rules},
    upstream::Upstream,
};

const META: &str = "io.modelcontextprotocol/";

/// A sidecar that translates before an upstream of this era.
fn scene(modern: bool, flags: &[&str]) -> Scene {
    let pki = Pki::new();
    let options = Upstream::options(&pki);
    let upstream = if modern { options.modern() } else { options }.start();
    let program = Sidecar::program(&pki, &upstream).arg("--translate").args(flags);
    let sidecar = Sidecar::start(&program);
    Scene { pki, upstream, sidecar }
}

/// A new session of a client with these capabilities, which has said that it is initialized.
#[track_caller]
fn open(scene: &Scene, capabilities: &Value) -> String {
    let info = json!({"name": "test", "version": "1"});
    let params = json!({
        "protocolVersion": super::VERSION, "capabilities": capabilities, "clientInfo": info,
    });
    let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let answer = scene.sidecar.ask(post("", &message));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["result"]["protocolVersion"], super::VERSION);
    let session = answer.header("mcp-session-id").unwrap().to_owned();
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(scene.sidecar.ask(post(&named(&session), &initialized)).status, 202);
    session
}

/// A request of the legacy era within a session.
fn within(session: &str, id: u64, method: &str, params: &Value) -> String {
    let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    post(&named(session), &message)
}

/// A request of the modern era with its headers, under this id.
fn stated(id: &Value, method: &str, mut params: Value) -> String {
    let meta = &mut params["_meta"];
    meta[format!("{META}protocolVersion")] = "2026-07-28".into();
    meta[format!("{META}clientInfo")] = json!({"name": "test", "version": "1"});
    if meta.get(format!("{META}clientCapabilities")).is_none() {
        meta[format!("{META}clientCapabilities")] = json!({"elicitation": {}});
    }
    let mut lines = format!("\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}");
    if let Some(name) = params["name"].as_str() {
        lines += &format!("\r\nMcp-Name: {name}");
    }
    post(&lines, &json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
}

/// The call of a tool in the modern era.
fn stated_call(id: &Value, tool: &str, arguments: &Value) -> String {
    stated(id, "tools/call", json!({"name": tool, "arguments": arguments}))
}

/// A connection on which this was asked, and whose answer is an event stream.
#[track_caller]
fn stream(scene: &Scene, request: &str) -> Line {
    let mut line = scene.sidecar.connect();
    line.write(request);
    let head = line.head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    line
}

/// The next message of a stream.
#[track_caller]
fn event(line: &mut Line) -> Value {
    let chunk = line.chunk();
    let data = chunk.strip_prefix("event: message\ndata: ").and_then(|it| it.strip_suffix("\n\n"));
    serde_json::from_str(data.unwrap_or_else(|| panic!("no event: {chunk:?}"))).unwrap()
}

/// The result of a request with this id, which is all that its answer has.
#[track_caller]
fn result(answer: &Answer, id: &Value) -> Value {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let answer = answer.json();
    assert_eq!(answer["id"], *id, "{answer}");
    assert!(answer.get("error").is_none(), "{answer}");
    answer["result"].clone()
}

/// Waits for the end of a sidecar that was told to: nothing was amiss.
#[track_caller]
fn ends(scene: Scene) {
    let mut process = scene.sidecar.process;
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(0), "{}", process.transcript());
    assert_eq!(rules(&process.stderr()), [""; 0]);
}
