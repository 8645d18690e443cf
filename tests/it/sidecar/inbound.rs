//! Callers over TLS: known by their certificates, or not let in.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::aws_lc_rs};
use serde_json::json;

use super::{call, named, post};
use crate::support::{
    pki::{Identity, Pki, SPIFFE_ID},
    process::DEADLINE,
    script::{Fault, Reply, Rule},
    sidecar::Sidecar,
    upstream::Upstream,
};

const ASK: &str = "GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A sidecar that asks callers for certificates of the CA.
fn scene(pki: &Pki, flags: &[&str]) -> (Upstream, Sidecar) {
    let upstream = Upstream::mutual(pki);
    let program = Sidecar::program(pki, &upstream).arg("--listen-cert").arg(&pki.server.cert);
    let program = program.arg("--listen-key").arg(&pki.server.key);
    std::fs::write(clients(pki), pki.ca.pem()).unwrap();
    let sidecar = Sidecar::start(&program.arg("--client-ca").arg(clients(pki)).args(flags));
    (upstream, sidecar)
}

/// The roots of callers, in a file of their own.
fn clients(pki: &Pki) -> PathBuf {
    pki.path().join("clients.pem")
}

fn obliging(upstream: &Upstream) {
    upstream.script(Rule::next().always(), Fault::Answer(Reply::json(200, &json!({}))));
}

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// A caller with this certificate, who trusts the CA.
fn caller(pki: &Pki, identity: Option<&Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(pki.ca.der()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(it) => builder.with_client_auth_cert(vec![it.cert_der()], it.key_der()).unwrap(),
    }
}

fn open(caller: ClientConfig, to: SocketAddr) -> Secured {
    let name = "localhost".try_into().unwrap();
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(caller), name).unwrap(), stream)
}

/// A connection of such a caller.
fn connect(pki: &Pki, to: SocketAddr, identity: Option<&Identity>) -> Secured {
    open(caller(pki, identity), to)
}

/// The status of the answer, none where the caller was not let in; and the head.
fn asks(line: &mut Secured, request: &str) -> (Option<u16>, String) {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    if line.write_all(request.as_bytes()).is_ok() {
        while let Ok(read @ 1..) = line.read(&mut piece) {
            head.extend_from_slice(&piece[..read]);
            if head.windows(4).any(|it| it == b"\r\n\r\n") {
                break;
            }
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status, head)
}

fn ask(pki: &Pki, to: SocketAddr, identity: Option<&Identity>) -> Option<u16> {
    asks(&mut connect(pki, to, identity), ASK).0
}

#[test]
fn who_has_no_certificate_of_the_authority_is_not_let_in() {
    let pki = Pki::new();
    let (upstream, sidecar) = scene(&pki, &[]);
    obliging(&upstream);
    for identity in [None, Some(&pki.foreign), Some(&pki.expired), Some(&pki.early)] {
        assert_eq!(ask(&pki, sidecar.address(), identity), None);
    }
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(ask(&pki, sidecar.address(), Some(&pki.client)), Some(200));
    assert_eq!(sidecar.finish(), ["tls"; 4]);
}

#[test]
fn plain_http_is_not_spoken_beside_it() {
    let pki = Pki::new();
    let (upstream, sidecar) = scene(&pki, &[]);
    let mut plain = TcpStream::connect(sidecar.address()).unwrap();
    plain.write_all(ASK.as_bytes()).unwrap();
    let mut said = Vec::new();
    // An alert, or nothing, and the end.
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP/"));
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(sidecar.finish(), ["tls"]);
}

#[test]
fn a_certificate_must_have_one_of_the_names() {
    let pki = Pki::new();
    let svid = pki.issue_svid("agent");
    let (upstream, sidecar) = scene(&pki, &["--client-name", SPIFFE_ID]);
    obliging(&upstream);
    assert_eq!(ask(&pki, sidecar.address(), Some(&pki.client)), Some(403));
    assert_eq!(ask(&pki, sidecar.address(), Some(&svid)), Some(200));
    assert_eq!(sidecar.finish(), ["client_name"]);
}

#[test]
fn a_session_belongs_to_the_certificate_that_was_given_it() {
    let pki = Pki::new();
    let (alice, bob) = (pki.issue_client("alice"), pki.issue_client("bob"));
    let (upstream, sidecar) = scene(&pki, &[]);
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    });
    let open = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let (status, head) =
        asks(&mut connect(&pki, sidecar.address(), Some(&alice)), &post("", &open));
    assert_eq!(status, Some(200), "{head}");
    let session = head.split("mcp-session-id: ").nth(1).unwrap().lines().next().unwrap();
    let count = call(session, "count", &json!({"n": 1}));
    let as_bob = asks(&mut connect(&pki, sidecar.address(), Some(&bob)), &count);
    assert_eq!(as_bob.0, Some(404), "{}", named(session));
    assert_eq!(upstream.posts("tools/call").len(), 0);
    let as_alice = asks(&mut connect(&pki, sidecar.address(), Some(&alice)), &count);
    assert_eq!(as_alice.0, Some(200));
    assert_eq!(sidecar.finish(), ["session"]);
}

#[test]
fn http_2_is_agreed_on() {
    let pki = Pki::new();
    let (_upstream, sidecar) = scene(&pki, &[]);
    let mut caller = caller(&pki, Some(&pki.client));
    caller.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut line = open(caller, sidecar.address());
    while line.conn.is_handshaking() {
        line.conn.complete_io(&mut line.sock).unwrap();
    }
    assert_eq!(line.conn.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn an_authority_that_is_replaced_ends_what_came_under_the_one_before() {
    let (pki, next) = (Pki::new(), Pki::new());
    let (upstream, sidecar) = scene(&pki, &[]);
    obliging(&upstream);
    let mut old = connect(&pki, sidecar.address(), Some(&pki.client));
    assert_eq!(asks(&mut old, ASK).0, Some(200));

    let kept = "the ones before stay";
    std::fs::write(clients(&pki), "no certificate").unwrap();
    sidecar.process.wait_for_stderr(kept);
    assert_eq!(asks(&mut old, ASK).0, Some(200));
    assert_eq!(ask(&pki, sidecar.address(), Some(&pki.client)), Some(200));

    std::fs::write(clients(&pki), next.ca.pem()).unwrap();
    sidecar.process.wait_for_stderr("reloaded the TLS files of the listeners");
    assert_eq!(old.read(&mut [0]).unwrap_or_default(), 0, "its connection ends");
    assert_eq!(ask(&pki, sidecar.address(), Some(&pki.client)), None);
    assert_eq!(ask(&pki, sidecar.address(), Some(&next.client)), Some(200));
    assert_eq!(sidecar.process.stderr().matches(kept).count(), 1);
}

#[test]
fn with_certificates_it_may_listen_to_the_network() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    obliging(&upstream);
    let program = Sidecar::program(&pki, &upstream).args(["--listen", "0.0.0.0:0"]);
    let program = program.arg("--listen-cert").arg(pki.server.combined());
    let mut refused = program.start();
    assert_eq!(refused.wait_exit(DEADLINE).code(), Some(78));
    assert!(refused.stderr().contains("--client-ca FILE"), "{}", refused.stderr());
    let sidecar = Sidecar::start(&program.arg("--client-ca").arg(&pki.ca.cert));
    sidecar.process.wait_for_stderr("listening on 0.0.0.0:");
    assert_eq!(ask(&pki, sidecar.address(), Some(&pki.client)), Some(200));
    assert_eq!(sidecar.finish(), [] as [&str; 0]);
}
