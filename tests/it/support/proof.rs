//! The support does what it says: proven with a client and programs that are not under test.

mod direct;

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use self::direct::{Direct, words};
use super::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, Front, Process},
    script::{Ending, Fault, Lost, Mangle, Rule, Wire},
    upstream::Upstream,
};

fn start() -> (Pki, Upstream, Direct) {
    start_with("http/1.1")
}

fn start_with(alpn: &str) -> (Pki, Upstream, Direct) {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut direct = Direct::connect(&upstream, &pki, &pki.client, alpn).unwrap();
    direct.initialize().unwrap();
    (pki, upstream, direct)
}

#[test]
fn a_session_over_mutual_tls_is_recorded_as_it_came() {
    for alpn in ["http/1.1", "h2"] {
        let (_pki, upstream, mut direct) = start_with(alpn);
        let echoed = direct.call("echo", json!({"a": [1]})).unwrap();
        assert_eq!(echoed.messages()[0]["result"]["structuredContent"], json!({"a": [1]}));
        let progress = direct.call("progress", json!({"steps": 2})).unwrap().messages();
        assert_eq!(progress.len(), 3, "{progress:?}");
        assert_eq!(progress[1]["params"]["progress"], 2);
        assert_eq!(progress[2]["id"], 7);
        let session = direct.session.clone();
        assert_eq!(direct.send(Method::DELETE, &[], "").unwrap().status, 200);
        assert_eq!(direct.call("echo", json!({})).unwrap().status, 404);

        let seen = upstream.wait_for(|seen| seen.len() == 6);
        assert!(seen.iter().all(|seen| seen.client.as_deref() == Some("CN=client")));
        assert_eq!(seen[2].tool(), Some("echo"));
        assert_eq!(seen[2].session(), session.as_deref());
        let connection = &upstream.record().connections[0];
        assert_eq!(connection.alpn.as_deref(), Some(alpn));
        assert_eq!(connection.tls.as_deref(), Some("TLSv1_3"));
    }
}

#[test]
fn a_cut_delivers_its_bytes_and_ends_as_told() {
    for alpn in ["http/1.1", "h2"] {
        for ending in [Ending::CloseNotify, Ending::NoNotify, Ending::Reset] {
            for at in [0, 10] {
                let (_pki, upstream, mut direct) = start_with(alpn);
                upstream.script(Rule::call("progress"), Fault::Cut { at, ending });
                let got = direct.call("progress", json!({})).unwrap();
                assert_eq!(got.body.len(), at, "{alpn} {ending:?}");
                let broke = got.broke.unwrap();
                match ending {
                    Ending::CloseNotify => assert!(!broke.contains("close_notify"), "{broke}"),
                    Ending::NoNotify => assert!(broke.contains("close_notify"), "{broke}"),
                    Ending::Reset => assert!(broke.contains("reset"), "{broke}"),
                }
            }
        }
    }
}

#[test]
fn what_is_not_run_is_not_run_and_what_runs_runs_once() {
    let (pki, upstream, mut direct) = start();
    let reset = Fault::Hangup(Ending::Reset);
    upstream.script(Rule::call("count"), reset);
    let error = direct.call("count", json!({"n": 1})).err().unwrap();
    assert!(words(&*error).contains("reset"), "{error:?}");
    assert_eq!(upstream.ran(1), 0);

    let session = direct.session.take();
    let again = || Direct::connect(&upstream, &pki, &pki.client, "h2").unwrap();
    let mut direct = again().in_session(&session);
    upstream.script(Rule::call("count"), Fault::RunThenHangup(Ending::NoNotify));
    assert!(direct.call("count", json!({"n": 2})).is_err());
    assert_eq!(upstream.ran(2), 1);

    let mut direct = again().in_session(&session);
    let before = upstream.seen().len();
    upstream.wire(Wire::ResetUnread);
    assert!(direct.call("count", json!({"n": 3})).is_err());
    assert_eq!(upstream.seen().len(), before);
}

