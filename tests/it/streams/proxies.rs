//! The way through a proxy: by flag and by variable, with a password and without, past it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{HTTP, hint, message};
use crate::support::{jsonrpc::Client, pki::Pki, process::Countersign, upstream::Upstream};

/// A name that only the proxy can resolve.
const HOST: &str = "mcp.test.invalid";

/// A CONNECT proxy that takes every name for the same address.
struct Proxy {
    address: SocketAddr,
    /// The heads of the requests it got.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Demands `Proxy-Authorization` of this value, if any.
    fn start(to: SocketAddr, demanded: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let heads = Arc::clone(&asked);
        // Ends with the test binary; its connections end with the processes that made them.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (heads, demanded) = (Arc::clone(&heads), demanded.clone());
                thread::spawn(move || tunnel(&client, to, demanded.as_deref(), &heads));
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Reads a head, answers it, and carries bytes both ways until one side ends.
fn tunnel(
    client: &TcpStream,
    to: SocketAddr,
    demanded: Option<&str>,
    heads: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1, client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    heads.lock().unwrap().push(head.clone());
    let authorized = demanded.is_none_or(|value| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .any(|(name, given)| name.eq_ignore_ascii_case("proxy-authorization") && given == value)
    });
    let mut client = client;
    if !authorized {
        return client.write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\
              content-length: 0\r\n\r\n",
        );
    }
    let upstream = TcpStream::connect(to)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    thread::scope(|scope| {
        scope.spawn(|| carry(client, &upstream));
        carry(&upstream, client);
    });
    Ok(())
}

fn carry(mut from: &TcpStream, mut to: &TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// The bridge to `HOST`, which shows the certificate of localhost.
fn bridge(pki: &Pki, upstream: &Upstream) -> Countersign {
    let program = Countersign::to(&upstream.url_for(HOST));
    program.identity(&pki.client).cacert(&pki.ca).args(["--server-name", "localhost"])
}

/// What a session over this program gives; it must have gone through the proxy, all of it.
#[track_caller]
fn assert_through(proxy: &Proxy, upstream: &Upstream, program: &Countersign) {
    let mut client = Client::start(program);
    client.handshake();
    assert_eq!(client.tool("echo", json!({"a": 1})), json!({"a": 1}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let asked = proxy.asked();
    let line = format!("CONNECT {HOST}:{} HTTP/1.1\r\n", upstream.address().port());
    assert!(!asked.is_empty() && asked.iter().all(|head| head.starts_with(&line)), "{asked:?}");
    assert_eq!(asked.len(), upstream.record().connections.len());
    assert!(upstream.seen().iter().all(|seen| seen.header("proxy-authorization").is_none()));
}

#[test]
fn a_proxy_is_named_by_flag_or_by_variable() {
    for http in HTTP {
        for variable in [None, Some("HTTPS_PROXY"), Some("https_proxy"), Some("ALL_PROXY")] {
            let pki = Pki::new();
            let upstream = Upstream::mutual(&pki);
            let proxy = Proxy::start(upstream.address(), None);
            let program = bridge(&pki, &upstream).args(["--http", http]);
            let program = match variable {
                None => program.args(["--proxy", &proxy.url()]),
                Some(name) => program.env(name, proxy.url()).env("NO_PROXY", "example.com"),
            };
            assert_through(&proxy, &upstream, &program);
        }
    }
}

#[test]
fn a_proxy_gets_its_own_password_and_the_upstream_does_not() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let basic = format!("Basic {}", BASE64_STANDARD.encode("joe:s3cret"));
    let proxy = Proxy::start(upstream.address(), Some(basic));
    let program = bridge(&pki, &upstream).args(["--proxy", &proxy.url()]);
    let program = program.args(["--proxy-user", "joe:env:WORD"]).env("WORD", "s3cret");
    assert_through(&proxy, &upstream, &program);

    let upstream = Upstream::mutual(&pki);
    let basic = format!("Basic {}", BASE64_STANDARD.encode("joe:s3cret"));
    let proxy = Proxy::start(upstream.address(), Some(basic));
    let url = format!("http://joe:s3cret@{}", proxy.address);
    assert_through(&proxy, &upstream, &bridge(&pki, &upstream).env("HTTPS_PROXY", url));
}

/// The error that answers `initialize`.
fn refused(program: &Countersign) -> Value {
    let mut client = Client::start(program);
    let id = client.initialize("2025-11-25");
    let error = client.error(&id);
    assert_eq!(error["data"]["stage"], "connect", "{error}");
    error
}

#[test]
fn a_proxy_that_wants_a_password_says_which_flag_gives_it() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let proxy = Proxy::start(upstream.address(), Some("Basic ...".into()));
    let program = bridge(&pki, &upstream).args(["--proxy", &proxy.url()]);
    let error = refused(&program);
    assert!(message(&error).contains(&proxy.address.to_string()), "{error}");
    assert!(hint(&error).contains("--proxy-user"), "{error}");
    let error = refused(&program.args(["--proxy-user", "joe:env:WORD"]).env("WORD", "wr0ng"));
    assert!(hint(&error).contains("--proxy-user") && !error.to_string().contains("wr0ng"));
    assert!(upstream.record().connections.is_empty());
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let gone = Upstream::mutual(&pki);
    gone.down();
    let proxy = format!("http://{}", gone.address());
    let error = refused(&bridge(&pki, &upstream).args(["--proxy", &proxy]));
    assert!(message(&error).contains(&gone.address().to_string()), "{error}");
    assert!(message(&error).contains("refuses connections"), "{error}");
}

#[test]
fn exempted_hosts_and_loopback_are_reached_without_a_proxy_of_the_environment() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let proxy = Proxy::start(upstream.address(), None);
    let program = bridge(&pki, &upstream).env("HTTPS_PROXY", proxy.url());
    let error = refused(&program.env("NO_PROXY", "example.com,.test.invalid"));
    assert!(message(&error).contains(&format!("no address for {HOST}")), "{error}");

    let program = Client::bridge(&pki, &upstream).env("HTTPS_PROXY", proxy.url());
    let mut client = Client::start(&program);
    client.handshake();
    client.tool("echo", json!({}));
    assert!(proxy.asked().is_empty());
}

#[test]
fn the_flag_wins_over_exemptions() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let proxy = Proxy::start(upstream.address(), None);
    let program = bridge(&pki, &upstream).args(["--proxy", &proxy.url()]).env("NO_PROXY", "*");
    assert_through(&proxy, &upstream, &program);
}
