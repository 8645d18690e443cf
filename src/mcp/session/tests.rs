//! The session as tables: what comes in, what must go out.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Command, End, Event, ExchangeId, Limits, Position, Session, Timer};
use crate::{
    failure::{Failure, Stage},
    mcp::{message::Message, refusal::Refusal},
};

const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const AGREED: &str = r#"{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}}}}"#;

fn message(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn call(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"n":{id}}}}}"#)
}

fn result(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

fn refused(status: u16, body: &str) -> End {
    End::Refused(Box::new(Refusal {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        carried: Arc::new([]),
        presented: None,
    }))
}

fn broken(stage: Stage) -> End {
    End::Broken(Failure::new(stage, "it broke"))
}

/// What a command was, for comparison.
#[derive(Debug, PartialEq)]
enum Did {
    Post(ExchangeId, String, Option<String>),
    Listen(ExchangeId, Option<String>, Duration),
    Deliver(String),
    Cancel,
    After(Timer),
    End,
    Finished,
}

struct Table {
    session: Session,
    epoch: u64,
}

impl Table {
    fn new() -> Self {
        let limits = Limits { in_flight: 4, idle: Duration::from_secs(300) };
        Self { session: Session::new("https://gw", limits), epoch: 0 }
    }

    fn on(&mut self, event: Event) -> Vec<Did> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let commands = self.session.handle(event);
        commands
            .into_iter()
            .map(|command| match command {
                Command::Post { exchange, body, context, .. } => {
                    let session = context.session.map(|s| s.to_str().unwrap().to_owned());
                    Did::Post(exchange, text(body), session)
                }
                Command::Listen { exchange, resume, after, .. } => {
                    Did::Listen(exchange, resume.map(text), after)
                }
                Command::Deliver(line) => Did::Deliver(text(line)),
                Command::Cancel(_) => Did::Cancel,
                Command::After(_, timer) => Did::After(timer),
                Command::End(_) => Did::End,
                Command::Finished => Did::Finished,
                Command::Connect(_) | Command::Send(..) | Command::Close(_) => {
                    panic!("{command:?}")
                }
            })
            .collect()
    }

    fn client(&mut self, text: &str) -> Vec<Did> {
        self.on(Event::FromClient(message(text)))
    }

    fn server(&mut self, exchange: ExchangeId, text: &str) -> Vec<Did> {
        self.on(Event::FromServer(exchange, message(text)))
    }

    fn end(&mut self, exchange: ExchangeId, end: End) -> Vec<Did> {
        self.on(Event::Ended(exchange, end, Position::default()))
    }

    /// Answers an `initialize` that was posted on `exchange` under the id `token`.
    fn agree(&mut self, exchange: ExchangeId, token: &str, session: &'static str) -> Vec<Did> {
        self.on(Event::Head(exchange, Some(HeaderValue::from_static(session))));
        let did = self.server(exchange, &AGREED.replace("ID", token));
        self.end(exchange, End::Complete { accepted: false });
        did
    }

    /// A session that stands, without a GET stream.
    fn ready() -> Self {
        let mut table = Self::new();
        let exchange = posted(&table.client(INITIALIZE));
        table.agree(exchange, "0", "s1");
        let exchange = posted(&table.client(INITIALIZED));
        let did = table.end(exchange, End::Complete { accepted: true });
        let Some(Did::Listen(stream, None, Duration::ZERO)) = did.first() else {
            panic!("no GET after initialized: {did:?}")
        };
        assert_eq!(table.end(*stream, refused(405, "")), []);
        table.epoch = 1;
        table
    }

    /// The replacement handshake from the own `initialize` to the end of the GET.
    fn reopen(&mut self, did: &[Did], session: &'static str) -> Vec<Did> {
        self.epoch += 1;
        let exchange = posted(did);
        let token = format!("\"countersign-{}\"", self.epoch);
        assert!(did.iter().any(|d| matches!(d, Did::Post(_, body, None) if body.contains(&token))));
        let mut all = self.agree(exchange, &token, session);
        let confirm = posted(&all);
        let listening = self.end(confirm, End::Complete { accepted: true });
        let Some(Did::Listen(stream, ..)) = listening.first() else { panic!("{listening:?}") };
        all.extend(self.end(*stream, refused(405, "")));
        all
    }
}

