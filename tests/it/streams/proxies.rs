//! The way through a proxy: by flag and by variable, with a password and without, past it.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{HTTP, hint, message};
use crate::support::{
    jsonrpc::Client, pki::Pki, process::Countersign, tunnel::Tunnel, upstream::Upstream,
};

/// A name that only the proxy can resolve.
const HOST: &str = "mcp.test.invalid";

/// The bridge to `HOST`, which shows the certificate of localhost.
fn bridge(pki: &Pki, upstream: &Upstream) -> Countersign {
    let program = Countersign::to(&upstream.url_for(HOST));
    program.identity(&pki.client).cacert(&pki.ca).args(["--server-name", "localhost"])
}

/// What a session over this program gives; it must have gone through the proxy, all of it.
#[track_caller]
fn assert_through(proxy: &Tunnel, upstream: &Upstream, program: &Countersign) {
    let mut client = Client::start(program);
    client.handshake();
    assert_eq!(client.tool("echo", json!({"a": 1})), json!({"a": 1}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let asked = proxy.heads();
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
            let proxy = Tunnel::to(upstream.address());
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
    let proxy = Tunnel::guarded(upstream.address(), &basic);
    let program = bridge(&pki, &upstream).args(["--proxy", &proxy.url()]);
    let program = program.args(["--proxy-user", "joe:env:WORD"]).env("WORD", "s3cret");
    assert_through(&proxy, &upstream, &program);

    let upstream = Upstream::mutual(&pki);
    let basic = format!("Basic {}", BASE64_STANDARD.encode("joe:s3cret"));
    let proxy = Tunnel::guarded(upstream.address(), &basic);
    let url = format!("http://joe:s3cret@{}", proxy.address());
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
    let proxy = Tunnel::guarded(upstream.address(), "Basic ...");
    let program = bridge(&pki, &upstream).args(["--proxy", &proxy.url()]);
    let error = refused(&program);
    assert!(message(&error).contains(&proxy.address().to_string()), "{error}");
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
    let proxy = Tunnel::to(upstream.address());
    let program = bridge(&pki, &upstream).env("HTTPS_PROXY", proxy.url());
    let error = refused(&program.env("NO_PROXY", "example.com,.test.invalid"));
    assert!(message(&error).contains(&format!("no address for {HOST}")), "{error}");

    let program = Client::bridge(&pki, &upstream).env("HTTPS_PROXY", proxy.url());
    let mut client = Client::start(&program);
    client.handshake();
    client.tool("echo", json!({}));
    assert!(proxy.heads().is_empty());
}

#[test]
fn the_flag_wins_over_exemptions() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let proxy = Tunnel::to(upstream.address());
    let program = bridge(&pki, &upstream).args(["--proxy", &proxy.url()]).env("NO_PROXY", "*");
    assert_through(&proxy, &upstream, &program);
}
