//! Whatever happens, in whatever order: each request has exactly one answer, and nothing that was
//! posted or sent goes out again unless it is proven unprocessed.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// One thing that happens; numbers pick among what there is.
#[derive(Clone, Debug)]
enum Step {
    Initialize,
    Initialized,
    Call,
    Batch,
    Cancel(usize),
    Head,
    Endpoint,
    Answer(usize),
    Greet,
    ChannelEnds,
    PostEnds(usize, usize),
    Elapses(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Initialize),
        2 => Just(Step::Initialized),
        6 => Just(Step::Call),
        2 => Just(Step::Batch),
        1 => any::<usize>().prop_map(Step::Cancel),
        6 => Just(Step::Head),
        6 => Just(Step::Endpoint),
        5 => any::<usize>().prop_map(Step::Answer),
        4 => Just(Step::Greet),
        2 => Just(Step::ChannelEnds),
        6 => (any::<usize>(), 0..8_usize).prop_map(|(post, end)| Step::PostEnds(post, end)),
        3 => any::<usize>().prop_map(Step::Elapses),
    ];
    prop::collection::vec(step, 0..80)
}

/// What stands around the machine.
struct World {
    duplex: Duplex,
    /// Requests of the client, and their answers so far.
    asked: HashMap<String, usize>,
    calls: u32,
    /// Those that the client has given up: they need no answer.
    cancelled: HashSet<String>,
    channel: Option<ExchangeId>,
    posts: Vec<(ExchangeId, String)>,
    timers: Vec<Timer>,
    /// How often each call left without being proven unprocessed.
    left: HashMap<String, i32>,
    finished: usize,
}

impl World {
    fn on(&mut self, event: Event) {
        for command in self.duplex.handle(event) {
            match command {
                Command::Listen { exchange, .. } | Command::Connect(exchange) => {
                    assert!(self.channel.replace(exchange).is_none(), "one channel at a time");
                }
                Command::Post { exchange, body, .. } => {
                    let body = String::from_utf8(body.to_vec()).unwrap();
                    *self.left.entry(body.clone()).or_default() += 1;
                    self.posts.push((exchange, body));
                }
                Command::Send(exchange, body) => {
                    assert_eq!(Some(exchange), self.channel);
                    let body = String::from_utf8(body.to_vec()).unwrap();
                    *self.left.entry(body).or_default() += 1;
                }
                Command::Deliver(line) => {
                    let message = Message::parse(line).unwrap();
                    if let Some(Envelope::Response { id: Some(id), .. }) = message.single() {
                        *self.asked.get_mut(id.token()).unwrap() += 1;
                    }
                }
                Command::Cancel(exchange) | Command::Close(exchange) => {
                    if self.channel == Some(exchange) {
                        self.channel = None;
                    }
                    self.posts.retain(|(post, _)| *post != exchange);
                }
                Command::After(_, timer) => self.timers.push(timer),
                Command::Finished => self.finished += 1,
                Command::End(_) => panic!("there is no session id"),
            }
        }
    }

    fn client(&mut self, text: &str) {
        self.on(Event::FromClient(message(text)));
    }

    fn server(&mut self, text: &str) {
        if let Some(channel) = self.channel {
            self.on(Event::FromServer(channel, message(text)));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Initialize | Step::Call => {
                self.calls += 1;
                let id = self.calls;
                self.asked.insert(id.to_string(), 0);
                let method = if matches!(step, Step::Call) { "tools/call" } else { "initialize" };
                self.client(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#));
            }
            Step::Batch => {
                let calls = [self.calls + 1, self.calls + 2];
                self.calls += 2;
                self.asked.extend(calls.map(|id| (id.to_string(), 0)));
                self.client(&format!("[{},{}]", call(calls[0]), call(calls[1])));
            }
            Step::Cancel(pick) => {
                if self.calls > 0 {
                    let id = 1 + u32::try_from(pick % self.calls as usize).unwrap();
                    self.cancelled.insert(id.to_string());
                    let method = "notifications/cancelled";
                    self.client(&format!(
                        r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"requestId":{id}}}}}"#
                    ));
                }
            }
            Step::Initialized => self.client(INITIALIZED),
            Step::Head => {
                if let Some(channel) = self.channel {
                    self.on(Event::Head(channel, None));
                }
            }
            Step::Endpoint => {
                if let Some(channel) = self.channel {
                    let (carried, secrets) = (Arc::new([]), Arc::new([]));
                    let reference = Bytes::from_static(b"/m");
                    let named = Endpoint { reference, carried, secrets };
                    self.on(Event::Endpoint(channel, named));
                }
            }
            Step::Answer(pick) => {
                if self.calls > 0 {
                    self.server(&result(1 + u32::try_from(pick % self.calls as usize).unwrap()));
                }
            }
            Step::Greet => {
                let own = format!("\"countersign-{}\"", self.duplex.epoch);
                self.server(&AGREED.replace("ID", &own));
            }
            Step::ChannelEnds => {
                if let Some(channel) = self.channel.take() {
                    self.on(Event::Ended(channel, broken(Stage::Response), Position::default()));
                }
            }
            Step::PostEnds(pick, end) => {
                if self.posts.is_empty() {
                    return;
                }
                let at = pick % self.posts.len();
                let (post, body) = self.posts.remove(at);
                let (end, unprocessed) = match end {
                    0 | 1 => (ACCEPTED, false),
                    2 => (broken(Stage::Connect), true),
                    3 => (broken(Stage::Send), false),
                    4 => (refused(404), true),
                    5 => (refused(500), false),
                    6 => (End::Idle(IDLE), false),
                    _ => (odd::refused_in_words(&message(&body)), false),
                };
                if unprocessed {
                    *self.left.get_mut(&body).unwrap() -= 1;
                }
                self.on(Event::Ended(post, end, Position::default()));
            }
            Step::Elapses(pick) => {
                if !self.timers.is_empty() {
                    let timer = self.timers.remove(pick % self.timers.len());
                    self.on(Event::Elapsed(timer));
                }
            }
        }
    }
}

fn all_is_answered_once(duplex: Duplex, steps: Vec<Step>) {
    let mut world = World {
        duplex,
        asked: HashMap::new(),
        calls: 0,
        cancelled: HashSet::new(),
        channel: None,
        posts: Vec::new(),
        timers: Vec::new(),
        left: HashMap::new(),
        finished: 0,
    };
    for step in steps {
        world.step(step);
    }
    world.on(Event::ClientClosed);
    world.on(Event::Expired);
    for (id, answers) in &world.asked {
        let owed = usize::from(!world.cancelled.contains(id));
        assert!((owed..=1).contains(answers), "{id} has {answers} answers");
    }
    for (body, left) in world.left.iter().filter(|(body, _)| body.contains("tools/call")) {
        assert!(*left <= 1, "{body} left {left} times");
    }
    assert_eq!(world.finished, 1);
}

proptest! {
    #[test]
    fn every_request_has_one_answer_over_http_sse(steps in steps()) {
        all_is_answered_once(Table::sse().duplex, steps);
    }

    #[test]
    fn every_request_has_one_answer_over_a_websocket(steps in steps()) {
        all_is_answered_once(Table::websocket().duplex, steps);
    }
}
