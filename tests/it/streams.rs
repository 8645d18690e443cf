//! What comes back from the upstream: in every form it may take, whole or broken, from every
//! status, over every way there. What the client sees is one answer a request.

mod big;
mod malformed;
mod origin;
mod proxies;
mod refusals;
mod replies;
mod resume;
mod slow;

use serde_json::Value;

use crate::support::{jsonrpc::Client, pki::Pki, upstream::Upstream};

/// The HTTP versions as `--http` names them.
const HTTP: [&str; 2] = ["1.1", "2"];

/// The id of the first call of a client that is connected.
const FIRST: u64 = 2;

/// A client with these arguments more, in a session whose GET stream stands.
fn connected(pki: &Pki, upstream: &Upstream, arguments: &[&str]) -> Client {
    let mut client = Client::start(&Client::bridge(pki, upstream).args(arguments));
    client.handshake();
    upstream.wait_for_listener();
    client
}

/// The sentence for people in an error.
fn message(error: &Value) -> &str {
    error["message"].as_str().unwrap()
}

/// The next step in an error.
fn hint(error: &Value) -> &str {
    error["data"]["hint"].as_str().unwrap_or_default()
}
