//! What an engine says, and on which of its client's streams that is heard.

#![allow(clippy::unwrap_used)]
use super::*;

fn desk(era: Era) -> Desk {
    Desk::new(era, Backlog::default())
}

fn id(token: &str) -> Id {
    Id::from_token(token).unwrap()
}

type Stream = UnboundedReceiver<Line>;

/// A POST with these ids, the first of which is its progress token too.
fn enter(desk: &Desk, ids: &[&str]) -> (u64, Stream) {
    let ids: Vec<Id> = ids.iter().map(|it| id(it)).collect();
    let post = Post { tokens: ids[..1].to_vec(), ids, names: None };
    desk.enter(post).unwrap()
}

/// A modern request that its client calls `name`, with `meta` besides.
fn enter_as(desk: &Desk, name: &str, method: &str, meta: &str) -> (u64, Stream, Message) {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":{name},"method":"{method}","params":{{"_meta":{{{meta}}}}}}}"#
    );
    let message = Message::parse(Bytes::from(text)).unwrap();
    let number = desk.number();
    let (names, sent) = Names::replace(&message, (&id(name), method), number).unwrap();
    let ids = vec![id(&number.to_string())];
    let tokens = if names.has_token() { ids.clone() } else { Vec::new() };
    let (ticket, stream) = desk.enter(Post { ids, tokens, names: Some(names) }).unwrap();
    (ticket, stream, sent)
}

fn say(desk: &Desk, text: &str) {
    desk.deliver(Bytes::copy_from_slice(text.as_bytes()));
}

