//! Channels that are lost, and what becomes of what was on them.

use super::*;

#[test]
fn a_lost_channel_answers_what_was_sent_and_the_handshake_is_repeated_on_the_next() {
    let mut table = Table::sse().ready();
    let accepted = post_of(&table.client(&call(1)));
    table.end(accepted, ACCEPTED);
    let running = post_of(&table.client(&call(2)));
    let unsent = post_of(&table.client(&call(3)));
    let did = table.lose();
    says(&did, 1, "outcome unknown");
    assert!(matches!(did[..], [Did::Deliver(_), Did::Listen(_)]), "{did:?}");
    says(&table.end(running, ACCEPTED), 2, "outcome unknown");
    assert_eq!(table.end(unsent, broken(Stage::Connect)), [], "it goes out on the next channel");
    let did = table.recover("/m?s=2");
    assert!(
        matches!(&did[..], [Did::Deliver(list), Did::Post(_, initialized, _), Did::Post(_, again, to)]
        if list.contains("notifications/tools/list_changed") && initialized == INITIALIZED
        && *again == call(3) && to.ends_with("/m?s=2")),
        "{did:?}"
    );
    assert_eq!(table.server(&result(3)), [Did::Deliver(result(3))]);
    assert_eq!(table.server(&result(1)), [], "it was answered");
}

#[test]
fn our_own_initialize_has_an_id_of_our_own_and_its_answer_stays_here() {
    let mut table = Table::websocket().ready();
    table.lose();
    let did = table.open("");
    let own = INITIALIZE.replace(":0,", ":\"countersign-3\",");
    assert_eq!(did, [Did::Send(own)]);
    let did = table.server(&AGREED.replace("ID", "\"countersign-3\""));
    assert!(
        matches!(&did[..], [Did::Deliver(list), Did::Send(initialized)]
        if list.contains("list_changed") && initialized == INITIALIZED),
        "{did:?}"
    );
}

#[test]
fn channels_that_do_not_last_are_opened_after_longer_and_longer_pauses() {
    let mut table = Table::sse().ready();
    let did = table.lose();
    assert!(matches!(did[..], [Did::Listen(_)]), "at once for the first: {did:?}");
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(table.lose(), [Did::Reopen(Duration::from_secs(pause))]);
        let timer = table.reopen.unwrap();
        assert!(matches!(table.on(Event::Elapsed(timer))[..], [Did::Listen(_)]));
        assert_eq!(table.on(Event::Elapsed(timer)), [], "once");
    }
    table.recover("/m");
    let channel = table.channel();
    table.on(Event::Elapsed(Timer::Channel(channel, Due::Lasting)));
    assert!(matches!(table.lose()[..], [Did::Listen(_)]));
}

#[test]
fn a_call_does_not_wait_for_the_pause_and_fails_with_the_attempt() {
    let mut table = Table::sse().ready();
    table.lose();
    table.lose();
    assert!(matches!(table.client(&call(1))[..], [Did::Listen(_)]));
    let channel = table.channel();
    let did = table.end(channel, broken(Stage::Connect));
    says(&did, 1, "it broke");
    assert!(!format!("{did:?}").contains("unknown"), "it was never sent");
}

#[test]
fn a_session_that_the_endpoint_does_not_know_is_replaced_and_the_call_sent_again_once() {
    let mut table = Table::sse().ready();
    let post = post_of(&table.client(&call(1)));
    let did = table.end(post, refused(404));
    assert!(matches!(did[..], [Did::Cancel(_), Did::Listen(_)]), "{did:?}");
    let did = table.recover("/m?s=2");
    let Some(Did::Post(again, body, _)) = did.last() else { panic!("{did:?}") };
    assert_eq!(*body, call(1));
    says(&table.end(*again, refused(404)), 1, "lost the session again");
}

#[test]
fn questions_of_the_server_pass_and_are_withdrawn_with_their_channel() {
    let mut table = Table::websocket().ready();
    let question = r#"{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{}}"#;
    let answer = r#"{"jsonrpc":"2.0","id":5,"result":{}}"#;
    assert_eq!(table.server(question), [Did::Deliver(question.into())]);
    assert_eq!(table.client(answer), [Did::Send(answer.into())]);
    table.server(question);
    let did = table.lose();
    assert!(
        matches!(&did[..], [Did::Deliver(line), Did::Connect(_)]
        if line.contains(r#""requestId":5"#)),
        "{did:?}"
    );
    table.recover("");
    assert_eq!(table.client(answer), []);
}

#[test]
fn a_client_without_a_session_is_carried_as_it_is() {
    let mut table = Table::websocket();
    assert!(matches!(table.client(&call(1))[..], [Did::Connect(_)]));
    assert_eq!(table.open(""), [Did::Send(call(1))]);
    let listens = r#"{"jsonrpc":"2.0","id":9,"method":"subscriptions/listen"}"#;
    table.client(listens);
    let did = table.lose();
    says(&did, 1, "outcome unknown");
    says(&did, 9, "the subscription ended");
    assert_eq!(did.len(), 2, "nothing to listen to: {did:?}");
    assert!(matches!(table.client(&call(2))[..], [Did::Connect(_)]));
}

#[test]
fn a_second_initialize_opens_another_channel() {
    let mut table = Table::sse().ready();
    let post = post_of(&table.client(&call(1)));
    table.end(post, ACCEPTED);
    let did = table.client(&INITIALIZE.replace(":0,", ":7,"));
    says(&did, 1, "outcome unknown");
    assert!(matches!(did[..], [Did::Cancel(_), Did::Deliver(_), Did::Listen(_)]), "{did:?}");
    let did = table.open("/m?s=2");
    assert!(matches!(&did[..], [Did::Post(_, body, _)] if body.contains(":7,")), "{did:?}");
}
