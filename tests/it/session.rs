//! The session between the client and its server: how it is named, lost, replaced and ended,
//! and what becomes of the calls that are in flight meanwhile.

mod down;
mod life;
mod listening;
mod lost;
mod outcome;

use crate::support::{jsonrpc::Client, pki::Pki, script::Fault, script::Rule, upstream::Upstream};

/// A client in a session whose GET stream stands.
fn connected(pki: &Pki, upstream: &Upstream) -> Client {
    let client = Client::connect(pki, upstream);
    upstream.wait_for_listener();
    client
}

/// A client over this HTTP version at a server without a GET stream, which keeps the order of
/// connections and requests certain.
fn without_stream(pki: &Pki, upstream: &Upstream, http: &str) -> Client {
    upstream.script(Rule::get().always(), Fault::status(405));
    let mut client = Client::start(&Client::bridge(pki, upstream).args(["--http", http]));
    client.handshake();
    client.ask("ping", serde_json::Value::Null);
    client
}
