//! How long engines live, and how many there are.

#![allow(clippy::unwrap_used)]
use bytes::Bytes;

use super::*;
use crate::{
    failure::{Failure, Stage},
    sidecar::{drain, translate::settings},
};

fn nowhere() -> HttpService {
    HttpService::new(service_fn(|_: Request| async {
        Err(Failure::new(Stage::Connect, "nowhere to go"))
    }))
}

fn session(id: &str) -> Name {
    Name::Session(Key::of(&http::HeaderValue::try_from(id).unwrap()))
}

struct All {
    all: Arc<Interpreters>,
    drain: Drain,
    leave: drain::Leave,
}

impl All {
    fn new() -> Self {
        let (drain, leave) = drain::new();
        Self { all: Arc::default(), drain, leave }
    }

    fn begin(&self, id: &str, owner: &Caller) -> Result<Arc<Interpreter>, Refusal> {
        let way = (&settings(), &nowhere());
        self.all.begin(session(id), way, (Era::Legacy, owner), &self.drain)
    }
}

fn initialize() -> Message {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    Message::parse(Bytes::from_static(text.as_bytes())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_uses_is_gone_after_a_while() {
    let here = All::new();
    let (alice, bob) = (Caller::User(1), Caller::User(2));
    let used = here.begin("used", &alice).unwrap();
    here.begin("idle", &alice).unwrap();
    let listening = here.begin("listened to", &bob).unwrap().listen();
    assert!(here.all.find(&session("idle"), &bob).is_none(), "it is another's");
    for _ in 0..3 {
        tokio::time::sleep(IDLE / 2).await;
        used.take(initialize(), None);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!here.all.knows(&session("idle")));
    assert!(here.all.find(&session("used"), &alice).is_some());
    assert!(here.all.find(&session("listened to"), &bob).is_some());
    drop(listening);
    tokio::time::sleep(IDLE + ENDING).await;
    assert_eq!(here.all.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_has_most_makes_room_and_what_is_in_use_stays() {
    let here = All::new();
    let (alice, bob) = (Caller::User(1), Caller::User(2));
    here.begin("of alice", &alice).unwrap();
    let mut held = Vec::new();
    for n in 1..MOST {
        tokio::time::advance(Duration::from_millis(1)).await;
        let interpreter = here.begin(&n.to_string(), &bob).unwrap();
        if n != 2 {
            held.push(interpreter.listen());
        }
    }
    here.begin("one more", &bob).unwrap();
    assert_eq!(here.all.len(), MOST);
    assert!(here.all.knows(&session("of alice")) && here.all.knows(&session("1")));
    assert!(!here.all.knows(&session("2")), "the only one of his that nothing waits for");
    held.push(here.all.find(&session("one more"), &bob).unwrap().listen());
    held.push(here.all.find(&session("of alice"), &alice).unwrap().listen());
    assert!(matches!(here.begin("too many", &bob), Err(Refusal::Busy(_))));
}

#[tokio::test(start_paused = true)]
async fn who_has_most_neither_ends_those_of_others_nor_keeps_others_out() {
    let here = All::new();
    let (alice, bob, carol) = (Caller::User(1), Caller::User(2), Caller::User(3));
    here.begin("of alice", &alice).unwrap();
    let listen = |n: usize| here.begin(&n.to_string(), &bob).unwrap().listen();
    let _all_but_one: Vec<_> = (2..MOST).map(listen).collect();
    let asked = here.begin("asked", &bob).unwrap();
    let post = Post { ids: vec![Id::from_token("1").unwrap()], tokens: vec![], names: None };
    let _reply = asked.ask(post, initialize(), None).unwrap();
    assert_eq!(here.all.len(), MOST);
    assert!(matches!(here.begin("too many", &bob), Err(Refusal::Busy(_))));
    here.begin("of carol", &carol).unwrap();
    for kept in ["of alice", "of carol", "asked"] {
        assert!(here.all.knows(&session(kept)), "{kept}");
    }
    assert_eq!(here.all.len(), MOST);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dismissed_answers_and_ends() {
    let here = All::new();
    let interpreter = here.begin("it", &Caller::Anyone).unwrap();
    let post = || Post { ids: vec![Id::from_token("1").unwrap()], tokens: vec![], names: None };
    let mut reply = interpreter.ask(post(), initialize(), None).unwrap();
    assert!(interpreter.ask(post(), initialize(), None).is_none());
    interpreter.dismiss();
    let said = reply.next().await.unwrap();
    assert!(said.last && said.text.starts_with(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"error\""));
    assert!(reply.next().await.is_none());
    tokio::time::sleep(ENDING).await;
    assert_eq!(here.all.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_is_waited_for_is_waited_for() {
    let All { all, drain, mut leave } = All::new();
    let way = (&settings(), &nowhere());
    let begin = |id: &str| {
        let whose = (Era::Legacy, &Caller::Anyone);
        all.begin(session(id), way, whose, &drain).unwrap()
    };
    let reply = begin("in use").listen();
    begin("idle");
    drop(drain);
    leave.say();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(all.len(), 1);
    drop(reply);
    leave.finished().await;
    assert_eq!(all.len(), 0);
}
