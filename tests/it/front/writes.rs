//! How messages are written: each by itself, and progress so that it is seen before its result.
//! Two official hosts lose notifications that come in the same read as the response.

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::Front,
    script::{Fault, Rule},
    upstream::Upstream,
};

#[test]
fn each_message_is_one_write() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream).front(Front::Packets));
    client.handshake();
    let id = client.call_with_progress("progress", json!({"steps": 20}));
    client.result(&id);
    let writes = client.process.writes();
    assert_eq!(writes.len(), 22, "initialize, 20 steps, the result");
    for write in &writes {
        assert!(write.ends_with(b"}\n"));
        serde_json::from_slice::<Value>(write).unwrap();
    }
}

#[test]
fn progress_comes_in_order_and_before_the_result() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut client = Client::start(&Client::bridge(&pki, &upstream).front(Front::Packets));
    client.handshake();
    // All of it in one piece of one body, as a server sends it that buffers.
    let step = |n| json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": n}});
    let mut events: String = (0..5).map(|n| format!("data: {}\n\n", step(n))).collect();
    events.push_str("data: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n");
    upstream.script(Rule::call("progress"), Fault::sse_text(events));
    let id = client.call("progress", json!({}));
    client.result(&id);
    let writes = client.process.writes();
    for (n, write) in writes[1..6].iter().enumerate() {
        assert_eq!(serde_json::from_slice::<Value>(write).unwrap(), step(n));
    }
    assert_eq!(client.finish().len(), 5);
}
