//! Whatever the order of events, each request of the client gets exactly one response.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// One step of a run; what it names is taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Ask { method: usize, identity: usize, logs: bool },
    Cancel(usize),
    Retry { which: usize, answers: bool },
    Answer { which: usize, failed: bool },
    Question { which: usize, back: bool },
    Accept(usize),
    Break { which: usize, how: usize },
    Head(usize),
    Change,
    Timer(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0_usize..64;
    prop_oneof![
        4 => (0_usize..5, 0_usize..3, any::<bool>())
            .prop_map(|(method, identity, logs)| Step::Ask { method, identity, logs }),
        1 => n.clone().prop_map(Step::Cancel),
        3 => (n.clone(), any::<bool>()).prop_map(|(which, answers)| Step::Retry { which, answers }),
        6 => (n.clone(), prop::bool::weighted(0.2))
            .prop_map(|(which, failed)| Step::Answer { which, failed }),
        4 => (n.clone(), any::<bool>()).prop_map(|(which, back)| Step::Question { which, back }),
        3 => n.clone().prop_map(Step::Accept),
        1 => (n.clone(), 0_usize..4).prop_map(|(which, how)| Step::Break { which, how }),
        2 => n.clone().prop_map(Step::Head),
        1 => Just(Step::Change),
        1 => n.prop_map(Step::Timer),
    ]
}

/// A client, a server and what lies between.
struct Run {
    table: Table,
    ids: u32,
    /// The requests of the client by id, and what came back for each.
    requests: BTreeMap<u64, Value>,
    responses: BTreeMap<u64, Vec<Value>>,
    cancelled: BTreeSet<u64>,
    /// What the server has: each exchange with what was posted on it.
    posted: Vec<(ExchangeId, Value)>,
    streams: Vec<ExchangeId>,
    timers: Vec<Timer>,
    finished: usize,
    /// All goes over one channel.
    websocket: bool,
}

impl Run {
    fn new(websocket: bool) -> Self {
        let mut table = Table::new();
        if websocket {
            table.machine = table.machine.over_websocket();
        }
        Self {
            table,
            websocket,
            ids: 0,
            requests: BTreeMap::new(),
            responses: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            posted: Vec::new(),
            streams: Vec::new(),
            timers: Vec::new(),
            finished: 0,
        }
    }

    fn note(&mut self, did: Vec<Did>) {
        for did in did {
            match did {
                Did::Post(exchange, said) => self.posted.push((exchange, said)),
                Did::Listen(exchange) => {
                    self.posted.retain(|(it, _)| *it != exchange);
                    self.streams.push(exchange);
                }
                Did::Deliver(said) if said["method"].is_null() => {
                    let id = said["id"].as_u64().unwrap_or_else(|| panic!("{said}"));
                    self.responses.entry(id).or_default().push(said);
                }
                Did::Deliver(said) => {
                    assert!(said["id"].is_null(), "a request to the client: {said}")
                }
                Did::Connect(exchange) => self.streams.push(exchange),
                Did::Cancel(exchange) | Did::Close(exchange) => self.gone(exchange),
                Did::After(timer) => self.timers.push(timer),
                Did::End => {}
                Did::Finished => self.finished += 1,
            }
        }
    }

    fn gone(&mut self, exchange: ExchangeId) {
        self.posted.retain(|(it, _)| *it != exchange);
        self.streams.retain(|it| *it != exchange);
    }

    fn send(&mut self, mut said: Value) {
        self.ids += 1;
        said["id"] = json!(self.ids);
        self.requests.insert(u64::from(self.ids), said.clone());
        let did = self.table.client(&said);
        self.note(did);
    }