fn posted(did: &[Did]) -> ExchangeId {
    match did.iter().find(|did| matches!(did, Did::Post(..))) {
        Some(Did::Post(exchange, ..)) => *exchange,
        _ => panic!("nothing was posted: {did:?}"),
    }
}

fn delivered(did: &[Did]) -> Vec<&str> {
    did.iter()
        .filter_map(|did| match did {
            Did::Deliver(line) => Some(line.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_call_carries_the_session_and_is_answered_once() {
    let mut table = Table::ready();
    let did = table.client(&call(1));
    assert!(matches!(&did[..], [Did::Post(_, body, Some(s))] if *body == call(1) && s == "s1"));
    let exchange = posted(&did);
    assert_eq!(table.server(exchange, &result(1)), [Did::Deliver(result(1))]);
    assert_eq!(table.server(exchange, &result(1)), [], "a second answer is dropped");
    assert_eq!(table.end(exchange, End::Complete { accepted: false }), []);
}

#[test]
fn calls_wait_for_the_event_stream_and_no_longer_than_its_time() {
    let mut table = Table::new();
    let exchange = posted(&table.client(INITIALIZE));
    table.agree(exchange, "0", "s1");
    let confirm = posted(&table.client(INITIALIZED));
    assert_eq!(table.client(&call(1)), [], "held while initialized is in flight");
    let did = table.end(confirm, End::Complete { accepted: true });
    assert!(matches!(did[..], [Did::Listen(..), Did::After(Timer::Stream(1))]));
    assert_eq!(table.client(&call(2)), [], "held until the stream's head");
    let did = table.on(Event::Elapsed(Timer::Stream(1)));
    assert!(matches!(&did[..], [Did::Post(_, a, _), Did::Post(_, b, _)]
        if *a == call(1) && *b == call(2)));
}

#[test]
fn a_handshake_written_ahead_of_its_answers_is_carried_out_in_order() {
    let mut table = Table::new();
    let exchange = posted(&table.client(INITIALIZE));
    for line in [INITIALIZED, &call(1)] {
        assert_eq!(table.client(line), [], "held while initialize is in flight");
    }
    let did = table.agree(exchange, "0", "s1");
    assert!(matches!(&did[..], [Did::Deliver(_), Did::Post(_, body, _), Did::After(_)]
        if body == INITIALIZED));
    let Did::Post(confirm, ..) = did[1] else { panic!("{did:?}") };
    let did = table.end(confirm, End::Complete { accepted: true });
    assert!(matches!(did[..], [Did::Listen(..), Did::After(Timer::Stream(1))]));
    let did = table.on(Event::Elapsed(Timer::Stream(1)));
    assert!(matches!(&did[..], [Did::Post(_, body, _)] if *body == call(1)));
}

#[test]
fn a_lost_session_is_replaced_once_and_the_calls_are_sent_again() {
    for shape in [
        refused(404, ""),
        refused(400, r#"{"error":{"message":"Bad Request: No valid session ID provided"}}"#),
        refused(401, "Unauthorized: Session not found"),
    ] {
        let mut table = Table::ready();
        let first = posted(&table.client(&call(1)));
        let second = posted(&table.client(&call(2)));
        let did = table.end(first, shape);
        assert_eq!(table.end(second, refused(404, "")), [], "one new session for both");
        let did = table.reopen(&did, "s2");
        assert!(delivered(&did)[0].contains("notifications/tools/list_changed"));
        let again: Vec<_> = did
            .iter()
            .filter(|d| matches!(d, Did::Post(_, body, Some(s)) if s == "s2" && body.contains("tools/call")))
            .collect();
        assert_eq!(again.len(), 2, "{did:?}");
    }
}

#[test]
fn a_session_lost_in_a_200_is_replaced_and_the_error_is_not_shown() {
    let error = r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}"#;
    let mut table = Table::ready();
    let exchange = posted(&table.client(&call(1)));
    let did = table.server(exchange, error);
    assert_eq!(delivered(&did), Vec::<&str>::new());
    let did = table.reopen(&did, "s2");
    assert!(did.iter().any(|d| matches!(d, Did::Post(_, body, _) if *body == call(1))));
}

#[test]
fn a_call_that_is_refused_in_the_new_session_too_is_answered() {
    let mut table = Table::ready();
    let exchange = posted(&table.client(&call(1)));
    let did = table.end(exchange, refused(404, ""));
    let did = table.reopen(&did, "s2");
    let again = did.iter().find_map(|did| match did {
        Did::Post(exchange, body, _) if *body == call(1) => Some(*exchange),
        _ => None,
    });
    let did = table.end(again.unwrap(), refused(404, ""));
    assert!(
        matches!(delivered(&did)[..], [line] if line.contains("\"id\":1") && line.contains("404"))
    );
}

#[test]
fn what_may_have_run_is_answered_outcome_unknown_and_not_sent_again() {
    let mut table = Table::ready();
    for end in [broken(Stage::Send), broken(Stage::Response)] {
        let exchange = posted(&table.client(&call(1)));
        let did = table.end(exchange, end);
        assert!(matches!(&did[..], [Did::Deliver(line)] if line.contains("outcome unknown")));
    }
    let exchange = posted(&table.client(&call(1)));
    let did = table.end(exchange, broken(Stage::Connect));
    assert!(matches!(&did[..], [Did::Deliver(line)] if !line.contains("unknown")), "{did:?}");
}

#[test]
fn a_stream_with_a_position_is_continued_by_get_after_its_retry() {
    let mut table = Table::ready();
    let exchange = posted(&table.client(&call(1)));
    let position = Position {
        last_id: Some(Bytes::from_static(b"e1")),
        retry: Some(Duration::from_millis(700)),
        progressed: true,
    };
    let did = table.on(Event::Ended(exchange, End::Complete { accepted: false }, position));
    assert_eq!(did, [Did::Listen(exchange, Some("e1".into()), Duration::from_millis(700))]);
    assert_eq!(table.server(exchange, &result(1)), [Did::Deliver(result(1))]);
}

#[test]
fn a_stream_that_is_continued_for_ever_is_given_up_at_the_idle_limit() {
    let mut table = Table::ready();
    let exchange = posted(&table.client(&call(1)));
    let position = Position { last_id: Some(Bytes::from_static(b"e1")), ..Position::default() };
    let mut rounds = 0;
    let did = loop {
        let end = End::Complete { accepted: false };
        let did = table.on(Event::Ended(exchange, end, position.clone()));
        if !matches!(did[..], [Did::Listen(..)]) {
            break did;
        }
        rounds += 1;
    };
    assert_eq!(rounds, 300, "a second apart, for five minutes");
    assert!(matches!(&did[..], [Did::Post(_, cancel, _), Did::Deliver(line)]
        if cancel.contains("notifications/cancelled") && line.contains("--idle-timeout")));
}

#[test]
fn a_refused_continuation_is_outcome_unknown() {
    let mut table = Table::ready();
    let exchange = posted(&table.client(&call(1)));
    let position = Position { last_id: Some(Bytes::from_static(b"e1")), ..Position::default() };
    table.on(Event::Ended(exchange, broken(Stage::Response), position));
    let did = table.end(exchange, refused(405, ""));
    assert!(matches!(&did[..], [Did::Deliver(line)] if line.contains("outcome unknown")));
}

#[test]
fn an_upstream_that_is_down_fails_each_call_and_is_tried_again_by_the_next() {
    let mut table = Table::ready();
    let exchange = posted(&table.client(&call(1)));
    let own = posted(&table.end(exchange, refused(404, "")));
    table.epoch += 1;
    let did = table.end(own, broken(Stage::Connect));
    assert!(matches!(&did[..], [Did::Deliver(line)] if line.contains("it broke")), "{did:?}");
    let did = table.client(&call(2));
    let did = table.reopen(&did, "s3");
    assert!(did.iter().any(|d| matches!(d, Did::Post(_, body, _) if *body == call(2))));
}

#[test]
fn an_idle_call_is_cancelled_on_both_sides() {
    let mut table = Table::ready();
    let exchange = posted(&table.client(&call(1)));
    let did = table.end(exchange, End::Idle(Duration::from_secs(300)));
    assert!(
        matches!(&did[..], [Did::Post(_, cancel, _), Did::Deliver(line)]
        if cancel.contains(r#""requestId":1"#) && line.contains("5m")),
        "{did:?}"
    );
}

#[test]
fn the_servers_own_error_body_is_the_answer_where_it_names_the_request() {
    let mut table = Table::ready();
    let own = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}"#;
    let exchange = posted(&table.client(&call(1)));
    assert_eq!(table.end(exchange, refused(400, own)), [Did::Deliver(own.into())]);
    let exchange = posted(&table.client(&call(2)));
    let unnamed = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"no"}}"#;
    let did = table.server(exchange, unnamed);
    assert!(
        matches!(delivered(&did)[..], [line] if line.contains(r#""id":2,"error":{"code":-32602"#))
    );
}

#[test]
fn an_answer_to_a_question_of_the_old_session_does_not_reach_the_new() {
    let mut table = Table::ready();
    let exchange = posted(&table.client(&call(1)));
    let question = r#"{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{}}"#;
    assert_eq!(table.server(exchange, question), [Did::Deliver(question.into())]);
    let other = posted(&table.client(&call(2)));
    let did = table.end(other, refused(404, ""));
    assert!(delivered(&did)[0].contains(r#""requestId":5"#), "the question is withdrawn");
    table.reopen(&did, "s2");
    assert_eq!(table.client(r#"{"jsonrpc":"2.0","id":5,"result":{}}"#), []);
    assert_eq!(table.client(r#"{"jsonrpc":"2.0","id":6,"result":{}}"#).len(), 1);
}

#[test]
fn doubled_and_too_many_requests_are_refused_one_by_one() {
    let mut table = Table::ready();
    for id in 1..=4 {
        posted(&table.client(&call(id)));
    }
    assert!(
        matches!(&table.client(&call(1))[..], [Did::Deliver(line)] if line.contains("already in flight"))
    );
    assert!(
        matches!(&table.client(&call(9))[..], [Did::Deliver(line)] if line.contains("more than 4"))
    );
}

#[test]
fn a_batch_travels_whole_and_each_of_its_requests_is_answered() {
    let mut table = Table::ready();
    let batch = format!("[{},{}]", call(1), call(2));
    let exchange = posted(&table.client(&batch));
    let answer = format!("[{}]", result(1));
    assert_eq!(table.server(exchange, &answer), [Did::Deliver(answer.clone())]);
    let did = table.end(exchange, End::Complete { accepted: false });
    assert!(matches!(delivered(&did)[..], [line] if line.contains(r#""id":2"#)));
}

/// A server's own words for a refused batch are answers as any other: one for each request, none for
/// what was cancelled or never asked.
#[test]
fn a_batch_that_is_refused_in_words_is_answered_once_each() {
    let mut table = Table::ready();
    let batch = format!("[{},{},{}]", call(1), call(2), call(3));
    let exchange = posted(&table.client(&batch));
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#;
    posted(&table.client(cancel));
    let error =
        |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32600,"message":"no"}}}}"#);
    let said = format!("[{},{},{},{}]", error(1), error(1), error(2), error(9));
    let did = table.end(exchange, refused(400, &said));
    let lines = delivered(&did);
    assert!(matches!(lines[..], [one, three] if *one == error(1) && three.contains(r#""id":3"#)));
}

#[test]
fn a_request_that_the_client_cancelled_is_not_answered_by_us() {
    let mut table = Table::ready();
    let exchange = posted(&table.client(&call(1)));
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    posted(&table.client(cancel));
    assert_eq!(table.end(exchange, broken(Stage::Response)), []);
}

#[test]
fn the_end_of_input_waits_for_answers_and_then_ends_the_session() {
    let mut table = Table::ready();
    let exchange = posted(&table.client(&call(1)));
    assert_eq!(table.on(Event::ClientClosed), []);
    let did = table.server(exchange, &result(1));
    assert_eq!(did, [Did::Deliver(result(1)), Did::End, Did::Finished]);
}

#[test]
fn what_is_still_open_when_time_is_up_is_answered() {
    let mut table = Table::ready();
    posted(&table.client(&call(1)));
    table.on(Event::ClientClosed);
    let did = table.on(Event::Expired);
    assert!(matches!(&did[..], [Did::Deliver(_), Did::Cancel, Did::End, Did::Finished]), "{did:?}");
}

#[test]
fn a_stream_that_breaks_is_opened_again_and_a_404_then_means_a_lost_session() {
    let mut table = Table::new();
    let exchange = posted(&table.client(INITIALIZE));
    table.agree(exchange, "0", "s1");
    let confirm = posted(&table.client(INITIALIZED));
    let did = table.end(confirm, End::Complete { accepted: true });
    let Did::Listen(stream, ..) = did[0] else { panic!("{did:?}") };
    assert_eq!(table.on(Event::Head(stream, None)), []);
    let did = table.end(stream, broken(Stage::Response));
    assert_eq!(did, [Did::Listen(stream, None, Duration::from_secs(1))]);
    let did = table.end(stream, refused(404, ""));
    assert!(
        did.iter().any(|d| matches!(d, Did::Post(_, body, None) if body.contains("countersign-2")))
    );
}

#[test]
fn a_404_to_the_first_get_is_a_server_without_a_stream() {
    let mut table = Table::new();
    let exchange = posted(&table.client(INITIALIZE));
    table.agree(exchange, "0", "s1");
    let confirm = posted(&table.client(INITIALIZED));
    let did = table.end(confirm, End::Complete { accepted: true });
    let Did::Listen(stream, ..) = did[0] else { panic!("{did:?}") };
    assert_eq!(table.end(stream, refused(404, "Cannot GET /mcp")), []);
    posted(&table.client(&call(1)));
}

#[test]
fn a_failed_initialize_is_answered_and_may_be_tried_again() {
    let mut table = Table::new();
    let exchange = posted(&table.client(INITIALIZE));
    let did = table.end(exchange, broken(Stage::Tls));
    assert!(matches!(delivered(&did)[..], [line] if line.contains(r#""id":0"#)));
    posted(&table.client(INITIALIZE));
}

#[test]
fn a_question_on_the_stream_of_initialize_gets_its_answer_at_once() {
    for session in [None, Some("s1")] {
        let mut table = Table::new();
        let exchange = posted(&table.client(INITIALIZE));
        if let Some(session) = session {
            table.on(Event::Head(exchange, Some(HeaderValue::from_static(session))));
        }
        let question = r#"{"jsonrpc":"2.0","id":"q","method":"ping"}"#;
        assert_eq!(table.server(exchange, question), [Did::Deliver(question.into())]);
        let answer = r#"{"jsonrpc":"2.0","id":"q","result":{}}"#;
        let did = table.client(answer);
        assert!(matches!(&did[..], [Did::Post(_, body, sent)]
            if body == answer && sent.as_deref() == session));
    }
}
