//! Promise 1 in any order of events: one answer a request, none for what was cancelled, one end.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const OFFER: &str = r#"{"tools":{"listChanged":true},"resources":{"subscribe":true}}"#;

/// One move of the client, the server or the clock. The numbers choose among what there is.
#[derive(Clone, Debug)]
enum Move {
    Call,
    Initialize,
    /// Subscribe to a resource, or unsubscribe.
    Subscribe(u8, bool),
    Cancel(u8),
    /// The client answers a question; with an error, where it says so.
    Answer(u8, bool),
    /// The server answers an exchange.
    Complete(u8),
    Fail(u8, bool),
    Require(u8, u8),
    Acknowledge(u8),
    Break(u8),
    Elapse(u8),
}

fn moves() -> impl Strategy<Value = Move> {
    let at = any::<u8>;
    prop_oneof![
        3 => Just(Move::Call),
        1 => Just(Move::Initialize),
        2 => (at(), any::<bool>()).prop_map(|(at, on)| Move::Subscribe(at, on)),
        1 => at().prop_map(Move::Cancel),
        4 => (at(), prop::bool::weighted(0.2)).prop_map(|(at, error)| Move::Answer(at, error)),
        2 => at().prop_map(Move::Complete),
        1 => (at(), any::<bool>()).prop_map(|(at, version)| Move::Fail(at, version)),
        4 => (at(), 0..4_u8).prop_map(|(at, asks)| Move::Require(at, asks)),
        2 => at().prop_map(Move::Acknowledge),
        1 => at().prop_map(Move::Break),
        3 => at().prop_map(Move::Elapse),
    ]
}

/// What the world around the translator sees.
struct World {
    table: Table,
    next: u32,
    /// How many answers each request has had; cancelled ones are taken out.
    answers: BTreeMap<String, u32>,
    cancelled: Vec<String>,
    /// Exchanges that are open, with what was posted.
    open: Vec<(ExchangeId, Value)>,
    questions: Vec<Value>,
    timers: Vec<Timer>,
    finished: u32,
}

fn pick<T: Clone>(all: &[T], at: u8) -> Option<T> {
    all.get(usize::from(at).checked_rem(all.len())?).cloned()
}

impl World {
    fn new() -> Self {
        let table = Table::initialized(OFFER);
        Self {
            table,
            next: 0,
            answers: BTreeMap::new(),
            cancelled: Vec::new(),
            open: Vec::new(),
            questions: Vec::new(),
            timers: Vec::new(),
            finished: 0,
        }
    }

    fn see(&mut self, did: Vec<Did>) {
        for did in did {
            match did {
                Did::Post(exchange, body) => self.open.push((exchange, body)),
                Did::Cancel(exchange) => self.open.retain(|(it, _)| *it != exchange),
                Did::After(_, timer) => self.timers.push(timer),
                Did::Finished => self.finished += 1,
                Did::Deliver(line) => self.hear(&serde_json::from_str(&line).unwrap()),
            }
        }
    }

    fn hear(&mut self, line: &Value) {
        if line["method"] == "notifications/cancelled" {
            let gone = &line["params"]["requestId"];
            assert!(self.questions.contains(gone), "nothing of that name was asked: {line}");
            self.questions.retain(|it| it != gone);
        } else if line.get("method").is_some() && line.get("id").is_some() {
            self.questions.push(line["id"].clone());
        } else if line.get("method").is_none() {
            let id = line["id"].to_string();
            assert!(!self.cancelled.contains(&id), "cancelled: {line}");
            *self.answers.get_mut(&id).unwrap_or_else(|| panic!("nobody asked: {line}")) += 1;
        }
    }

    fn ask(&mut self, text: &str) {
        self.answers.insert(self.next.to_string(), 0);
        let did = self.table.client(text);
        self.see(did);
    }

