//! Helpers that go wrong: an error within the limit, nothing sent, nothing left running.

use super::*;

/// What the helper may take, and a busy machine on top.
const LIMIT: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(5);

/// A first caller of a helper that does this is told so; how long that took. The script has
/// `$!` and `$$` written down by a line of `note`.
fn costs_an_error(script: &str, what: &str, hint: &str) -> Duration {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let helper = Program::new(folder.path(), &format!("echo $$ >>pids\n{script}"));
    let mut client = Client::start(&bridge(&pki, &upstream, &helper).arg("-vvv"));
    let asked = Instant::now();
    let id = client.initialize("2025-11-25");
    let error = client.error(&id);
    let took = asked.elapsed();
    Refusal::of(&error).says("credential", &["the headers helper", "print-token", what], hint);
    assert_eq!(upstream.record().connections.len(), 0, "{script}");
    let pids = pids(folder.path());
    assert!(!pids.is_empty(), "{script}");
    assert_gone(&pids);
    assert!(!client.process.transcript().contains("canary"), "{}", client.process.transcript());
    assert_eq!(client.finish(), [] as [Value; 0]);
    took
}

#[test]
fn each_costs_an_error_that_says_what_to_do() {
    for (script, what, hint) in [
        ("exit 3", "failed with exit status: 3", "run it by hand"),
        ("echo '{\"X-A\": \"canary\"}'; exit 3", "failed with exit status: 3", "run it by hand"),
        ("kill -SEGV $$", "failed with signal: 11", "run it by hand"),
        ("true", "printed nothing", "one JSON object of strings"),
        ("echo '{}'", "printed no header", "one JSON object of strings"),
        ("printf '{\"X-A\": \"canary'", "breaks off in the middle", "one JSON object of strings"),
        ("echo canary", "not JSON from line 1, column 1", "one JSON object of strings"),
        ("echo '{\"X-A\": 5}'", "a number, not a string (number 1)", "one JSON object"),
        ("echo '{\"X A\": \"canary\"}'", "not allowed in one", "one JSON object"),
        ("echo '{\"Host\": \"canary\"}'", "the header host can't be set", "one JSON object"),
        (
            "printf %s '{\"X-A\": \"canary\\nX-B: b\"}'",
            "has a control character",
            "one JSON object",
        ),
        (
            "echo '{\"X-A\": \"canary\", \"expires_at\": \"2020-01-01T00:00:00Z\"}'",
            "printed headers that expired",
            "renew them",
        ),
        ("while :; do echo canary; done", "printed more than 64 KiB and was killed", "stderr"),
        ("while :; do echo canary; done | cat", "printed more than 64 KiB and was killed", ""),
        ("(sleep 600; echo canary) & echo $! >>pids; exit 3", "exit status: 3", ""),
        ("sleep 600 & echo $! >>pids; printf '{\"X-A'", "breaks off in the middle", ""),
    ] {
        let took = costs_an_error(script, what, hint);
        assert!(took < LIMIT, "{script}: {took:?}");
    }
}

#[test]
fn one_that_hangs_is_killed_at_the_limit_with_all_it_has_started() {
    let what = "was not done after 10 s and was killed";
    let hanging = [
        "sleep 600",
        "sleep 600 & echo $! >>pids; sleep 600",
        "exec >&- 2>&-; trap '' TERM INT HUP; sleep 600 & echo $! >>pids; wait; sleep 600",
    ];
    thread::scope(|scope| {
        let runs =
            hanging.map(|script| scope.spawn(move || costs_an_error(script, what, "--debug")));
        for run in runs {
            let took = run.join().unwrap();
            assert!((LIMIT..LIMIT + SLACK).contains(&took), "{took:?}");
        }
    });
}

#[test]
fn one_that_forks_is_not_waited_for_and_leaves_nothing() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let script = "sleep 600 & echo $! >>pids\n(trap '' TERM HUP; sleep 600) >&- 2>&- & echo $! >>pids\n\
                  echo '{\"X-A\": \"printed\"}'";
    let helper = Program::new(folder.path(), script);
    let mut client = Client::start(&bridge(&pki, &upstream, &helper));
    let asked = Instant::now();
    client.handshake();
    assert!(asked.elapsed() < LIMIT, "{:?}", asked.elapsed());
    let pids = pids(folder.path());
    assert_eq!(pids.len(), 2);
    assert_gone(&pids);
    assert_eq!(values(&upstream.seen()[0], "x-a"), ["printed"]);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn one_that_is_not_there_is_named() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let bridge = Client::bridge(&pki, &upstream).args(["--headers-helper", "/no/such/program x"]);
    let refusal = Refusal::of_initialize(&bridge);
    let what = "the headers helper /no/such/program ... could not be run";
    refusal.says("credential", &[what], "full path");
}

#[test]
fn a_bridge_that_is_ended_takes_its_helper_along() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let script = "sleep 600 & echo $! >>pids; echo $$ >>pids; sleep 600";
    let helper = Program::new(folder.path(), script);
    let mut client = Client::start(&bridge(&pki, &upstream, &helper));
    client.initialize("2025-11-25");
    wait_for("the helper", || pids(folder.path()).len() == 2);
    client.process.signal(rustix::process::Signal::TERM);
    client.process.wait_exit(DEADLINE);
    assert_gone(&pids(folder.path()));
}

#[test]
fn it_gets_another_chance_with_the_next_call() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let helper = Program::new(folder.path(), "[ -e good ] || exit 3; echo '{\"X-A\": \"good\"}'");
    let mut client = Client::start(&bridge(&pki, &upstream, &helper));
    let id = client.initialize("2025-11-25");
    Refusal::of(&client.error(&id)).says("credential", &["exit status: 3"], "");
    fs::write(folder.path().join("good"), "").unwrap();
    client.handshake();
    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    assert_eq!(helper.runs(), 2);
}
