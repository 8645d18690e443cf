//! Where the URL comes from, and what of the environment is in it.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client, pki::Pki, process::Countersign, refusal::Refusal, tunnel::Tunnel,
    upstream::Upstream,
};

#[test]
fn the_argument_comes_before_the_profile_and_the_profile_before_the_variable() {
    let pki = Pki::new();
    let [argument, profile, variable] = [(); 3].map(|()| Upstream::options(&pki).plain().start());
    let file = pki.path().join("corp.toml");
    fs::write(&file, format!("[profile.corp]\nurl = \"{}\"\n", profile.url())).unwrap();
    let bare = || Countersign::new().env("API_URL", variable.url());
    let with_profile = || bare().arg("--config").arg(&file);
    let opened = || [&argument, &profile, &variable].map(|it| it.posts("initialize").len());
    for (program, expected) in [
        (bare(), [0, 0, 1]),
        (with_profile(), [0, 1, 1]),
        (bare().env("COUNTERSIGN_CONFIG", &file), [0, 2, 1]),
        (with_profile().arg(argument.url()), [1, 2, 1]),
    ] {
        let mut client = Client::start(&program);
        client.handshake();
        assert_eq!(client.finish(), [] as [Value; 0]);
        assert_eq!(opened(), expected);
    }
}

/// A proxy stands in for the name server: it is asked for the tenant's host.
#[test]
fn a_tenant_is_part_of_the_host_and_of_a_header() {
    let pki = Pki::new();
    let hosts = ["acme.mcp.example"];
    let upstream = Upstream::options(&pki).identity(&pki.issue_server("acme", &hosts)).start();
    let proxy = Tunnel::to(upstream.address());
    let program = Countersign::to("https://${TENANT_ID}.mcp.example/v1/mcp")
        .identity(&pki.client)
        .cacert(&pki.ca)
        .args(["--header", "X-Tenant-ID: ${TENANT_ID}", "--proxy", &proxy.url()])
        .env("TENANT_ID", "acme");
    let mut client = Client::start(&program);
    client.handshake();
    assert_eq!(client.tool("echo", json!({"a": 1})), json!({"a": 1}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    assert!(proxy.heads()[0].starts_with("CONNECT acme.mcp.example:443 HTTP/1.1\r\n"));
    for seen in upstream.seen() {
        assert_eq!(seen.header("x-tenant-id"), Some("acme"));
        assert_eq!(seen.path, "/v1/mcp");
    }
}

#[test]
fn a_tenant_without_a_value_is_named_and_may_have_a_default() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).plain().start();
    let port = upstream.address().port();
    let program = Countersign::to(&format!("http://${{TENANT_ID}}:{port}/mcp"));
    let words = ["the URL argument: the variable TENANT_ID is not set"];
    Refusal::of_initialize(&program).says("configuration", &words, "TENANT_ID");
    assert!(upstream.seen().is_empty());

    let program = Countersign::to(&format!("http://${{TENANT_ID:-127.0.0.1}}:{port}/mcp"));
    let mut client = Client::start(&program);
    client.handshake();
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_url_that_would_show_or_send_a_secret_in_the_clear_is_refused() {
    for (url, what, hint) in [
        ("http://mcp.example.com/mcp", "https", "localhost"),
        ("https://alice:canary@mcp.example.com/mcp", "without a user or password", "--basic"),
        ("mcp.example.com/mcp", "expected a URL with https://", "write the whole URL"),
    ] {
        let refusal = Refusal::of_initialize(&Countersign::to(url));
        refusal.says("configuration", &[what], hint);
        assert!(!format!("{refusal:?}").contains("canary"));
    }
}