#[test]
fn answers_come_as_the_script_says() {
    let (_pki, upstream, mut direct) = start();
    let mut count = || direct.call("count", json!({"n": 1})).unwrap();
    upstream.script(Rule::call("count").times(2), Fault::status(503));
    assert_eq!((count().status.as_u16(), count().status.as_u16()), (503, 503));
    upstream.script(Rule::next(), Fault::Mangle(Mangle::LineFeeds));
    assert!(count().body.contains("\n  \"id\""));
    upstream.script(Rule::next(), Fault::Mangle(Mangle::OtherId(json!("other"))));
    assert_eq!(count().messages()[0]["id"], "other");
    upstream.script(Rule::next(), Fault::Truncate { at: 5 });
    let truncated = count();
    assert_eq!((truncated.body.len(), truncated.broke), (5, None));
    let pause = Duration::from_millis(2);
    upstream.script(Rule::next(), Fault::SlowHead { bytes: 50, pause });
    let asked = Instant::now();
    assert_eq!(count().status, 200);
    assert!(asked.elapsed() >= 50 * pause);
    upstream.script(Rule::next(), Fault::StallAt { at: 3 });
    let stalled = count();
    assert_eq!((stalled.body.len(), stalled.broke.as_deref()), (3, Some("stalled")));
    assert_eq!(upstream.ran(1), 5);
}

#[test]
fn a_stream_ended_early_goes_on_where_it_was() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).resumable(Some(Duration::from_millis(7))).start();
    let mut direct = Direct::connect(&upstream, &pki, &pki.client, "h2").unwrap();
    direct.initialize().unwrap();
    upstream.script(Rule::call("progress"), Fault::EndAfterEvents(2));
    let first = direct.call("progress", json!({"steps": 3})).unwrap();
    assert!(first.body.starts_with("retry: 7\nid: "), "{}", first.body);
    assert_eq!(first.messages().len(), 1);
    let last = first.body.lines().rfind(|line| line.starts_with("id: ")).unwrap();
    let rest = direct.send(Method::GET, &[("last-event-id", &last[4..])], "").unwrap().messages();
    assert_eq!(rest.len(), 3, "{rest:?}");
    assert_eq!(rest[0]["params"]["progress"], 2);
    assert_eq!(rest[2]["result"]["structuredContent"]["steps"], 3);
}

#[test]
fn restarted_it_has_its_port_and_none_of_its_sessions() {
    let (pki, upstream, direct) = start();
    upstream.down();
    assert!(Direct::connect(&upstream, &pki, &pki.client, "h2").is_err());
    upstream.up();
    let again = || Direct::connect(&upstream, &pki, &pki.client, "h2").unwrap();
    let mut kept = again().in_session(&direct.session);
    assert_eq!(kept.call("count", json!({"n": 1})).unwrap().status, 200);
    upstream.restart();
    let mut kept = again().in_session(&direct.session);
    assert_eq!(kept.call("count", json!({"n": 1})).unwrap().status, 404);
    kept.initialize().unwrap();
    upstream.script(Rule::call("count"), Fault::Lost(Lost::Ok));
    let lost = kept.call("count", json!({"n": 1})).unwrap();
    assert_eq!((lost.status.as_u16(), &lost.messages()[0]["error"]["code"]), (200, &json!(-32600)));
    assert_eq!(upstream.ran(1), 1);
}

#[test]
fn certificates_are_demanded_refused_and_rotated() {
    let (pki, upstream, _direct) = start();
    let call = |identity| -> Result<_, direct::Failed> {
        let mut direct = Direct::connect(&upstream, &pki, identity, "http/1.1")?;
        direct.initialize()
    };
    for refused in [&pki.expired, &pki.early, &pki.foreign] {
        let error = call(refused).err().unwrap();
        assert!(words(&*error).contains("fatal alert"), "{}", words(&*error));
    }
    upstream.wait("three refusals", |record| {
        let refused = record.connections.iter().filter(|one| one.refused.is_some());
        (refused.count() == 3).then_some(())
    });
    upstream.rotate(&pki.issue_server("next", &["localhost"]), &pki.foreign_ca);
    assert!(call(&pki.client).is_err());
    assert_eq!(call(&pki.foreign).unwrap().status, 200);
    assert_eq!(upstream.seen().last().unwrap().client.as_deref(), Some("CN=foreign"));
    let error = rustls::sign::CertifiedKey::from_der(
        vec![pki.mismatched.cert_der()],
        pki.mismatched.key_der(),
        &rustls::crypto::aws_lc_rs::default_provider(),
    );
    assert!(error.is_err());
    let mount = pki.mount(&pki.client);
    mount.swap(&pki.foreign);
    assert_eq!(std::fs::read_to_string(&mount.cert).unwrap(), pki.foreign.cert_pem());
}

