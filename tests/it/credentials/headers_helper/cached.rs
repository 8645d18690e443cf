//! One run for many callers: at first, when what it printed is over, and when it was refused.

use super::*;
use crate::support::{
    script::{Fault, Reply, Rule},
    upstream::Seen,
};

/// Its first run prints `Bearer first`, good for so many seconds where that is said; the others
/// wait for the file `all` and print `Bearer second`, which is good until it is refused.
fn two_values(folder: &Path, seconds: Option<u32>) -> Program {
    let expires = seconds.map(|seconds| format!(",\"expires_in\":{seconds}"));
    let expires = expires.unwrap_or_default();
    let script = format!(
        "case $(wc -l <runs) in\n1) rest='first\"{expires}}}';;\n\
         *) until [ -e all ]; do sleep 0.01; done; rest='second\"}}';;\nesac\n\
         printf '{{\"Authorization\": \"Bearer %s' \"$rest\""
    );
    Program::new(folder, &script)
}

/// What the calls were sent with, in order.
fn sent(upstream: &Upstream) -> Vec<String> {
    let calls = upstream.posts("tools/call");
    calls.iter().flat_map(|seen| values(seen, "authorization")).map(String::from).collect()
}

fn is_first(seen: &Seen) -> bool {
    seen.tool().is_some() && values(seen, "authorization") == ["Bearer first"]
}

fn refusal(status: u16) -> Fault {
    Fault::Answer(Reply::new(status).header("www-authenticate", "Bearer error=\"invalid_token\""))
}

#[test]
fn fifty_calls_that_find_nothing_good_cause_one_run() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let helper = two_values(folder.path(), Some(1));
    let mut client = Client::start(&bridge(&pki, &upstream, &helper));
    client.handshake();
    // Its second is over, whoever asked for another run in the meantime.
    thread::sleep(Duration::from_secs(1));
    let calls: Vec<Value> = (0..50).map(|n| client.call("count", json!({"n": n}))).collect();
    wait_for("the second run", || helper.runs() == 2);
    fs::write(folder.path().join("all"), "").unwrap();
    calls.iter().for_each(|id| drop(client.result(id)));
    assert_eq!(sent(&upstream), vec!["Bearer second"; 50]);
    assert!((0..50).all(|n| upstream.ran(n) == 1));
    assert_eq!(helper.runs(), 2);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn fifty_calls_that_are_refused_at_once_cause_one_run() {
    for status in [401, 403] {
        let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
        let upstream = Upstream::mutual(&pki);
        let helper = two_values(folder.path(), None);
        let mut client = Client::start(&bridge(&pki, &upstream, &helper));
        client.handshake();
        upstream.wait_for_listener();
        upstream.script(Rule::matching(is_first).always(), refusal(status));
        let calls: Vec<Value> = (0..50).map(|n| client.call("count", json!({"n": n}))).collect();
        upstream.wait("fifty refusals", |record| {
            let calls = record.requests.iter().filter(|seen| seen.tool().is_some());
            (calls.count() == 50).then_some(())
        });
        fs::write(folder.path().join("all"), "").unwrap();
        calls.iter().for_each(|id| drop(client.result(id)));
        assert_eq!(helper.runs(), 2, "{status}");
        assert!((0..50).all(|n| upstream.ran(n) == 1));
        let sent = sent(&upstream);
        assert_eq!(sent.len(), 100);
        assert!(sent[50..].iter().all(|value| value == "Bearer second"), "{sent:?}");
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

#[test]
fn a_second_refusal_is_final() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let helper = two_values(folder.path(), None);
    fs::write(folder.path().join("all"), "").unwrap();
    let mut client = Client::start(&bridge(&pki, &upstream, &helper));
    client.handshake();
    upstream.script(Rule::matching(|seen| seen.tool().is_some()).always(), refusal(401));
    let id = client.call("count", json!({"n": 1}));
    Refusal::of(&client.error(&id)).says("response", &["401"], "");
    assert_eq!(sent(&upstream), ["Bearer first", "Bearer second"]);
    assert_eq!((helper.runs(), upstream.ran(1)), (2, 0));
}

/// One call is refused, and the run that this causes hangs: the others go on with what there is.
#[test]
fn a_run_that_hangs_stalls_nobody_who_holds_a_good_value() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let helper = two_values(folder.path(), None);
    let mut client = Client::start(&bridge(&pki, &upstream, &helper));
    client.handshake();
    let echo = |seen: &Seen| seen.tool() == Some("echo") && is_first(seen);
    upstream.script(Rule::matching(echo), refusal(401));
    let refused = client.call("echo", json!({}));
    wait_for("the second run", || helper.runs() == 2);
    for n in 0..20 {
        assert_eq!(client.tool("count", json!({"n": n}))["times"], 1);
    }
    assert!(!folder.path().join("all").exists());
    fs::write(folder.path().join("all"), "").unwrap();
    client.result(&refused);
    assert_eq!(sent(&upstream).last().unwrap(), "Bearer second");
    assert_eq!(helper.runs(), 2);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// At 70 % of its ten seconds, a run starts in the background; calls go on with the first value
/// while it takes its time, and have the second as soon as it is there.
#[test]
fn calls_go_on_while_it_is_run_again_before_the_end() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let helper = two_values(folder.path(), Some(10));
    let mut client = Client::start(&bridge(&pki, &upstream, &helper));
    client.handshake();
    let mut calls = 0;
    let mut call = |client: &mut Client| {
        calls += 1;
        assert_eq!(client.tool("count", json!({"n": calls}))["times"], 1);
    };
    let until = Instant::now() + DEADLINE;
    while helper.runs() < 2 {
        assert!(Instant::now() < until, "it was not run again");
        call(&mut client);
        thread::sleep(Duration::from_millis(20));
    }
    (0..5).for_each(|_| call(&mut client));
    assert!(sent(&upstream).iter().all(|value| value == "Bearer first"));
    fs::write(folder.path().join("all"), "").unwrap();
    while sent(&upstream).last().unwrap() != "Bearer second" {
        assert!(Instant::now() < until, "the second value is not used");
        call(&mut client);
    }
    assert_eq!(helper.runs(), 2);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_ttl_makes_it_run_again() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let helper = two_values(folder.path(), None);
    fs::write(folder.path().join("all"), "").unwrap();
    let keys = "headers_helper = { command = './print-token', ttl = '500ms' }";
    let config = profile(folder.path(), &pki, &upstream, keys);
    let program = Countersign::new().arg("--config").arg(config).env("PATH", "/usr/bin:/bin");
    let mut client = Client::start(&program);
    client.handshake();
    thread::sleep(Duration::from_millis(500));
    client.tool("count", json!({"n": 1}));
    assert_eq!(sent(&upstream), ["Bearer second"]);
    assert!(helper.runs() >= 2);
}
