//! Who serves whom, as tables: what the client says, what the server says to it, and whose exchange comes
//! of that.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::*;
use crate::mcp::{
    exchange::{Due, End, Position},
    refusal::Refusal,
};

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
const DISCOVER: &str = r#"{"jsonrpc":"2.0","id":2,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
const MODERN: &str = r#"{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
const NEITHER: &str = r#"{"jsonrpc":"2.0","id":4,"method":"tools/list"}"#;
const DISCOVERED: &str = r#"{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}}"#;
const MISMATCH: &str =
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"missing header"}}"#;

/// A conversation, and what it wants done.
struct Table {
    conversation: Conversation,
    posted: Vec<(ExchangeId, String)>,
    listened: Vec<ExchangeId>,
    delivered: Vec<String>,
    finished: usize,
}

impl Table {
    fn new(protocol: Option<Era>) -> Self {
        let conversation = Conversation::new(
            "https://gw",
            Uri::from_static("https://gw/mcp"),
            Limits { in_flight: 9, idle: Duration::from_secs(9) },
            protocol,
            &[7; 32],
        );
        let (posted, listened, delivered) = (Vec::new(), Vec::new(), Vec::new());
        Self { conversation, posted, listened, delivered, finished: 0 }
    }

    fn on(&mut self, event: Event) {
        for command in self.conversation.handle(event) {
            match command {
                Command::Post { exchange, body, .. } => {
                    self.posted.push((exchange, String::from_utf8_lossy(&body).into_owned()));
                }
                Command::Listen { exchange, .. } => self.listened.push(exchange),
                Command::Deliver(line) => {
                    self.delivered.push(String::from_utf8_lossy(&line).into_owned());
                }
                Command::Finished => self.finished += 1,
                _ => {}
            }
        }
    }

    /// The client says something; the machine that posts something for it, if one does.
    fn says(&mut self, text: &str) -> Option<Machine> {
        let before = self.posted.len();
        self.on(Event::FromClient(message(text)));
        (self.posted.len() > before).then(|| self.machine())
    }

    fn machine(&self) -> Machine {
        Machine::of_exchange(self.posted.last().unwrap().0)
    }

    fn last_post(&self) -> &str {
        &self.posted.last().unwrap().1
    }

    /// The last POST is refused.
    fn refused(&mut self, status: u16, body: &str) {
        let refusal = Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            carried: [].into(),
            presented: None,
        };
        let exchange = self.posted.last().unwrap().0;
        let end = End::Refused(Box::new(refusal));
        self.on(Event::Ended(exchange, end, Position::default()));
    }

    /// The last POST is answered; `ID` stands for its own.
    fn answered(&mut self, text: &str) {
        let (exchange, body) = self.posted.last().unwrap().clone();
        let id = message(&body).request_ids().next().unwrap().token().to_owned();
        self.on(Event::Head(exchange, None));
        self.on(Event::FromServer(exchange, message(&text.replace("ID", &id))));
        let end = End::Complete { accepted: false };
        self.on(Event::Ended(exchange, end, Position::default()));
    }
}