#[test]
fn a_process_is_spoken_to_through_every_kind_of_front() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "{\"id\":1,\"result\":{}}\n").unwrap();
    let fronts = [
        Front::Pipes,
        Front::Sockets,
        Front::Packets,
        Front::Terminal,
        Front::File(file.path().into()),
    ];
    for front in fronts {
        let program = Countersign::program("/bin/cat").front(front.clone());
        let mut client = Client::start(&program);
        if !matches!(front, Front::File(_)) {
            client.send("{\"id\":1,\"result\":{}}");
        }
        assert_eq!(client.result(&json!(1)), json!({}), "{front:?}");
        if matches!(front, Front::Packets) {
            assert_eq!(client.process.writes(), [b"{\"id\":1,\"result\":{}}\n"]);
        }
        if matches!(front, Front::Terminal) {
            client.process.write("\x04");
            assert!(client.process.wait_exit(Duration::from_secs(5)).success());
        } else {
            assert_eq!(client.finish(), [] as [Value; 0]);
        }
    }
}

#[test]
fn a_parent_can_die_alone() {
    let mut process: Process = Countersign::program("/bin/cat").under_a_parent().start();
    process.write("one\n");
    assert_eq!(process.next_line().as_deref(), Some("one"));
    assert_eq!(process.threads(), 1);
    process.kill_parent();
    process.write("two\n");
    assert_eq!(process.next_line().as_deref(), Some("two"));
    assert!(process.is_running());
    process.close_stdin();
    process.wait_gone(Duration::from_secs(5));
    assert_eq!(process.next_line(), None);
}

#[test]
fn the_server_speaks_on_the_get_stream_and_notices_who_leaves() {
    let (pki, upstream, mut direct) = start();
    let mut second = Direct::connect(&upstream, &pki, &pki.client, "http/1.1").unwrap();
    second.session.clone_from(&direct.session);
    assert_eq!(upstream.notify("notifications/message", &json!({})), 0);
    std::thread::scope(|scope| {
        let listening = scope.spawn(move || direct.send(Method::GET, &[], "").unwrap());
        upstream.wait_for_listener();
        assert_eq!(upstream.notify("notifications/message", &json!({})), 1);
        let asked = scope.spawn(|| upstream.ask("roots/list", &Value::Null));
        let heard = listening.join().unwrap().messages();
        assert_eq!(heard[0]["method"], "notifications/message");
        assert_eq!(heard[1]["method"], "roots/list");
        let response = json!({"jsonrpc": "2.0", "id": heard[1]["id"], "result": {"roots": []}});
        assert_eq!(second.post(&response).unwrap().status, 202);
        assert_eq!(asked.join().unwrap()["result"], json!({"roots": []}));
    });
    upstream.wait_until_left(&upstream.wait_for_request(|seen| seen.method == Method::GET));
}

#[test]
fn calls_wait_at_a_gate_and_batches_are_of_their_version() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).protocol("2025-03-26").v6().start();
    let mut direct = Direct::connect(&upstream, &pki, &pki.client, "h2").unwrap();
    direct.version = "2025-03-26";
    direct.initialize().unwrap();
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call",
            "params": {"name": "wait", "arguments": {"gate": "a"}}},
    ]);
    upstream.release("a");
    let got = direct.send(Method::POST, &[], &batch.to_string()).unwrap();
    assert_eq!(got.messages()[0].as_array().unwrap().len(), 2, "{}", got.body);
}

#[test]
fn bytes_that_are_not_http_come_as_they_are() {
    let (_pki, upstream, mut direct) = start();
    upstream.script(Rule::next(), Fault::Garbage(b"SMTP 220\r\n\r\n".to_vec()));
    let error = direct.call("echo", json!({})).err().unwrap();
    assert!(words(&*error).contains("invalid HTTP version"), "{}", words(&*error));
}
