//! Revision 2026-07-28 on both sides: a stateless client, a stateless server, and nothing between
//! them but headers, credentials and the end of streams.

mod headers;
mod streams;

use serde_json::{Value, json};

use crate::support::{jsonrpc::Client, pki::Pki, upstream::Upstream};

/// `params` as a client of this revision sends them.
fn stamped(mut params: Value) -> Value {
    let members = [
        ("protocolVersion", json!("2026-07-28")),
        ("clientInfo", json!({"name": "test", "version": "1"})),
        ("clientCapabilities", json!({"elicitation": {}})),
    ];
    for (name, value) in members {
        params["_meta"][format!("io.modelcontextprotocol/{name}")] = value;
    }
    params
}

fn both(pki: &Pki) -> (Upstream, Client) {
    let upstream = Upstream::options(pki).modern().start();
    let client = Client::start(&Client::bridge(pki, &upstream));
    (upstream, client)
}

fn call(client: &mut Client, tool: &str, arguments: Value) -> Value {
    client.request("tools/call", stamped(json!({"name": tool, "arguments": arguments})))
}