fn message(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

#[test]
fn a_client_shows_its_era_by_how_it_opens() {
    for (said, machine) in [
        (INITIALIZE, Machine::Session),
        (DISCOVER, Machine::Stateless),
        (MODERN, Machine::Stateless),
        (NEITHER, Machine::Session),
    ] {
        assert_eq!(Table::new(None).says(said), Some(machine), "{said}");
    }
}

#[test]
fn a_client_that_falls_back_is_followed_and_one_that_falls_forward_too() {
    let mut table = Table::new(None);
    assert_eq!(table.says(NEITHER), Some(Machine::Session));
    assert_eq!(table.says(DISCOVER), Some(Machine::Stateless));
    assert_eq!(table.says(INITIALIZE), Some(Machine::Session));
    // The session is being opened: what is sent now waits for it.
    assert_eq!(table.says(&MODERN.replace(":3", ":5")), None);
}

#[test]
fn a_probe_before_a_legacy_server_is_refused_and_names_the_flag() {
    for refusal in [MISMATCH.replace("-32020", "-32000"), String::new()] {
        let mut table = Table::new(None);
        table.says(DISCOVER);
        table.refused(400, &refusal);
        assert!(table.delivered[0].contains("--protocol modern"), "{}", table.delivered[0]);
        assert!(table.delivered[0].contains("-32601"));
        // It falls back, natively; or probes once more, and is refused without asking.
        assert_eq!(table.says(&DISCOVER.replace(":2", ":7")), None);
        assert_eq!(table.delivered.len(), 2);
        assert_eq!(table.says(INITIALIZE), Some(Machine::Session));
    }
}

#[test]
fn a_client_that_goes_on_in_the_other_era_is_translated() {
    let mut table = Table::new(None);
    table.says(DISCOVER);
    table.refused(405, "");
    assert_eq!(table.says(MODERN), Some(Machine::Backward));
    assert!(table.last_post().contains("\"initialize\""));
}

#[test]
fn a_modern_request_that_a_legacy_server_refuses_is_translated() {
    let mut table = Table::new(None);
    table.says(MODERN);
    table.refused(400, &MISMATCH.replace("-32020", "-32000"));
    assert_eq!(table.machine(), Machine::Backward);
    assert!(table.last_post().contains("\"initialize\""));
    assert!(table.delivered.is_empty(), "{:?}", table.delivered);
    // If it was none after all, the request is told, and the next goes natively.
    table.refused(400, MISMATCH);
    assert_eq!(table.delivered.len(), 1);
    assert_eq!(table.says(&MODERN.replace(":3", ":8")), Some(Machine::Stateless));
}

#[test]
fn a_refusal_about_the_caller_or_of_the_era_is_an_answer() {
    for (status, body) in [(401, ""), (403, ""), (429, ""), (500, ""), (400, MISMATCH)] {
        let mut table = Table::new(None);
        table.says(MODERN);
        table.refused(status, body);
        assert_eq!((table.posted.len(), table.delivered.len()), (1, 1), "{status}");
    }
}

/// Promise 4: a call is sent in the other era only where the server has not begun with it.
#[test]
fn a_refusal_of_who_may_have_run_the_call_is_its_answer() {
    for (code, answers) in [(7, true), (-1, true), (-32_603, true), (-32_600, false)] {
        let mut table = Table::new(None);
        table.says(MODERN);
        let error =
            format!(r#"{{"jsonrpc":"2.0","id":3,"error":{{"code":{code},"message":"no"}}}}"#);
        table.refused(400, &error);
        let expected = if answers { (1, 1) } else { (2, 0) };
        assert_eq!((table.posted.len(), table.delivered.len()), expected, "{code}");
    }
}

#[test]
fn a_server_that_was_modern_is_not_taken_for_legacy_for_a_page() {
    let mut table = Table::new(None);
    table.says(DISCOVER);
    table.answered(DISCOVERED);
    table.says(MODERN);
    table.refused(404, "<title>Not Found</title>");
    assert_eq!((table.posted.len(), table.delivered.len()), (2, 2));
    // A legacy server's own words are another thing: it was replaced by an older one.
    table.says(&MODERN.replace(":3", ":9"));
    table.refused(400, &MISMATCH.replace("-32020", "-32000"));
    assert_eq!(table.machine(), Machine::Backward);
}

#[test]
fn with_protocol_modern_the_probe_is_translated_too() {
    for old in ["405", "200", "empty", "silence"] {
        let mut table = Table::new(Some(Era::Modern));
        assert_eq!(table.says(DISCOVER), Some(Machine::Stateless));
        match old {
            "405" => table.refused(405, ""),
            "empty" => table.answered(r#"{"jsonrpc":"2.0","id":ID,"result":{}}"#),
            "200" => table.answered(
                r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"unknown"}}"#,
            ),
            _ => {
                let exchange = table.posted[0].0;
                table.on(Event::Elapsed(Timer::Probe(exchange)));
            }
        }
        assert_eq!(table.machine(), Machine::Backward, "{old}");
        assert!(table.delivered.is_empty(), "{old}: {:?}", table.delivered);
        // From then on nothing is tried natively.
        assert_eq!(table.posted.len(), 2);
        table.answered(r#"{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}"#);
        assert!(table.delivered[0].contains("supportedVersions"), "{:?}", table.delivered);
    }
}

#[test]
fn an_initialize_before_a_modern_server_is_translated() {
    for (status, body) in [
        (400, MISMATCH),
        (400, ""),
        (404, r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}"#),
    ] {
        let mut table = Table::new(None);
        assert_eq!(table.says(INITIALIZE), Some(Machine::Session));
        table.refused(status, body);
        assert_eq!(table.machine(), Machine::Forward);
        assert!(table.last_post().contains("server/discover"));
        // What is written ahead waits for the verdict.
        assert_eq!(table.says(NEITHER), None);
        table.answered(DISCOVERED);
        assert!(table.delivered[0].contains(r#""protocolVersion":"2025-11-25""#));
        assert_eq!(table.machine(), Machine::Forward);
        assert!(table.last_post().contains("tools/list"), "{}", table.last_post());
        // Which is remembered: the next one is not tried natively.
        assert_eq!(table.says(&INITIALIZE.replacen(":1", ":6", 1)), Some(Machine::Forward));
    }
}

#[test]
fn an_initialize_that_is_answered_in_the_words_of_the_other_era_too() {
    for words in [
        r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32022,"message":"version"}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"2026-07-28","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}"#,
    ] {
        let mut table = Table::new(None);
        table.says(INITIALIZE);
        table.answered(words);
        assert_eq!(table.machine(), Machine::Forward);
        table.answered(DISCOVERED);
        assert_eq!(table.delivered.len(), 1);
        assert!(table.delivered[0].contains(r#""protocolVersion":"2025-11-25""#));
    }
}

#[test]
fn a_refusal_that_is_no_sign_of_the_era_stays_the_answer() {
    for (status, body) in [
        (401, ""),
        (500, ""),
        (400, r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32050,"message":"no"}}"#),
    ] {
        let mut table = Table::new(Some(Era::Legacy));
        // What the server says to discovery decides, here that it does not know it.
        assert_eq!(table.says(INITIALIZE), Some(Machine::Forward));
        table.refused(405, "");
        assert_eq!(table.machine(), Machine::Session);
        if body.is_empty() {
            table.refused(status, body);
            assert_eq!((table.posted.len(), table.delivered.len()), (2, 1), "{status}");
        }
    }
    let mut table = Table::new(None);
    table.says(INITIALIZE);
    let words = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no such tenant"}}"#;
    table.refused(400, words);
    table.refused(405, "");
    assert_eq!(table.delivered, [words], "the server's own words, once");
    assert!(table.listened.is_empty());
}

#[test]
fn with_protocol_legacy_discovery_comes_first() {
    let mut table = Table::new(Some(Era::Legacy));
    assert_eq!(table.says(INITIALIZE), Some(Machine::Forward));
    table.answered(DISCOVERED);
    assert!(table.delivered[0].contains(r#""protocolVersion":"2025-11-25""#));
    assert_eq!(table.says(NEITHER), Some(Machine::Forward));

    let mut table = Table::new(Some(Era::Legacy));
    table.says(INITIALIZE);
    let exchange = table.posted[0].0;
    table.on(Event::Elapsed(Timer::Probe(exchange)));
    assert_eq!(table.machine(), Machine::Session);
    assert_eq!(table.last_post(), INITIALIZE);
    assert!(table.delivered.is_empty());
}

#[test]
fn the_time_of_a_probe_that_was_answered_says_nothing_of_the_next() {
    let mut table = Table::new(Some(Era::Legacy));
    table.says(INITIALIZE);
    let first = table.posted[0].0;
    table.refused(503, "");
    assert_eq!(table.delivered.len(), 1);
    assert_eq!(table.says(&INITIALIZE.replacen(":1", ":6", 1)), Some(Machine::Forward));
    table.on(Event::Elapsed(Timer::Probe(first)));
    table.refused(503, "");
    assert_eq!((table.posted.len(), table.delivered.len()), (2, 2), "{:?}", table.posted);
}

#[test]
fn an_initialize_that_is_not_taken_by_post_is_given_to_http_sse() {
    for status in [400, 404, 405] {
        let mut table = Table::new(None);
        table.says(INITIALIZE);
        table.says(NEITHER);
        table.refused(status, "Method Not Allowed");
        if status == 400 {
            // It might be modern, with a gateway's words.
            assert_eq!(table.machine(), Machine::Forward);
            table.refused(status, "Bad Request");
        }
        let listened = table.listened[0];
        assert_eq!(Machine::of_exchange(listened), Machine::Channel);
        assert!(!table.conversation.settled(listened));
        // If that is nothing either, both requests are told, and the next begins with POST.
        let end = End::Complete { accepted: false };
        table.on(Event::Ended(listened, end, Position::default()));
        assert_eq!(table.delivered.len(), 2, "{status}: {:?}", table.delivered);
        assert_eq!(table.says(&INITIALIZE.replacen(":1", ":6", 1)), Some(Machine::Session));
        table.refused(status, "");
        assert_eq!(table.listened.len(), 2, "it is known by now that the server does not discover");
    }
}

#[test]
fn what_waits_on_trial_is_cancelled_and_bounded_there() {
    let mut table = Table::new(Some(Era::Legacy));
    table.says(INITIALIZE);
    for id in 10..21 {
        table.says(&NEITHER.replace(":4", &format!(":{id}")));
    }
    assert_eq!(table.delivered.len(), 2, "beyond the limit: {:?}", table.delivered);
    table.says(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":10}}"#);
    table.answered(DISCOVERED);
    let listed = table.posted.iter().filter(|(_, it)| it.contains("tools/list")).count();
    assert_eq!(listed, 8);
}

#[test]
fn it_is_finished_once_all_machines_are() {
    for said in [INITIALIZE, MODERN, DISCOVER, NEITHER] {
        let mut table = Table::new(None);
        table.says(said);
        table.on(Event::ClientClosed);
        assert_eq!(table.finished, 0);
        table.on(Event::Expired);
        assert_eq!((table.finished, table.delivered.len()), (1, 1), "{said}");
    }
    for protocol in [None, Some(Era::Legacy), Some(Era::Modern)] {
        let mut table = Table::new(protocol);
        table.on(Event::ClientClosed);
        table.on(Event::Expired);
        assert_eq!(table.finished, 1);
    }
}

#[test]
fn a_client_that_has_closed_its_input_is_served_in_the_other_era_too() {
    // Session, discovery, HTTP+SSE.
    let mut table = Table::new(None);
    table.says(INITIALIZE);
    table.on(Event::ClientClosed);
    table.refused(400, "");
    assert_eq!(table.machine(), Machine::Forward);
    table.refused(400, "");
    assert_eq!((table.listened.len(), table.finished), (1, 0));
    table.on(Event::Expired);
    assert_eq!((table.finished, table.delivered.len()), (1, 1));

    // Discovery first, then a session.
    let mut table = Table::new(Some(Era::Legacy));
    table.says(INITIALIZE);
    table.says(NEITHER);
    table.on(Event::ClientClosed);
    table.refused(404, "");
    assert_eq!(table.machine(), Machine::Session);
    table.answered(r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32000,"message":"no"}}"#);
    table.answered(r#"{"jsonrpc":"2.0","id":ID,"result":{}}"#);
    assert_eq!((table.finished, table.delivered.len()), (1, 2), "{:?}", table.delivered);

    // A modern client.
    let mut table = Table::new(None);
    table.says(MODERN);
    table.on(Event::ClientClosed);
    table.refused(400, "");
    assert_eq!((table.machine(), table.finished), (Machine::Backward, 0));
    table.refused(500, "");
    assert_eq!((table.finished, table.delivered.len()), (1, 1), "{:?}", table.delivered);
}

#[test]
fn what_is_left_of_a_channel_that_came_to_nothing_is_not_the_next_ones() {
    let mut table = Table::new(None);
    let open = |table: &mut Table| {
        assert_eq!(table.says(INITIALIZE), Some(Machine::Session));
        table.refused(405, "");
        let channel = *table.listened.last().unwrap();
        table.on(Event::Head(channel, None));
        channel
    };
    let first = open(&mut table);
    let end = End::Complete { accepted: false };
    table.on(Event::Ended(first, end, Position::default()));
    assert_eq!(table.delivered.len(), 1);
    let second = open(&mut table);
    assert_ne!(first, second);
    // Its timers run out, and so do those by which it knew what is idle.
    table.on(Event::Elapsed(Timer::Channel(first, Due::Open)));
    for _ in 0..20 {
        table.on(Event::Elapsed(Timer::Channel(ExchangeId(CHANNEL), Due::Beat)));
    }
    assert_eq!(table.delivered.len(), 1, "{:?}", table.delivered);
    table.on(Event::Elapsed(Timer::Channel(second, Due::Open)));
    assert!(table.delivered[1].contains("no endpoint"), "{:?}", table.delivered);
}
