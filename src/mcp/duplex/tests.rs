//! The channel as tables: what comes in, what must go out.
#![allow(clippy::unwrap_used, clippy::panic)]

mod any;
mod lost;
mod odd;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::*;
use crate::mcp::{
    exchange::{End, Endpoint, Position},
    refusal::Refusal,
};

const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05"}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const AGREED: &str = r#"{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}}}}"#;
const IDLE: Duration = Duration::from_secs(80);

fn call(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"n":{id}}}}}"#)
}

fn result(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

fn message(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn refused(status: u16) -> End {
    End::Refused(Box::new(Refusal {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        carried: Arc::new([]),
        presented: None,
    }))
}

fn broken(stage: Stage) -> End {
    End::Broken(Failure::new(stage, "it broke"))
}

const ACCEPTED: End = End::Complete { accepted: true };

/// What a command was, for comparison; timers are left out unless they wait to open a channel.
#[derive(Debug, PartialEq)]
enum Did {
    Listen(ExchangeId),
    Connect(ExchangeId),
    Post(ExchangeId, String, String),
    Send(String),
    Deliver(String),
    Cancel(ExchangeId),
    Close,
    Reopen(Duration),
    Finished,
}

struct Table {
    duplex: Duplex,
    beats: usize,
    reopen: Option<Timer>,
}

impl Table {
    fn sse() -> Self {
        let limits = Limits { in_flight: 4, idle: IDLE };
        let url = "https://gw.example/sse".parse().unwrap();
        Self::of(Duplex::http_sse("the upstream", url, limits, 1 << 62))
    }

    fn websocket() -> Self {
        let limits = Limits { in_flight: 4, idle: IDLE };
        Self::of(Duplex::websocket("the upstream", limits, 1 << 62))
    }

    fn of(duplex: Duplex) -> Self {
        Self { duplex, beats: 0, reopen: None }
    }

    fn on(&mut self, event: Event) -> Vec<Did> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let commands = self.duplex.handle(event);
        let mut did = Vec::new();
        for command in &commands {
            did.push(match command {
                Command::Listen { exchange, .. } => Did::Listen(*exchange),
                Command::Connect(exchange) => Did::Connect(*exchange),
                Command::Post { exchange, body, context, .. } => {
                    Did::Post(*exchange, text(body), context.endpoint.as_ref().unwrap().to_string())
                }
                Command::Send(_, body) => Did::Send(text(body)),
                Command::Deliver(line) => Did::Deliver(text(line)),
                Command::Cancel(exchange) => Did::Cancel(*exchange),
                Command::Close(_) => Did::Close,
                Command::Finished => Did::Finished,
                Command::After(pause, timer @ Timer::Channel(_, Due::Reopen)) => {
                    self.reopen = Some(*timer);
                    Did::Reopen(*pause)
                }
                Command::After(_, Timer::Channel(_, Due::Beat)) => {
                    self.beats += 1;
                    continue;
                }
                Command::After(..) => continue,
                Command::End(_) => panic!("{command:?}"),
            });
        }
        did
    }

    fn client(&mut self, text: &str) -> Vec<Did> {
        self.on(Event::FromClient(message(text)))
    }

    fn server(&mut self, text: &str) -> Vec<Did> {
        let channel = self.channel();
        self.on(Event::FromServer(channel, message(text)))
    }

    fn end(&mut self, exchange: ExchangeId, end: End) -> Vec<Did> {
        self.on(Event::Ended(exchange, end, Position::default()))
    }

    fn lose(&mut self) -> Vec<Did> {
        let channel = self.channel();
        self.end(channel, broken(Stage::Response))
    }

    fn channel(&self) -> ExchangeId {
        self.duplex.channel.unwrap()
    }

    /// The channel opens: with its endpoint, or with its head.
    fn open(&mut self, endpoint: &str) -> Vec<Did> {
        let channel = self.channel();
        let did = self.on(Event::Head(channel, None));
        match self.duplex.kind {
            Kind::WebSocket => did,
            Kind::HttpSse { .. } => {
                assert_eq!(did, []);
                let reference = Bytes::copy_from_slice(endpoint.as_bytes());
                let (carried, secrets) = (Arc::new([]), Arc::new([]));
                self.on(Event::Endpoint(channel, Endpoint { reference, carried, secrets }))
            }
        }
    }

    /// A session on it, the handshake's POSTs accepted.
    fn ready(mut self) -> Self {
        self.client(INITIALIZE);
        let did = self.open("/m?s=1");
        let did = did.into_iter().chain(self.server(&AGREED.replace("ID", "0")));
        let posts: Vec<ExchangeId> =
            did.chain(self.client(INITIALIZED)).filter_map(posted).collect();
        for post in posts {
            self.end(post, ACCEPTED);
        }
        self
    }

    /// The next channel opens and the handshake is repeated; what happens then.
    fn recover(&mut self, endpoint: &str) -> Vec<Did> {
        let did = self.open(endpoint);
        assert!(format!("{did:?}").contains("initialize"), "{did:?}");
        let own = format!("\"countersign-{}\"", self.duplex.epoch);
        let mut did = self.server(&AGREED.replace("ID", &own));
        if let Some(confirm) = did.iter().find_map(|did| match did {
            Did::Post(exchange, body, _) if body == INITIALIZED => Some(*exchange),
            _ => None,
        }) {
            did.extend(self.end(confirm, ACCEPTED));
        }
        did
    }
}

fn posted(did: Did) -> Option<ExchangeId> {
    match did {
        Did::Post(exchange, ..) => Some(exchange),
        _ => None,
    }
}

#[track_caller]
fn post_of(did: &[Did]) -> ExchangeId {
    let [Did::Post(exchange, ..)] = did else { panic!("{did:?}") };
    *exchange
}

#[track_caller]
fn says(did: &[Did], id: u32, words: &str) {
    let id = format!(r#""id":{id},"error""#);
    let said =
        |did: &Did| matches!(did, Did::Deliver(line) if line.contains(&id) && line.contains(words));
    assert!(did.iter().any(said), "{did:?}");
}

#[test]
fn the_stream_is_opened_first_and_messages_are_posted_to_the_endpoint_it_names() {
    let mut table = Table::sse();
    let did = table.client(INITIALIZE);
    assert!(matches!(did[..], [Did::Listen(_)]), "{did:?}");
    let did = table.open("/m?s=1");
    assert!(
        matches!(&did[..], [Did::Post(_, body, to)]
        if body == INITIALIZE && to == "https://gw.example/m?s=1"),
        "{did:?}"
    );
    assert_eq!(table.end(post_of(&did), ACCEPTED), []);
    let agreed = AGREED.replace("ID", "0");
    assert_eq!(table.server(&agreed), [Did::Deliver(agreed)]);
}

#[test]
fn what_the_client_writes_ahead_waits_for_the_handshake() {
    let mut table = Table::sse();
    table.client(INITIALIZE);
    for line in [INITIALIZED, &call(1)] {
        assert_eq!(table.client(line), []);
    }
    table.open("/m");
    let did = table.server(&AGREED.replace("ID", "0"));
    let [Did::Deliver(_), Did::Post(confirm, body, _)] = &did[..] else { panic!("{did:?}") };
    assert_eq!(body, INITIALIZED);
    let did = table.end(*confirm, ACCEPTED);
    assert!(matches!(&did[..], [Did::Post(_, body, _)] if *body == call(1)), "{did:?}");
    assert_eq!(table.server(&result(1)), [Did::Deliver(result(1))]);
}

#[test]
fn an_endpoint_on_another_origin_is_refused_and_nothing_is_posted() {
    let mut table = Table::sse();
    table.client(INITIALIZE);
    let did = table.open("https://evil.example/m");
    assert!(matches!(did[..], [Did::Cancel(_), Did::Deliver(_)]), "{did:?}");
    says(&did, 0, "https://gw.example wants messages posted to https://evil.example");
}

#[test]
fn a_stream_that_is_none_says_what_was_tried() {
    for (end, words) in [(refused(404), "404"), (broken(Stage::Connect), "it broke")] {
        let mut table = Table::sse();
        table.duplex = table
            .duplex
            .with_refusal(Failure::new(Stage::Response, "POST was refused").hint("/mcp"));
        table.client(INITIALIZE);
        let channel = table.channel();
        let did = table.end(channel, end);
        for words in ["POST was refused; ", "2024-11-05", words, "hint: /mcp"] {
            says(&did, 0, words);
        }
        assert!(!table.duplex.stands());
        // It may be tried again.
        assert!(matches!(table.client(INITIALIZE)[..], [Did::Listen(_)]));
    }
}

#[test]
fn a_stream_without_an_endpoint_is_no_channel() {
    let mut table = Table::sse();
    table.client(INITIALIZE);
    let channel = table.channel();
    table.on(Event::Head(channel, None));
    let did = table.on(Event::Elapsed(Timer::Channel(channel, Due::Open)));
    says(&did, 0, "no endpoint on its event stream within 10s");
    // A message where the endpoint belongs is another transport's.
    table.client(INITIALIZE);
    says(&table.server(r#"{"jsonrpc":"2.0","method":"x"}"#), 0, "named no endpoint first");
}

#[test]
fn a_post_that_fails_is_answered_by_what_it_proves() {
    for (end, words) in [
        (broken(Stage::Connect), "it broke"),
        (broken(Stage::Send), "outcome unknown: it broke"),
        (refused(403), "403"),
        (refused(504), "may have run"),
    ] {
        let mut table = Table::sse().ready();
        let post = post_of(&table.client(&call(1)));
        let did = table.end(post, end);
        says(&did, 1, words);
        assert_eq!(table.server(&result(1)), [], "one answer");
    }
}

#[test]
fn an_answer_that_came_before_its_post_ended_is_the_answer() {
    let mut table = Table::sse().ready();
    let post = post_of(&table.client(&call(1)));
    assert_eq!(table.server(&result(1)), [Did::Deliver(result(1))]);
    assert_eq!(table.end(post, broken(Stage::Send)), []);
}

#[test]
fn a_refused_initialize_is_answered_and_another_may_follow() {
    for answered in [true, false] {
        let mut table = Table::sse();
        table.client(INITIALIZE);
        let post = post_of(&table.open("/m"));
        if answered {
            let error = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32602,"message":"no"}}"#;
            assert_eq!(table.server(error), [Did::Deliver(error.into())]);
            table.end(post, ACCEPTED);
        } else {
            says(&table.end(post, refused(401)), 0, "401");
        }
        let did = table.client(INITIALIZE);
        assert!(matches!(did[..], [Did::Post(..) | Did::Listen(_)]), "{did:?}");
    }
}

#[test]
fn a_call_of_which_nothing_is_heard_is_cancelled_on_both_sides() {
    for mut table in [Table::sse().ready(), Table::websocket().ready()] {
        let beat = || Event::Elapsed(Timer::Channel(ExchangeId(1 << 62), Due::Beat));
        table.client(&call(1).replace(r#""n":1"#, r#""_meta":{"progressToken":"t"}"#));
        let listens = r#"{"jsonrpc":"2.0","id":9,"method":"subscriptions/listen"}"#;
        table.client(listens);
        for _ in 0..8 {
            assert_eq!(table.on(beat()), []);
        }
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}"#;
        assert_eq!(table.server(progress), [Did::Deliver(progress.into())]);
        for _ in 0..8 {
            assert_eq!(table.on(beat()), []);
        }
        let did = table.on(beat());
        says(&did, 1, "sent no byte for 1m 20s");
        assert!(format!("{did:?}").contains("notifications/cancelled"), "{did:?}");
        assert_eq!(did.len(), 2, "a subscription may be silent: {did:?}");
        assert!(table.beats > 16);
    }
}

#[test]
fn a_cancelled_request_needs_no_answer_and_the_server_is_told() {
    let mut table = Table::sse().ready();
    let post = post_of(&table.client(&call(1)));
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    post_of(&table.client(cancel));
    assert_eq!(table.server(&result(1)), []);
    assert_eq!(table.end(post, broken(Stage::Send)), []);
    // One that waits is never sent.
    let mut table = Table::sse();
    table.client(&call(1));
    assert_eq!(table.client(cancel), []);
    assert_eq!(table.open("/m"), []);
}

#[test]
fn a_handshake_that_is_refused_says_what_a_websocket_needs() {
    for (status, words) in [(401, "credentials"), (404, "wss://"), (200, "wss://"), (426, "wss://")]
    {
        let mut table = Table::websocket();
        table.client(INITIALIZE);
        let channel = table.channel();
        says(&table.end(channel, refused(status)), 0, words);
    }
}

#[test]
fn of_a_batch_each_answer_passes_once() {
    let mut table = Table::sse().ready();
    table.client(&format!("[{},{}]", call(1), call(2)));
    assert_eq!(table.server(&format!("[{}]", result(1))), [Did::Deliver(result(1))]);
    let both = format!("[{},{}]", result(1), result(2));
    assert_eq!(table.server(&both), [Did::Deliver(result(2))]);
}

#[test]
fn an_error_without_an_id_goes_to_the_one_request_it_can_mean() {
    let mut table = Table::websocket().ready();
    let error = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}"#;
    table.client(&call(1));
    let did = table.server(error);
    assert!(
        matches!(&did[..], [Did::Deliver(line)] if line.contains(r#""id":1,"error":{"code":-32600"#))
    );
    table.client(&call(2));
    table.client(&call(3));
    assert_eq!(table.server(error), [], "it could mean either");
}

#[test]
fn doubled_and_too_many_requests_are_refused_one_by_one() {
    let mut table = Table::websocket().ready();
    (1..=4).for_each(|id| drop(table.client(&call(id))));
    says(&table.client(&call(1)), 1, "already in flight");
    says(&table.client(&call(9)), 9, "more than 4");
}

#[test]
fn the_end_of_input_waits_for_answers_and_then_ends_the_channel() {
    let mut table = Table::sse().ready();
    let post = post_of(&table.client(&call(1)));
    let channel = table.channel();
    assert_eq!(table.on(Event::ClientClosed), []);
    table.end(post, ACCEPTED);
    let did = table.server(&result(1));
    assert_eq!(did, [Did::Deliver(result(1)), Did::Cancel(channel), Did::Finished]);
    let mut table = Table::websocket().ready();
    assert_eq!(table.on(Event::ClientClosed), [Did::Close, Did::Finished]);
}

#[test]
fn what_is_still_open_when_time_is_up_is_answered() {
    let mut table = Table::sse().ready();
    table.client(&call(1));
    table.on(Event::ClientClosed);
    let did = table.on(Event::Expired);
    says(&did, 1, "shut down");
    assert_eq!(did.last(), Some(&Did::Finished), "{did:?}");
    assert_eq!(table.on(Event::Expired), [], "finished once");
}

#[test]
fn a_client_that_never_spoke_leaves_without_a_word() {
    assert_eq!(Table::sse().on(Event::ClientClosed), [Did::Finished]);
}