    fn make(&mut self, made: &Move) {
        match made {
            Move::Call => {
                self.next += 1;
                self.ask(&call(self.next));
            }
            Move::Initialize => {
                self.next += 1;
                self.ask(&initialize(self.next, CAPABILITIES));
            }
            Move::Subscribe(uri, on) => {
                self.next += 1;
                let (id, uri) = (self.next, uri % 3);
                let method = if *on { "resources/subscribe" } else { "resources/unsubscribe" };
                self.ask(&format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"uri":"a:{uri}"}}}}"#
                ));
            }
            Move::Cancel(at) => {
                let open: Vec<String> = self
                    .answers
                    .iter()
                    .filter(|(_, count)| **count == 0)
                    .map(|it| it.0.clone())
                    .collect();
                let Some(id) = pick(&open, *at) else { return };
                self.answers.remove(&id);
                self.cancelled.push(id.clone());
                let did = self.table.cancels(id.parse().unwrap());
                self.see(did);
            }
            Move::Answer(at, failed) => {
                let Some(id) = pick(&self.questions, *at) else { return };
                self.questions.retain(|it| *it != id);
                let text = if *failed { error(&id, -1, "{}") } else { result(&id, "{}") };
                let did = self.table.client(&text);
                self.see(did);
            }
            Move::Elapse(at) => {
                let Some(timer) = pick(&self.timers, *at) else { return };
                self.timers.retain(|it| *it != timer);
                let did = self.table.on(Event::Elapsed(timer));
                self.see(did);
            }
            _ => self.serve(made),
        }
    }

    fn serve(&mut self, made: &Move) {
        let (Move::Complete(at)
        | Move::Fail(at, _)
        | Move::Require(at, _)
        | Move::Acknowledge(at)
        | Move::Break(at)) = made
        else {
            return;
        };
        let Some((exchange, body)) = pick(&self.open, *at) else { return };
        let id = &body["id"];
        let text = match made {
            Move::Acknowledge(_) => {
                let line = format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"notifications":{}}}}}"#,
                    body["params"]["notifications"]
                );
                let did = self.table.server(exchange, &line);
                return self.see(did);
            }
            Move::Break(_) => {
                self.open.retain(|(it, _)| *it != exchange);
                let did = self.table.end(exchange, End::Complete { accepted: false });
                return self.see(did);
            }
            Move::Fail(_, true) => error(id, -32_022, r#"{"supported":["2026-07-28"]}"#),
            Move::Fail(_, false) => error(id, -32_602, "{}"),
            Move::Require(_, asks) => {
                let asks: Vec<String> =
                    (0..*asks).map(|at| format!(r#""{at}":{{"method":"roots/list"}}"#)).collect();
                let requests = format!(r#""inputRequests":{{{}}}"#, asks.join(","));
                result(
                    id,
                    &format!(r#"{{"resultType":"input_required","requestState":"s",{requests}}}"#),
                )
            }
            _ if body["method"] == "server/discover" => discovered(id, OFFER),
            _ => result(id, "{}"),
        };
        self.open.retain(|(it, _)| *it != exchange);
        let did = self.table.server(exchange, &text);
        self.see(did);
        let did = self.table.end(exchange, End::Complete { accepted: false });
        self.see(did);
    }
}

/// JSON as no server should send it, with the names that are read.
fn odd() -> impl Strategy<Value = Value> {
    let names = "resultType|inputRequests|requestState|_meta|io.modelcontextprotocol/serverInfo|supportedVersions|capabilities|structuredContent|tools|outputSchema|method|params|code|data|a";
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(7)),
        Just(json!("input_required")),
        Just(json!("roots/list")),
        Just(json!("elicitation/create")),
        Just(json!("2026-07-28")),
        Just(json!(-32_022)),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever a server answers with is one answer, or a question, or another try.
    #[test]
    fn no_answer_is_odd_enough_to_be_lost(answers in prop::collection::vec((odd(), any::<bool>()), 1..6)) {
        for text in [initialize(1, CAPABILITIES), call(1), request(1, "tools/list")] {
            let mut table = Table::initialized("{}");
            let mut did = table.client(&text);
            for (answer, failed) in &answers {
                let Some(Did::Post(exchange, body)) =
                    did.iter().find(|did| matches!(did, Did::Post(..))).cloned()
                else {
                    break;
                };
                let member = if *failed { "error" } else { "result" };
                let mut line = json!({"jsonrpc": "2.0", "id": body["id"]});
                line[member] = answer.clone();
                did = table.server(exchange, &line.to_string());
            }
            did.extend(table.on(Event::ClientClosed));
            did.extend(table.on(Event::Expired));
            let own = |did: &&Did| {
                matches!(did, Did::Deliver(line) if {
                    let line: Value = serde_json::from_str(line).unwrap();
                    line.get("method").is_none() && line["id"] == 1
                })
            };
            prop_assert_eq!(did.iter().filter(own).count(), 1, "{:?}", did);
            prop_assert_eq!(did.iter().filter(|did| **did == Did::Finished).count(), 1);
        }
    }

    #[test]
    fn each_request_has_one_answer_in_any_order(
        before in prop::collection::vec(moves(), 0..60),
        after in prop::collection::vec(moves(), 0..20),
    ) {
        let mut world = World::new();
        for made in &before {
            world.make(made);
            prop_assert!(world.answers.values().all(|count| *count <= 1));
        }
        let did = world.table.on(Event::ClientClosed);
        world.see(did);
        for made in after.iter().filter(|it| !matches!(it, Move::Call | Move::Initialize | Move::Subscribe(..) | Move::Cancel(_) | Move::Answer(..))) {
            world.make(made);
        }
        let did = world.table.on(Event::Expired);
        world.see(did);
        prop_assert!(world.answers.values().all(|count| *count == 1), "{:?}", world.answers);
        prop_assert_eq!(world.finished, 1);
        prop_assert!(world.open.is_empty(), "{:?}", world.open);
    }

    /// Nothing waits for ever either: with a server and a client that answer all, all is answered.
    #[test]
    fn what_is_served_comes_to_its_end(before in prop::collection::vec(moves(), 0..60)) {
        let mut world = World::new();
        before.iter().for_each(|made| world.make(made));
        for _ in 0..400 {
            world.make(&Move::Acknowledge(0));
            for at in (0..world.open.len()).rev() {
                if world.open[at].1["method"] != "subscriptions/listen" {
                    world.make(&Move::Complete(u8::try_from(at).unwrap()));
                    break;
                }
                world.make(&Move::Acknowledge(u8::try_from(at).unwrap()));
            }
            world.make(&Move::Answer(0, false));
            world.make(&Move::Elapse(0));
        }
        prop_assert!(world.answers.values().all(|count| *count == 1), "{:?}", world.answers);
    }
}
