//! TLS of the sidecar's listeners as callers meet it over time: who is known by which name, who is
//! asked for a proof and how often, and what becomes of calls and connections when files are replaced.

mod caller;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use http_body_util::BodyExt as _;
use rustls::HandshakeKind;
use serde_json::json;

use self::caller::{Caller, Http};
use crate::support::{
    pki::{Identity, Pki},
    process::{Countersign, DEADLINE},
    script::{Fault, Reply, Rule},
    sidecar::Sidecar,
    upstream::Upstream,
};

const RELOADED: &str = "reloaded the TLS files of the listeners";
const KEPT: &str = "the TLS files of the listeners are not used as they are now";

/// What the listeners show, and whom they let in: in files that a test replaces.
struct Files {
    server: Identity,
    clients: PathBuf,
}

/// A sidecar that asks callers for certificates of the CA.
fn scene(pki: &Pki, flags: &[&str]) -> (Upstream, Sidecar, Files) {
    let upstream = Upstream::mutual(pki);
    let server = pki.issue_server("listener", &["localhost"]);
    let clients = pki.path().join("clients.pem");
    std::fs::write(&clients, pki.ca.pem()).unwrap();
    let files = Files { server, clients };
    let sidecar = Sidecar::start(&program(pki, &upstream, &files).args(flags));
    (upstream, sidecar, files)
}

fn program(pki: &Pki, upstream: &Upstream, files: &Files) -> Countersign {
    let program = Sidecar::program(pki, upstream).arg("--listen-cert").arg(&files.server.cert);
    let program = program.arg("--listen-key").arg(&files.server.key);
    program.arg("--client-ca").arg(&files.clients)
}