    fn ask(&mut self, method: usize, identity: usize, logs: bool) {
        let identity = [ALL, "{}", r#"{"elicitation":{}}"#][identity];
        let method =
            ["tools/call", "tools/list", "prompts/get", "server/discover", "subscriptions/listen"]
                [method];
        let mut params = json!({ "name": self.ids,
            "notifications": { "toolsListChanged": true, "resourceSubscriptions": ["a"] } });
        if logs {
            params["_meta"] = json!({ "io.modelcontextprotocol/logLevel": "info" });
        }
        self.send(by(identity, 0, method, params));
    }

    fn retry(&mut self, which: usize, answers: bool) {
        let asked = self.responses.iter().flat_map(|(id, all)| all.iter().map(move |it| (id, it)));
        let asked = asked.filter(|(_, it)| it["result"]["resultType"] == "input_required");
        let asked: Vec<_> = asked.map(|(id, it)| (*id, it.clone())).collect();
        let Some((id, asked)) = asked.get(which % asked.len().max(1)) else { return };
        let mut again = retry(&self.requests[id], 0, asked, &accept());
        if !answers {
            again["params"]["inputResponses"] = json!({});
        }
        self.send(again);
    }

    fn answer(&mut self, which: usize, failed: bool) {
        let mut asked = self.posted.iter().filter(|(_, it)| !it["method"].is_null());
        let count = asked.clone().count().max(1);
        let Some((exchange, said)) = asked.nth(which % count).cloned() else { return };
        let id = &said["id"];
        if id.is_null() {
            return;
        }
        let line = match (failed, said["method"] == "initialize") {
            (true, _) => error(id, -32_000),
            (_, true) => result(
                id,
                json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities() }),
            ),
            _ => result(id, json!({})),
        };
        if self.websocket {
            self.sent(&said);
        }
        let did = self.table.server(exchange, &line);
        self.note(did);
        if !self.websocket {
            self.over(exchange);
        }
    }

    /// What was sent on a channel needs nothing more.
    fn sent(&mut self, what: &Value) {
        let at = self.posted.iter().position(|(_, said)| said == what);
        self.posted.remove(at.unwrap());
    }

    fn over(&mut self, exchange: ExchangeId) {
        self.gone(exchange);
        let did = self.table.over(exchange, false);
        self.note(did);
    }

    fn step(&mut self, at: usize, step: Step) {
        let nth = |all: &[ExchangeId], which: usize| all.get(which % all.len().max(1)).copied();
        let posted: Vec<ExchangeId> = self.posted.iter().map(|(exchange, _)| *exchange).collect();
        match step {
            Step::Ask { method, identity, logs } => self.ask(method, identity, logs),
            Step::Retry { which, answers } => self.retry(which, answers),
            Step::Answer { which, failed } => self.answer(which, failed),
            Step::Cancel(which) => {
                let Some(id) = self.requests.keys().nth(which % self.requests.len().max(1)) else {
                    return;
                };
                if !self.responses.contains_key(id) {
                    self.cancelled.insert(*id);
                }
                let did = self.table.client(&cancel(u32::try_from(*id).unwrap()));
                self.note(did);
            }
            Step::Question { which, back } => {
                let from = if back { &self.streams } else { &posted };
                let Some(exchange) = nth(from, which) else { return };
                let did = self.table.server(exchange, &elicit(&format!("q{at}")));
                self.note(did);
            }
            Step::Accept(which) => {
                let notices = self
                    .posted
                    .iter()
                    .filter(|(_, it)| it["id"].is_null() || it["method"].is_null());
                let notices: Vec<ExchangeId> = notices.map(|(exchange, _)| *exchange).collect();
                if let Some(exchange) = nth(&notices, which) {
                    self.gone(exchange);
                    let did = self.table.over(exchange, true);
                    self.note(did);
                }
            }
            Step::Break { which, how } => {
                let Some(exchange) = nth(&posted, which) else { return };
                self.gone(exchange);
                let end = match how {
                    0 => refused(404),
                    1 => refused(500),
                    2 => End::Idle(Duration::from_secs(1)),
                    _ => End::Complete { accepted: false },
                };
                let did = self.table.on(Event::Ended(exchange, end, Position::default()));
                self.note(did);
            }
            Step::Head(which) => {
                let all = if which % 2 == 0 { &self.streams } else { &posted };
                if let Some(exchange) = nth(all, which) {
                    let session = Some(HeaderValue::from_static("s"));
                    let did = self.table.on(Event::Head(exchange, session));
                    self.note(did);
                }
            }
            Step::Change => {
                if let Some(stream) = nth(&self.streams, at) {
                    let told =
                        json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
                    let did = self.table.server(stream, &told);
                    self.note(did);
                }
            }
            Step::Timer(which) => {
                if !self.timers.is_empty() {
                    let timer = self.timers.remove(which % self.timers.len());
                    let did = self.table.on(Event::Elapsed(timer));
                    self.note(did);
                }
            }
        }
    }

    /// The server answers all that it has, for as long as that brings more.
    fn drain(&mut self) {
        for at in 0..400 {
            for stream in self.streams.clone() {
                let did = self.table.on(Event::Head(stream, None));
                self.note(did);
            }
            let Some((exchange, said)) = self.posted.first().cloned() else {
                if self.timers.is_empty() || self.finished > 0 {
                    return;
                }
                self.step(at, Step::Timer(0));
                continue;
            };
            if said["method"].is_null() || said["id"].is_null() {
                if self.websocket {
                    self.sent(&said);
                } else {
                    self.over(exchange);
                }
            } else {
                self.answer(0, false);
            }
        }
    }

    /// The client goes; the server answers in time, or does not.
    fn end(mut self, in_time: bool) {
        let did = self.table.on(Event::ClientClosed);
        self.note(did);
        if in_time {
            self.drain();
            assert_eq!(self.finished, 1, "nothing hangs: {:?}", self.table.machine);
        }
        let did = self.table.on(Event::Expired);
        self.note(did);
        assert_eq!(self.finished, 1);
        for id in self.requests.keys() {
            let got = self.responses.get(id).map_or(0, Vec::len);
            let expected = if self.cancelled.contains(id) { 0 } else { 1 };
            assert_eq!(got, expected, "request {id}: {}", self.requests[id]);
        }
        assert!(self.responses.keys().all(|id| self.requests.contains_key(id)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn each_request_gets_exactly_one_response(
        steps in prop::collection::vec(step(), 0..80), in_time: bool, websocket: bool,
    ) {
        let mut run = Run::new(websocket);
        for (at, step) in steps.into_iter().enumerate() {
            run.step(at, step);
        }
        run.end(in_time);
    }
}
