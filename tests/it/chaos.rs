//! Everything at once: calls in flight while the upstream is restarted and both certificates are
//! rotated. What must hold is the promise itself: one answer a call, no tool runs twice, an
//! error that says "not sent" is true, and the session is back without the client.

use std::collections::{HashMap, HashSet, VecDeque};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::{Mount, Pki},
    process::Countersign,
    upstream::Upstream,
};

const CALLS: usize = 1000;
const IN_FLIGHT: usize = 8;
/// Restarts and rotations take turns: ten of each.
const EVENTS: usize = 20;

/// Calls of `count`, each with a number of its own, and what became of them.
struct Calls {
    client: Client,
    sent: usize,
    waiting: VecDeque<(usize, Value)>,
    answered: HashMap<usize, Value>,
}

impl Calls {
    /// Fills up what is in flight.
    fn send(&mut self) {
        while self.waiting.len() < IN_FLIGHT && self.sent < CALLS {
            let id = self.client.call("count", json!({"n": self.sent}));
            self.waiting.push_back((self.sent, id));
            self.sent += 1;
        }
    }

    /// Waits for the oldest answer.
    fn receive(&mut self) {
        let (n, id) = self.waiting.pop_front().unwrap();
        let response = self.client.response(&id);
        self.answered.insert(n, response);
    }

    /// The upstream is away, without its sessions when it is back; no call waits for that.
    fn outlast(&mut self, upstream: &Upstream) {
        upstream.down();
        while !self.waiting.is_empty() {
            self.receive();
        }
        self.send();
        upstream.forget_sessions();
        upstream.up();
    }
}

/// The upstream shows a new certificate, and so do we: told by signal, to be fast.
fn rotate(pki: &Pki, upstream: &Upstream, mount: &Mount, calls: &Calls, number: usize) {
    let server = pki.issue_server(&format!("server-{number}"), &["localhost", "127.0.0.1"]);
    upstream.rotate(&server, &pki.ca);
    let name = format!("client-{number}");
    mount.swap(&pki.issue_client(&name));
    calls.client.process.signal(Signal::HUP);
    calls.client.process.wait_for_stderr(&format!("the client certificate is CN={name} "));
}

fn survives(http: &str) {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mount = pki.mount(&pki.client);
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca).args(["-v", "--http", http]);
    let program = program.arg("--cert").arg(&mount.cert).arg("--key").arg(&mount.key);
    let mut client = Client::start(&program);
    client.handshake();
    let mut calls = Calls { client, sent: 0, waiting: VecDeque::new(), answered: HashMap::new() };

    for event in 0..EVENTS {
        while calls.answered.len() < (event + 1) * CALLS / (EVENTS + 1) {
            calls.send();
            calls.receive();
        }
        calls.send();
        match event % 4 {
            0 | 2 => rotate(&pki, &upstream, &mount, &calls, event / 2),
            1 => upstream.restart(),
            _ => calls.outlast(&upstream),
        }
    }
    while calls.answered.len() < CALLS {
        calls.send();
        if calls.waiting.is_empty() {
            break;
        }
        calls.receive();
    }

    assert_promises(&upstream, &calls.answered);
    assert_eq!(calls.client.tool("count", json!({"n": CALLS}))["times"], 1, "it is back");
    let own = |id: &Value| id.as_str().is_some_and(|id| id.starts_with("countersign-"));
    let initialized = upstream.posts("initialize");
    assert_eq!(initialized.iter().filter(|seen| !own(&seen.id())).count(), 1, "the client's");
    let late = calls.client.finish();
    assert!(late.iter().all(|message| message.get("id").is_none()), "answered twice: {late:?}");
}

/// What each answer says is what happened.
fn assert_promises(upstream: &Upstream, answered: &HashMap<usize, Value>) {
    assert_eq!(answered.len(), CALLS);
    let record = upstream.record();
    let mut ran: HashMap<usize, usize> = HashMap::new();
    for n in &record.ran {
        *ran.entry(usize::try_from(n.as_u64().unwrap()).unwrap()).or_default() += 1;
    }
    let mut results = 0;
    for (n, response) in answered {
        let times = ran.get(n).copied().unwrap_or(0);
        let said = response["error"]["data"]["stage"].as_str();
        match said {
            None => assert_eq!(times, 1, "{n}: {response}"),
            Some("connect" | "tls") => assert_eq!(times, 0, "{n}: {response}"),
            Some(_) => assert!(times <= 1, "{n} ran {times} times: {response}"),
        }
        results += usize::from(said.is_none());
    }
    // Each event can cost what was in flight, and no more.
    assert!(results >= CALLS - EVENTS / 2 * 2 * IN_FLIGHT, "{results} results");
    let clients: HashSet<Option<&str>> =
        record.requests.iter().map(|seen| seen.client.as_deref()).collect();
    assert_eq!(clients.len(), 1 + EVENTS / 2, "every identity was used: {clients:?}");
}

#[test]
fn a_thousand_calls_survive_restarts_and_rotations_over_http_1() {
    survives("1.1");
}

#[test]
fn a_thousand_calls_survive_restarts_and_rotations_over_http_2() {
    survives("2");
}
