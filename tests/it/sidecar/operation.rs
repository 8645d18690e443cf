//! What a sidecar tells of itself: to probes, to Prometheus, to systemd.

use std::{
    io::Read, io::Write, os::unix::net::UnixDatagram, os::unix::net::UnixStream, path::Path,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{GOOD, Scene, call};
use crate::support::{
    pki::Pki,
    process::{Countersign, DEADLINE},
    script::{Fault, Reply, Rule},
    sidecar::Sidecar,
    upstream::Upstream,
};

/// A sidecar that tells of itself on `socket`.
fn scene(socket: &Path, program: impl Fn(&Pki, &Upstream) -> Countersign) -> Scene {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = program(&pki, &upstream).arg("--admin").arg(format!("unix:{}", socket.display()));
    let sidecar = Sidecar::start(&program);
    Scene { pki, upstream, sidecar }
}

/// The status and the body of a path.
fn ask(socket: &Path, path: &str, host: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// What the probe says, and how it exits.
fn probe(socket: &Path) -> (Option<i32>, String) {
    let program = Countersign::new().args(["serve", "--healthcheck", "--admin"]);
    let mut process = program.arg(format!("unix:{}", socket.display())).start();
    let code = process.wait_exit(DEADLINE).code();
    (code, process.stderr())
}

#[test]
fn it_is_ready_until_it_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let mut scene = scene(&socket, Sidecar::program);
    assert_eq!(ask(&socket, "/healthz", "localhost"), (200, "ok\n".to_owned()));
    let (status, said) = ask(&socket, "/readyz", "localhost");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, said), (200, json!({"ready": true, "because": []})));
    assert_eq!(probe(&socket), (Some(0), String::new()));
    assert_eq!(ask(&socket, "/other", "localhost").0, 404);

    let session = scene.session();
    let mut held = scene.sidecar.connect();
    held.write(call(&session, "wait", &json!({"gate": "end"})));
    scene.upstream.wait_for(|seen| seen.iter().any(|seen| seen.tool() == Some("wait")));
    scene.sidecar.process.signal(Signal::TERM);
    scene.sidecar.process.wait_for_stderr("leaving");
    let (status, said) = ask(&socket, "/readyz", "localhost");
    assert!(status == 503 && said.contains("it is leaving"), "{status} {said}");
    assert_eq!(ask(&socket, "/healthz", "localhost").0, 200);
    let (code, said) = probe(&socket);
    assert!(code == Some(1) && said.contains("not ready") && said.contains("leaving"), "{said}");
    scene.upstream.release("end");
    assert_eq!(held.answer().status, 200);
    assert_eq!(scene.sidecar.process.wait_exit(DEADLINE).code(), Some(0));
    assert!(!socket.exists(), "nothing is left behind");
    assert_eq!(probe(&socket).0, Some(1));
}

#[test]
fn a_certificate_that_is_over_is_no_readiness() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let scene = scene(&socket, |pki, upstream| {
        Sidecar::bare().identity(&pki.expired).cacert(&pki.ca).arg(upstream.url())
    });
    let (status, said) = ask(&socket, "/readyz", "localhost");
    assert!(status == 503 && said.contains("CN=expired, expired on 2021-01-31"), "{said}");
    assert!(ask(&socket, "/metrics", "localhost").1.contains(
        "countersign_certificate_not_after_seconds{route=\"default\",certificate=\"client\"} 161205"
    ));
    drop(scene);
}

#[test]
fn figures_are_of_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let scene = scene(&socket, Sidecar::program);
    let session = scene.session();
    let reply = Reply::json(200, &json!({}));
    scene.upstream.script(Rule::next().times(3), Fault::Answer(reply));
    for _ in 0..3 {
        assert_eq!(scene.sidecar.ask(GOOD).status, 200);
    }
    let evil = GOOD.replace("localhost", "evil.example");
    assert_eq!(scene.sidecar.ask(&evil).status, 421);
    let (status, figures) = ask(&socket, "/metrics", "localhost");
    assert_eq!(status, 200);
    for line in [
        "countersign_requests_total{route=\"default\",status=\"2xx\",stage=\"upstream\"} 4",
        "countersign_requests_total{route=\"none\",status=\"4xx\",stage=\"host\"} 1",
        "countersign_sessions{route=\"default\"} 1",
        "countersign_response_seconds_count{route=\"default\"} 4",
        "# EOF",
    ] {
        assert!(figures.contains(line), "{line} in {figures}");
    }
    assert!(!figures.contains(&session) && !figures.contains("evil"), "{figures}");
}

#[test]
fn a_page_that_rebound_its_name_learns_nothing() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Sidecar::program(&pki, &upstream).args(["--admin", "127.0.0.1:0"]);
    let sidecar = Sidecar::start(&program);
    sidecar.process.wait_for_stderr("telling of itself on ");
    let said = sidecar.process.stderr();
    let address = said.split("telling of itself on ").nth(1).unwrap().lines().next().unwrap();
    for (host, status) in [("evil.example", " 421 "), ("localhost", " 200 ")] {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.lines().next().unwrap().contains(status), "{answer}");
    }
}

#[test]
fn it_tells_of_itself_to_this_machine_alone() {
    for address in ["0.0.0.0:9901", "[::]:9901", "fd:3"] {
        let program = Sidecar::bare().args(["--admin", address, "https://127.0.0.1:9/mcp"]);
        let mut process = program.start();
        assert_eq!(process.wait_exit(DEADLINE).code(), Some(78));
        let said = process.stderr();
        assert!(said.contains("--admin: expected an address of this machine alone"), "{said}");
    }
    let mut process = Countersign::new().args(["serve", "--healthcheck"]).start();
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(78));
    assert!(process.stderr().contains("--admin 127.0.0.1:9901"), "{}", process.stderr());
}

#[test]
fn a_service_manager_hears_that_it_is_ready_lives_and_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Sidecar::program(&pki, &upstream).env("NOTIFY_SOCKET", &path);
    let sidecar = Sidecar::start(&program.env("WATCHDOG_USEC", "200000"));
    let hear = || {
        let mut said = [0; 64];
        let length = manager.recv(&mut said).unwrap();
        String::from_utf8_lossy(&said[..length]).into_owned()
    };
    assert_eq!([hear(), hear(), hear()], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    assert_eq!(sidecar.finish(), [] as [&str; 0]);
    while hear() != "STOPPING=1" {}
}
