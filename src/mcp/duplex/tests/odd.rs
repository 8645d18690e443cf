//! Batches, ids that come twice, what is given up half way, and servers that do things in another order.

use super::*;

const CANCEL: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":ID}}"#;

fn refused_with(status: u16, body: &str) -> End {
    let End::Refused(refusal) = refused(status) else { panic!("it is one") };
    let body = Bytes::copy_from_slice(body.as_bytes());
    End::Refused(Box::new(Refusal { body, ..*refusal }))
}

/// A refusal of a POST that answers all of the requests in it but the first of several.
pub(super) fn refused_in_words(posted: &Message) -> End {
    let ids: Vec<String> = posted.request_ids().map(|id| id.token().to_owned()).collect();
    let answered = ids.iter().skip(usize::from(ids.len() > 1));
    let answers: Vec<String> = answered.map(|id| error(id.parse().unwrap_or(0))).collect();
    refused_with(400, &format!("[{}]", answers.join(",")))
}

fn error(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32600,"message":"no"}}}}"#)
}

fn cancel(id: u32) -> String {
    CANCEL.replace("ID", &id.to_string())
}

#[test]
fn a_batch_that_is_refused_in_words_of_its_own_has_each_answer_once() {
    let both = format!("[{},{}]", call(1), call(2));
    let mut table = Table::sse().ready();
    let post = post_of(&table.client(&both));
    let did = table.end(post, refused_with(400, &format!("[{},{}]", error(1), error(2))));
    assert_eq!(did, [Did::Deliver(error(1)), Did::Deliver(error(2))]);
    // The words may be for the second alone.
    let mut table = Table::sse().ready();
    let post = post_of(&table.client(&both));
    let did = table.end(post, refused_with(400, &error(2)));
    assert_eq!((did.len(), &did[0]), (2, &Did::Deliver(error(2))));
    says(&did, 1, "without answering the request");
}

#[test]
fn an_initialize_may_be_answered_in_a_batch() {
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
    for mut table in [Table::sse(), Table::websocket()] {
        table.client(INITIALIZE);
        table.open("/m");
        let agreed = AGREED.replace("ID", "0");
        let did = table.server(&format!("[{progress},{agreed}]"));
        assert_eq!(did, [Did::Deliver(progress.into()), Did::Deliver(agreed)]);
        let did = table.client(&call(1));
        assert!(matches!(did[..], [Did::Post(..) | Did::Send(_)]), "{did:?}");
        // And so may our own.
        table.lose();
        table.open("/m");
        let own = format!("\"countersign-{}\"", table.duplex.epoch);
        let did = table.server(&format!("[{}]", AGREED.replace("ID", &own)));
        assert!(format!("{did:?}").contains("list_changed"), "{did:?}");
    }
}

#[test]
fn an_initialize_that_the_client_gives_up_leaves_nothing_to_wait_for() {
    for mut table in [Table::sse(), Table::websocket()] {
        table.client(INITIALIZE);
        table.open("/m");
        table.client(&call(1));
        let did = table.client(&cancel(0));
        says(&did, 1, "gave up opening the session");
        assert!(matches!(did[0], Did::Cancel(_) | Did::Close), "{did:?}");
        let did = table.client(&INITIALIZE.replace(":0,", ":7,"));
        assert!(matches!(did[..], [Did::Listen(_) | Did::Connect(_)]), "{did:?}");
    }
}

#[test]
fn a_batch_of_which_all_is_cancelled_is_not_sent() {
    let mut table = Table::websocket();
    table.client(&format!("[{},{}]", call(1), call(2)));
    assert_eq!(table.client(&cancel(1)), []);
    assert_eq!(table.client(&cancel(2)), []);
    assert_eq!(table.open(""), []);
}

#[test]
fn an_id_that_is_used_again_is_not_mistaken_for_what_it_was_before() {
    let broke = || broken(Stage::Send);
    for end in [broke(), refused(404), refused(500), refused_with(400, &error(1)), ACCEPTED] {
        let mut table = Table::sse().ready();
        let first = post_of(&table.client(&call(1)));
        assert_eq!(table.server(&result(1)), [Did::Deliver(result(1))]);
        let second = post_of(&table.client(&call(1)));
        let told = format!("{end:?}");
        let did = table.end(first, end);
        let answered = did.iter().any(|it| matches!(it, Did::Deliver(_) | Did::Post(..)));
        assert!(!answered || told.contains("404"), "{told}: {did:?}");
        // The session of the refused one is gone, and what became of the other is not known yet.
        if told.contains("404") {
            says(&table.end(second, broke()), 1, "outcome unknown");
        } else {
            assert_eq!(table.server(&result(1)), [Did::Deliver(result(1))]);
        }
    }
    // What waits to be sent is not answered by a repeated answer to its id.
    let mut table = Table::websocket().ready();
    table.client(&call(1));
    table.server(&result(1));
    table.lose();
    table.client(&call(1));
    table.open("");
    assert_eq!(table.server(&result(1)), []);
    let own = format!("\"countersign-{}\"", table.duplex.epoch);
    let did = table.server(&AGREED.replace("ID", &own));
    assert!(did.contains(&Did::Send(call(1))), "{did:?}");
    assert_eq!(table.server(&result(1)), [Did::Deliver(result(1))]);
}

#[test]
fn a_post_that_is_answered_late_does_not_end_a_call_that_progresses() {
    let mut table = Table::sse().ready();
    let post = post_of(&table.client(&call(1)));
    assert_eq!(table.end(post, End::Idle(IDLE)), []);
    assert_eq!(table.server(&result(1)), [Did::Deliver(result(1))]);
    // One that does not is given up on both sides.
    let post = post_of(&table.client(&call(2)));
    assert_eq!(table.end(post, End::Idle(IDLE)), []);
    let beat = || Event::Elapsed(Timer::Channel(ExchangeId(1 << 62), Due::Beat));
    let did: Vec<Did> = (0..9).flat_map(|_| table.on(beat())).collect();
    says(&did, 2, "sent no byte for 1m 20s");
    assert!(format!("{did:?}").contains("notifications/cancelled"), "{did:?}");
}

#[test]
fn a_session_that_is_ended_for_its_endpoint_does_not_hide_that_calls_may_have_run() {
    let mut table = Table::sse().ready();
    let post = post_of(&table.client(&call(1)));
    table.end(post, ACCEPTED);
    let (channel, reference) = (table.channel(), Bytes::from_static(b"https://evil.example/m"));
    let (carried, secrets) = (Arc::new([]), Arc::new([]));
    let did = table.on(Event::Endpoint(channel, Endpoint { reference, carried, secrets }));
    says(&did, 1, "outcome unknown: https://gw.example wants messages posted to https://evil");
    says(&did, 1, "may have run");
}