fn respond(desk: &Desk, id: &str) {
    say(desk, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
}

fn notify(desk: &Desk, method: &str, params: &str) {
    say(desk, &format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#));
}

/// What lies on a stream, and whether it has ended.
fn heard(stream: &mut Stream) -> (Vec<String>, bool) {
    let mut all = Vec::new();
    loop {
        match stream.try_recv() {
            Ok(line) => all.push(String::from_utf8(line.text.to_vec()).unwrap()),
            Err(error) => {
                return (all, error == tokio::sync::mpsc::error::TryRecvError::Disconnected);
            }
        }
    }
}

/// How many lines lie on each.
fn counts<const N: usize>(streams: [&mut Stream; N]) -> [usize; N] {
    streams.map(|stream| heard(stream).0.len())
}

#[test]
fn an_answer_ends_the_stream_of_its_request_and_no_other() {
    let desk = desk(Era::Legacy);
    let ((_, mut one), (_, mut batch)) = (enter(&desk, &["1"]), enter(&desk, &["\"1\"", "2"]));
    respond(&desk, "\"1\"");
    assert_eq!((heard(&mut batch).1, heard(&mut one)), (false, (Vec::new(), false)));
    respond(&desk, "2");
    assert!(heard(&mut batch).1 && !desk.is_quiet());
    respond(&desk, "1");
    assert!(heard(&mut one).1 && desk.is_quiet());
    respond(&desk, "1");
    say(&desk, "no message");
}

#[test]
fn an_id_is_in_flight_once() {
    let desk = desk(Era::Legacy);
    let (ticket, stream) = enter(&desk, &["1"]);
    let again = || desk.enter(Post { ids: vec![id("1")], tokens: Vec::new(), names: None });
    assert!(again().is_none());
    assert_eq!(desk.leave(ticket, Some(stream)), [id("1")]);
    assert!(again().is_some());
    let twice = Post { ids: vec![id("2"), id("2")], tokens: Vec::new(), names: None };
    assert!(desk.enter(twice).is_none(), "which answer is whose?");
}

#[test]
fn what_is_withdrawn_ends_without_an_answer() {
    let desk = desk(Era::Legacy);
    let (_, mut stream) = enter(&desk, &["1"]);
    desk.withdraw(&id("2"));
    assert!(!heard(&mut stream).1);
    desk.withdraw(&id("1"));
    assert_eq!((heard(&mut stream), desk.is_quiet()), ((Vec::new(), true), true));
}

#[test]
fn in_a_session_a_line_goes_where_its_client_expects_it() {
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{}}"#;
    let changed = |desk: &Desk| notify(desk, "notifications/tools/list_changed", "{}");
    let desk = desk(Era::Legacy);
    // Nobody is there: it is kept for who will listen.
    changed(&desk);
    let (_, mut one) = enter(&desk, &["1"]);
    changed(&desk);
    say(&desk, question);
    assert_eq!(counts([&mut one]), [2], "there is no other stream");
    let (ticket, mut get) = desk.listen();
    assert_eq!(counts([&mut get]), [1], "what was kept");
    changed(&desk);
    say(&desk, question);
    notify(&desk, "notifications/message", "{}");
    assert_eq!(counts([&mut one, &mut get]), [2, 1]);
    let (_, mut two) = enter(&desk, &["2"]);
    notify(&desk, "notifications/progress", r#"{"progressToken":1}"#);
    notify(&desk, "notifications/progress", r#"{"progressToken":"1"}"#);
    say(&desk, question);
    assert_eq!(counts([&mut one, &mut two, &mut get]), [1, 0, 1], "which it is can't be seen");
    desk.leave(ticket, Some(get));
    say(&desk, question);
    changed(&desk);
    assert_eq!(counts([&mut one, &mut two]), [0, 1], "the client takes a question on any");
    let (_, mut get) = desk.listen();
    let (_, mut later) = desk.listen();
    assert!(heard(&mut get).1 && !heard(&mut later).1, "one listens at a time");
}

#[test]
fn what_is_kept_is_bounded() {
    let desk = desk(Era::Legacy);
    for n in 0..=KEPT {
        notify(&desk, "notifications/n", &format!(r#"{{"n":{n}}}"#));
    }
    notify(&desk, "notifications/n", &format!("\"{}\"", "x".repeat(KEPT_LINE)));
    let kept = heard(&mut desk.listen().1).0;
    assert!(kept.len() == KEPT && kept[0].contains(r#"{"n":1}"#), "{}", kept[0]);
}

#[test]
fn modern_requests_have_their_own_names_back() {
    let desk = desk(Era::Modern);
    let token = r#""progressToken":"t""#;
    let (_, mut one, sent) = enter_as(&desk, "7", "tools/call", token);
    let (_, mut two, other) = enter_as(&desk, "7", "tools/call", token);
    let token_of = |message: &Message| {
        let token = edit::member(message.bytes(), &["params", "_meta", "progressToken"]);
        token.unwrap().get().to_owned()
    };
    let (number, token) = (sent.request_ids().next().unwrap().token().to_owned(), token_of(&sent));
    assert_ne!(token, token_of(&other));
    notify(&desk, "notifications/progress", &format!(r#"{{"progressToken":{token}}}"#));
    respond(&desk, &number);
    let (lines, ended) = heard(&mut one);
    assert!(lines[0].contains(r#""progressToken":"t""#), "{lines:?}");
    assert_eq!((&*lines[1], ended), (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, true));
    assert_eq!(counts([&mut two]), [0]);
}

#[test]
fn a_subscription_is_told_by_its_id() {
    let desk = desk(Era::Modern);
    let (_, mut one, sent) = enter_as(&desk, "\"a\"", "subscriptions/listen", "");
    let (_, mut two, _) = enter_as(&desk, "\"a\"", "subscriptions/listen", "");
    let number = sent.request_ids().next().unwrap().token().to_owned();
    let meta = format!(r#""_meta":{{"{SUBSCRIPTION_ID}":{number}}}"#);
    notify(&desk, "notifications/tools/list_changed", &format!("{{{meta}}}"));
    say(&desk, &format!(r#"{{"jsonrpc":"2.0","id":{number},"result":{{{meta}}}}}"#));
    let (lines, ended) = heard(&mut one);
    assert!(ended && lines.len() == 2);
    for line in lines {
        assert!(line.contains(&format!(r#""{SUBSCRIPTION_ID}":"a""#)), "{line}");
    }
    assert_eq!(counts([&mut two]), [0]);
}

#[test]
fn log_messages_go_to_who_asked_for_their_level() {
    use crate::mcp::metadata::LOG_LEVEL;
    let desk = desk(Era::Modern);
    let level = |level: &str| format!(r#""{LOG_LEVEL}":"{level}""#);
    let (_, mut info, _) = enter_as(&desk, "1", "tools/call", &level("info"));
    let (_, mut error, _) = enter_as(&desk, "2", "tools/call", &level("error"));
    let (_, mut none, _) = enter_as(&desk, "3", "tools/call", "");
    for level in ["debug", "warning", "alert"] {
        notify(&desk, "notifications/message", &format!(r#"{{"level":"{level}"}}"#));
    }
    assert_eq!(counts([&mut info, &mut error, &mut none]), [2, 1, 0]);
}
