//! What holds whatever stands between: one answer for each request, no call made twice, credentials on
//! all that is sent, and nothing of it in a log.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{call, form, initialized, legacy_client, modern_client, retry, stamped};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::DEADLINE,
    script::{Ending, Fault, Rule},
    upstream::Upstream,
};

/// A client that calls, answers, declines and cancels as the dice have it.
struct Player {
    client: Client,
    modern: bool,
    dice: u64,
    calls: u64,
    read: usize,
    /// What was called, by the id of the request that wants an answer now.
    open: HashMap<String, Value>,
    /// The `n` of each request, by its id.
    counted: HashMap<String, u64>,
    cancelled: HashSet<String>,
    answered: HashMap<String, Value>,
}

impl Player {
    fn new(client: Client, modern: bool, dice: u64) -> Self {
        Self {
            client,
            modern,
            dice,
            calls: 0,
            read: 0,
            open: HashMap::new(),
            counted: HashMap::new(),
            cancelled: HashSet::new(),
            answered: HashMap::new(),
        }
    }

    /// One of so many (Knuth's MMIX constants).
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.dice >> 33) % sides
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let id = match self.modern {
            true => call(&mut self.client, tool, &arguments),
            false => self.client.call(tool, arguments.clone()),
        };
        self.open.insert(id.to_string(), arguments);
        id
    }

    fn step(&mut self) {
        self.calls += 1;
        let n = self.calls;
        match self.roll(8) {
            0..4 => {
                let id = self.call("count", json!({"n": n}));
                self.counted.insert(id.to_string(), n);
            }
            4..7 => {
                let mut arguments = form().arguments();
                arguments["n"] = n.into();
                self.call("inquire", arguments);
            }
            _ => {
                let mut open: Vec<String> = self.open.keys().cloned().collect();
                open.sort();
                let at = usize::try_from(self.roll(64)).unwrap();
                if let Some(id) = open.get(at % open.len().max(1)) {
                    self.cancel(id);
                }
            }
        }
    }

    fn cancel(&mut self, id: &str) {
        let named: Value = serde_json::from_str(id).unwrap();
        self.client.notify("notifications/cancelled", json!({"requestId": named}));
        self.open.remove(id);
        self.cancelled.insert(id.to_owned());
    }

    /// Takes in what has come.
    fn hear(&mut self) {
        let all = self.client.received()[self.read..].to_vec();
        self.read += all.len();
        for message in all {
            let id = message["id"].to_string();
            match (message.get("method"), message.get("id")) {
                (Some(_), Some(_)) => match self.roll(4) {
                    0 => self.client.respond_error(&message, -1, "no"),
                    _ => self.client.respond(&message, form().answer),
                },
                (Some(_), None) => {}
                _ => self.response(id, message),
            }
        }
    }

    fn response(&mut self, id: String, message: Value) {
        let arguments = self.open.remove(&id);
        let expected = arguments.is_some() || self.cancelled.contains(&id);
        assert!(expected, "{id} was not asked\n{}", self.client.process.transcript());
        let before = self.answered.insert(id.clone(), message.clone());
        assert!(before.is_none(), "{id} again\n{}", self.client.process.transcript());
        let (Some(arguments), "input_required") =
            (arguments, message["result"]["resultType"].as_str().unwrap_or_default())
        else {
            return;
        };
        if self.roll(4) == 0 {
            // It is given up by the name that it was called by.
            return self.cancel(&id);
        }
        let said = json!({"input-1": form().answer});
        let again = retry(&mut self.client, "inquire", &arguments, &message["result"], said);
        self.open.insert(again.to_string(), arguments);
    }

    /// Waits until no more than this is open.
    fn rest(&mut self, open: usize) {
        let until = Instant::now() + DEADLINE;
        while self.open.len() > open {
            self.hear();
            let transcript = || self.client.process.transcript();
            assert!(Instant::now() < until, "{:?}\n{}", self.open, transcript());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What each answer says is what happened.
    fn judge(mut self, upstream: &Upstream) {
        self.rest(0);
        self.client.process.close_stdin();
        assert!(self.client.process.wait_exit(DEADLINE).success());
        self.hear();
        let results = self.counted.iter().filter(|(id, n)| {
            let Some(answer) = self.answered.get(*id) else { return false };
            let ran = upstream.ran(**n);
            match answer["error"]["data"]["stage"].as_str() {
                None => assert_eq!(ran, 1, "{answer}"),
                Some("connect" | "tls") => assert_eq!(ran, 0, "{answer}"),
                Some(_) => assert!(ran <= 1, "{answer}"),
            }
            answer.get("result").is_some()
        });
        let (results, all) = (results.count(), self.counted.len());
        assert!(results > all / 2, "{results} of {all}");
        assert!(self.counted.values().all(|n| upstream.ran(*n) <= 1));
    }
}

/// What is in flight at most when something happens.
const IN_FLIGHT: usize = 6;

fn whatever_happens(upstream: &Upstream, mut player: Player) {
    for step in 0..240 {
        player.step();
        player.hear();
        player.rest(IN_FLIGHT);
        match step % 40 {
            9 => upstream.drop_connections(),
            19 => upstream.script(Rule::next(), Fault::RunThenHangup(Ending::Reset)),
            29 => upstream.restart(),
            39 => player.rest(0),
            _ => {}
        }
    }
    player.judge(upstream);
}

#[test]
fn a_legacy_client_has_one_answer_for_each_request_whatever_happens() {
    let pki = Pki::new();
    for dice in 1..=3 {
        let (upstream, client) = legacy_client(&pki);
        let mut player = Player::new(client, false, dice);
        // The answer to `initialize`, which was waited for.
        player.read = player.client.received().len();
        whatever_happens(&upstream, player);
    }
}

#[test]
fn a_modern_client_has_one_answer_for_each_request_whatever_happens() {
    let pki = Pki::new();
    for dice in 1..=3 {
        let (upstream, client) = modern_client(&pki);
        let mut player = Player::new(client, true, dice);
        player.read = player.client.received().len();
        whatever_happens(&upstream, player);
    }
}

const CANARY: &str = "canary-in-the-mine";

/// A question whose answer nobody else must see, asked and answered on both paths.
fn with_a_secret(flags: &[&str], look: impl Fn(&Upstream, &str)) {
    let pki = Pki::new();
    let secret = json!({"action": "accept", "content": {"it": CANARY}});
    let mut arguments = form().arguments();
    arguments["secret"] = CANARY.into();

    let upstream = Upstream::options(&pki).modern().start();
    let bridge = Client::bridge(&pki, &upstream).args(flags).env("TOKEN", "s3cret");
    let mut client = Client::start(&bridge);
    initialized(&mut client);
    client.ask("resources/subscribe", json!({"uri": "file:///a"}));
    let id = client.call("inquire", arguments.clone());
    let asked = client.server_request("elicitation/create");
    client.respond(&asked, secret.clone());
    client.result(&id);
    client.process.close_stdin();
    assert!(client.process.wait_exit(DEADLINE).success());
    look(&upstream, &client.process.stderr());

    let upstream = Upstream::mutual(&pki);
    let bridge = Client::bridge(&pki, &upstream).args(["--protocol", "modern"]);
    let mut client = Client::start(&bridge.args(flags).env("TOKEN", "s3cret"));
    client.ask("server/discover", stamped(json!({})));
    let filter = json!({"notifications": {"resourceSubscriptions": ["file:///a"]}});
    client.request("subscriptions/listen", stamped(filter));
    client.notification("notifications/subscriptions/acknowledged");
    let id = call(&mut client, "inquire", &arguments);
    let required = client.result(&id);
    let said = json!({"input-1": secret});
    let id = retry(&mut client, "inquire", &arguments, &required, said);
    client.result(&id);
    client.process.close_stdin();
    assert!(client.process.wait_exit(DEADLINE).success());
    look(&upstream, &client.process.stderr());
}

#[test]
fn credentials_are_on_all_that_is_sent() {
    with_a_secret(&["--bearer", "env:TOKEN"], |upstream, _| {
        let seen = upstream.seen();
        assert!(seen.len() >= 5, "{seen:?}");
        for seen in seen {
            assert_eq!(seen.header("authorization"), Some("Bearer s3cret"), "{seen:?}");
            assert_eq!(seen.client.as_deref(), Some("CN=client"), "{seen:?}");
        }
    });
}

#[test]
fn what_is_asked_and_said_is_in_no_log() {
    with_a_secret(&["--bearer", "env:TOKEN", "--debug", "-vvv"], |_, logged| {
        assert!(logged.len() > 1_000, "{logged}");
        for secret in [CANARY, "s3cret", "Which", "so far"] {
            assert!(!logged.contains(secret), "{secret}: {logged}");
        }
    });
}
