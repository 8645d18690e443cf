//! Credentials are for one origin: not for where it redirects to, not for the proxy on the way.

use serde_json::{Value, json};

use super::values;
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::Countersign,
    refusal::Refusal,
    script::{Fault, Rule},
    tunnel::Tunnel,
    upstream::Upstream,
};

fn bridge(pki: &Pki, upstream: &Upstream) -> Countersign {
    let program = Client::bridge(pki, upstream).env("TOKEN", "canary");
    program.args(["--bearer", "env:TOKEN", "--api-key", "env:TOKEN"])
}

#[test]
fn a_redirect_to_another_origin_is_told_and_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let pki = Pki::new();
        let (upstream, other) = (Upstream::mutual(&pki), Upstream::mutual(&pki));
        upstream.script(Rule::next(), Fault::redirect(status, &other.url()));
        let refusal = Refusal::of_initialize(&bridge(&pki, &upstream));
        let words = [&*upstream.url(), &*other.url(), &status.to_string()];
        refusal.says("protocol", &words, "point the URL at it");
        assert_eq!(other.record().connections.len(), 0, "{status}");
        assert_eq!(upstream.seen().len(), 1, "{status}");
    }
}

#[test]
fn a_call_that_is_redirected_away_never_arrives_there() {
    let pki = Pki::new();
    let (upstream, other) = (Upstream::mutual(&pki), Upstream::mutual(&pki));
    let mut client = Client::start(&bridge(&pki, &upstream));
    client.handshake();
    upstream.script(Rule::call("count"), Fault::redirect(307, &other.url()));
    let id = client.call("count", json!({"n": 1}));
    let refusal = Refusal::of(&client.error(&id));
    assert!(refusal.message.contains("to another origin"), "{refusal:?}");
    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    assert_eq!(other.record().connections.len(), 0);
}

#[test]
fn a_redirect_within_the_origin_is_followed_with_each_credential_once() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    upstream.script(Rule::next(), Fault::redirect(308, "/mcp/"));
    let mut client = Client::start(&bridge(&pki, &upstream));
    client.handshake();
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.posts("initialize");
    assert_eq!(seen.iter().map(|seen| &*seen.path).collect::<Vec<_>>(), ["/mcp", "/mcp/"]);
    for seen in seen {
        assert_eq!(values(&seen, "authorization"), ["Bearer canary"]);
        assert_eq!(values(&seen, "x-api-key"), ["canary"]);
    }
}

#[test]
fn a_proxy_is_told_the_host_and_nothing_of_ours() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let proxy = Tunnel::to(upstream.address());
    let program = bridge(&pki, &upstream).args(["--proxy", &proxy.url()]);
    let program = program.args(["--header", "X-Tenant: canary"]);
    let mut client = Client::start(&program);
    client.handshake();
    assert_eq!(client.tool("echo", json!({"a": 1})), json!({"a": 1}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    for head in proxy.heads() {
        let asked = format!("CONNECT {} HTTP/1.1\r\n", upstream.address());
        assert!(head.starts_with(&asked), "{head}");
        let head = head.to_ascii_lowercase();
        for ours in ["canary", "authorization", "x-api-key", "x-tenant", "mcp", "cookie"] {
            assert!(!head.contains(ours), "{ours} in {head}");
        }
    }
    assert!(upstream.seen().iter().all(|seen| values(seen, "authorization") == ["Bearer canary"]));
}

#[test]
fn the_proxys_own_password_goes_to_the_proxy_alone() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let proxy = Tunnel::to(upstream.address());
    let program = bridge(&pki, &upstream).env("PROXY_PASSWORD", "open sesame");
    let program = program.args(["--proxy", &proxy.url()]);
    let mut client = Client::start(&program.args(["--proxy-user", "Aladdin:env:PROXY_PASSWORD"]));
    client.handshake();
    assert_eq!(client.finish(), [] as [Value; 0]);
    let heads = proxy.heads();
    assert!(!heads.is_empty());
    for head in heads.iter().map(|head| head.to_ascii_lowercase()) {
        let login = "proxy-authorization: basic qwxhzgrpbjpvcgvuihnlc2ftzq==";
        assert_eq!(head.matches("authorization").count(), 1, "{head}");
        assert!(head.contains(login), "{head}");
    }
    assert!(upstream.seen().iter().all(|seen| values(seen, "proxy-authorization").is_empty()));
}