fn named(pki: &Pki, names: &[&str]) -> Identity {
    pki.issue_client_named(names, SystemTime::now() + Duration::from_secs(3600))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_caller_may_be_known_by_a_dns_name_or_a_uri() {
    let pki = Pki::new();
    let flags = ["--client-name", "Agent.Example", "--client-name", "spiffe://prod.example/agent"];
    let (upstream, sidecar, _) = scene(&pki, &flags);
    let reply = Reply::json(200, &json!({}));
    upstream.script(Rule::next().always(), Fault::Answer(reply));
    for (names, status) in [
        (&["agent.example"][..], 200),
        (&["other.example", "AGENT.EXAMPLE"], 200),
        (&["spiffe://prod.example/agent"], 200),
        (&["spiffe://prod.example/agent/more", "sub.agent.example"], 403),
        (&["spiffe://PROD.example/agent"], 403),
        (&[], 403),
    ] {
        for http in [Http::One, Http::Two] {
            let mut caller = Caller::new(&pki, Some(&named(&pki, names)));
            caller.connect(sidecar.address(), http).await.unwrap();
            assert_eq!(caller.call(None, "echo", &json!({})).await.unwrap().0, status, "{names:?}");
        }
    }
    assert_eq!(upstream.seen().len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_name_of_one_kind_is_not_taken_for_the_other() {
    let pki = Pki::new();
    let (upstream, sidecar, _) = scene(&pki, &["--client-name", "agent:8080"]);
    // A DNS name with a colon is none, and this one would be the URI that is allowed.
    let identity = pki.issue_client_dns("agent:8080");
    let mut caller = Caller::new(&pki, Some(&identity));
    let asked = caller.ask_anew(sidecar.address()).await;
    assert!(asked.is_err(), "{asked:?}");
    sidecar.process.wait_for_stderr("the names in the client certificate cannot be read");
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_session_is_of_all_the_names_together() {
    let pki = Pki::new();
    let (upstream, sidecar, _) = scene(&pki, &[]);
    let of = |names: &[&str]| Caller::new(&pki, Some(&named(&pki, names)));
    let mut one = of(&["agents.example", "spiffe://prod.example/one"]);
    one.connect(sidecar.address(), Http::Two).await.unwrap();
    let session = one.initialize().await;
    let count = json!({"n": 1});
    for names in [&["agents.example", "spiffe://prod.example/two"][..], &["agents.example"], &[]] {
        let mut other = of(names);
        other.connect(sidecar.address(), Http::Two).await.unwrap();
        let (status, _) = other.call(Some(&session), "count", &count).await.unwrap();
        assert_eq!(status, 404, "{names:?}");
    }
    assert_eq!(upstream.ran(1), 0);
    // Its next certificate, whose authority writes the names in another order.
    let mut renewed = of(&["spiffe://prod.example/one", "agents.example"]);
    renewed.connect(sidecar.address(), Http::One).await.unwrap();
    assert_eq!(renewed.call(Some(&session), "count", &count).await.unwrap().0, 200);
    assert_eq!(upstream.ran(1), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_proof_is_given_anew_on_each_connection() {
    let pki = Pki::new();
    let (_upstream, sidecar, _) = scene(&pki, &[]);
    let mut caller = Caller::new(&pki, Some(&pki.client));
    for _ in 0..3 {
        assert_eq!(caller.ask_anew(sidecar.address()).await.unwrap(), HandshakeKind::Full);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_authority_and_a_certificate_are_replaced_under_two_hundred_calls() {
    let (pki, next) = (Pki::new(), Pki::new());
    let (upstream, sidecar, files) = scene(&pki, &[]);
    let mut first = Caller::new(&pki, Some(&pki.client));
    first.connect(sidecar.address(), Http::Two).await.unwrap();
    let session = first.initialize().await;
    let mut calls = Vec::new();
    for n in 0..200 {
        // A hundred on one connection of HTTP/2, and as many on one each of HTTP/1.1.
        let mut caller = if n < 100 { first.again() } else { Caller::new(&pki, Some(&pki.client)) };
        let (session, to) = (session.clone(), sidecar.address());
        calls.push(tokio::spawn(async move {
            if n >= 100 {
                caller.connect(to, Http::One).await.unwrap();
            }
            caller.call(Some(&session), "wait", &json!({"gate": "end"})).await
        }));
    }
    let waits = |seen: &crate::support::upstream::Seen| seen.tool() == Some("wait");
    upstream.wait_for(|seen| seen.iter().filter(|seen| waits(seen)).count() == 200);

    files.server.overwrite(&pki.issue_server("renewed", &["localhost"]));
    std::fs::write(&files.clients, next.ca.pem()).unwrap();
    sidecar.process.wait_for_stderr(RELOADED);
    // Those of before may ask no more, those of now may.
    assert!(Caller::new(&pki, Some(&pki.client)).ask_anew(sidecar.address()).await.is_err());
    Caller::new(&pki, Some(&next.client)).ask_anew(sidecar.address()).await.unwrap();
    upstream.release("end");
    for call in calls {
        let (status, answer) = call.await.unwrap().unwrap();
        assert_eq!(
            (status, answer["result"]["structuredContent"]["gate"].as_str()),
            (200, Some("end"))
        );
    }
    assert!(first.ended().await, "the connection of before ends after its answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_new_authority_beside_the_old_one_ends_nothing() {
    let (pki, next) = (Pki::new(), Pki::new());
    let (upstream, sidecar, files) = scene(&pki, &[]);
    let mut caller = Caller::new(&pki, Some(&pki.client));
    caller.connect(sidecar.address(), Http::Two).await.unwrap();
    let session = caller.initialize().await;
    let mut stream = caller.listen(&session).await;
    upstream.wait_for_listener();

    std::fs::write(&files.clients, pki.ca.pem() + &next.ca.pem()).unwrap();
    sidecar.process.wait_for_stderr(RELOADED);
    Caller::new(&pki, Some(&next.client)).ask_anew(sidecar.address()).await.unwrap();
    assert_eq!(caller.call(Some(&session), "echo", &json!({})).await.unwrap().0, 200);
    assert_eq!(upstream.notify("notifications/tools/list_changed", &json!(null)), 1);
    let event = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&event).contains("list_changed"));

    // And then the old one goes.
    std::fs::write(&files.clients, next.ca.pem()).unwrap();
    while let Some(frame) = tokio::time::timeout(DEADLINE, stream.frame()).await.unwrap() {
        frame.unwrap();
    }
    assert!(caller.ended().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_outstays_the_certificate_that_let_them_in() {
    let pki = Pki::new();
    let (upstream, sidecar, _) = scene(&pki, &[]);
    let brief = SystemTime::now() + Duration::from_secs(4);
    let mut caller = Caller::new(&pki, Some(&pki.issue_client_named(&["agent.example"], brief)));
    caller.connect(sidecar.address(), Http::Two).await.unwrap();
    let session = caller.initialize().await;
    let mut stream = caller.listen(&session).await;
    upstream.wait_for_listener();
    let mut busy = caller.again();
    let of_call = session.clone();
    let call = tokio::spawn(async move {
        busy.call(Some(&of_call), "wait", &json!({"gate": "end"})).await.unwrap().0
    });
    upstream.wait_for_request(|seen| seen.tool() == Some("wait"));

    while let Some(frame) = tokio::time::timeout(DEADLINE, stream.frame()).await.unwrap() {
        frame.unwrap();
    }
    assert!(SystemTime::now() >= brief);
    upstream.release("end");
    assert_eq!(call.await.unwrap(), 200);
    assert!(caller.ended().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn half_a_pair_changes_nothing_and_is_told_once() {
    let pki = Pki::new();
    let (_upstream, sidecar, files) = scene(&pki, &[]);
    let mut caller = Caller::new(&pki, Some(&pki.client));
    caller.ask_anew(sidecar.address()).await.unwrap();
    let before = caller.shown();
    let second = pki.issue_server("second", &["localhost"]);
    std::fs::write(&files.server.cert, second.cert_pem()).unwrap();
    sidecar.process.wait_for_stderr(KEPT);
    let words = "(--listen-key) does not fit the certificate in";
    assert!(sidecar.process.stderr().contains(words), "{}", sidecar.process.stderr());
    caller.ask_anew(sidecar.address()).await.unwrap();
    assert_eq!(caller.shown(), before);

    std::fs::write(&files.server.key, second.key_pem()).unwrap();
    sidecar.process.wait_for_stderr(&format!("{RELOADED}: the server certificate is CN=localhost"));
    caller.ask_anew(sidecar.address()).await.unwrap();
    assert_eq!(caller.shown(), Some(second.cert_der()));
    assert_eq!(sidecar.process.stderr().matches(KEPT).count(), 1);
}

#[test]
fn who_is_slow_in_the_handshake_holds_up_nobody() {
    let pki = Pki::new();
    let (_upstream, sidecar, _) = scene(&pki, &["--header-timeout", "1s"]);
    let mut slow: Vec<_> =
        (0..50).map(|_| TcpStream::connect(sidecar.address()).unwrap()).collect();
    // The beginning of a ClientHello.
    slow[0].write_all(&[22, 3, 1]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut caller = Caller::new(&pki, Some(&pki.client));
    runtime.block_on(caller.ask_anew(sidecar.address())).unwrap();
    for stream in &mut slow {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0);
    }
    let warnings = sidecar.finish();
    assert!(warnings.iter().all(|rule| rule == "slow"), "{warnings:?}");
}

#[test]
fn whom_there_is_no_room_for_hears_no_plain_words() {
    let pki = Pki::new();
    let (_upstream, sidecar, _) = scene(&pki, &["--max-connections", "1"]);
    let _first = TcpStream::connect(sidecar.address()).unwrap();
    let mut second = TcpStream::connect(sidecar.address()).unwrap();
    second.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(second.read(&mut [0; 64]).unwrap(), 0);
}

#[test]
fn what_would_prove_nothing_is_refused_at_start() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let tls = || {
        let program = Sidecar::program(&pki, &upstream).arg("--listen-cert").arg(&pki.server.cert);
        program.arg("--listen-key").arg(&pki.server.key)
    };
    let plain = || Sidecar::program(&pki, &upstream);
    for (program, words) in [
        (tls().args(["--listen", "0.0.0.0:0"]), "--client-ca FILE"),
        (tls().args(["--client-name", "agent.example"]), "--client-ca FILE says whose"),
        (plain().arg("--client-ca").arg(&pki.ca.cert), "--listen-cert FILE, --listen-key FILE"),
        (
            plain().arg("--listen-cert").arg(&pki.server.cert),
            "name the key's file with --listen-key",
        ),
        (
            tls().arg("--client-ca").arg(&pki.ca.cert).args(["--client-name", "*.example"]),
            "names are compared whole",
        ),
    ] {
        let mut refused = program.start();
        assert_eq!(refused.wait_exit(DEADLINE).code(), Some(78), "{words}");
        assert!(refused.stderr().contains(words), "{}", refused.stderr());
    }
}
