//! Getting to the upstream and losing it: what is on the port, who never answers, how a connection
//! ends, and what the first message says.

use std::net::{Ipv4Addr, TcpListener};

use http::Method;
use rustls::{NamedGroup, server::Acceptor};
use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::Countersign,
    refusal::Refusal,
    script::{Ending, Fault, Rule, Wire},
    upstream::{Seen, Upstream},
};

const ENDINGS: [Ending; 3] = [Ending::CloseNotify, Ending::NoNotify, Ending::Reset];

#[test]
fn a_port_that_speaks_plain_http_is_recognised() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).plain().start();
    let url = upstream.url().replace("http://", "https://");
    let refusal = Refusal::of_initialize(&Countersign::to(&url).cacert(&pki.ca));
    refusal.says("tls", &["what the upstream 127.0.0.1 sends is not TLS"], "plain HTTP");
}

#[test]
fn a_server_that_never_answers_the_handshake_is_given_up_in_time() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    upstream.wire(Wire::Silent);
    let program = Client::bridge(&pki, &upstream).args(["--connect-timeout", "1s"]);
    let mut client = Client::start(&program);
    let id = client.initialize("2025-11-25");
    let refusal = Refusal::of(&client.error(&id));
    let words = [&*upstream.address().to_string(), "did not finish the TLS handshake within 1s"];
    refusal.says("connect", &words, "--connect-timeout");
    client.handshake();
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_port_that_no_one_listens_on_is_told_with_its_address() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    upstream.down();
    let refusal = Refusal::of_initialize(&Client::bridge(&pki, &upstream));
    let words = [&*upstream.address().to_string(), "refuses connections"];
    refusal.says("connect", &words, "is it running");
}

#[test]
fn a_connection_that_ends_between_two_calls_is_replaced_however_it_ended() {
    for ending in ENDINGS {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = Client::connect(&pki, &upstream);
        upstream.wait_for_listener();
        upstream.script(Rule::on("notifications/roots/list_changed"), Fault::Hangup(ending));
        client.notify("notifications/roots/list_changed", Value::Null);
        // Its stream was on the same one: the client has noticed when it is there again.
        let streams = |seen: &&Seen| seen.method == Method::GET;
        upstream.wait_for(|seen| seen.iter().filter(streams).count() == 2);
        assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1, "{ending:?}");
        assert_eq!(client.finish(), [] as [Value; 0], "{ending:?}");
    }
}

#[test]
fn an_answer_that_is_cut_off_is_an_unknown_outcome_however_it_ended() {
    for http in ["1.1", "2"] {
        for ending in ENDINGS {
            let pki = Pki::new();
            let upstream = Upstream::mutual(&pki);
            let mut client = Client::start(&Client::bridge(&pki, &upstream).args(["--http", http]));
            client.handshake();
            upstream.script(Rule::call("count"), Fault::Cut { at: 5, ending });
            let id = client.call("count", json!({"n": 1}));
            let refusal = Refusal::of(&client.error(&id));
            let words = ["outcome unknown: the response of", "broke off after 5 bytes"];
            refusal.says("send", &words, "check before you call it again");
            assert_eq!(client.tool("count", json!({"n": 2}))["times"], 1, "{http} {ending:?}");
            assert_eq!(upstream.ran(1), 1, "{http} {ending:?}");
        }
    }
}

#[test]
fn ipv6_is_reached_by_address() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).v6().start();
    assert!(upstream.url().starts_with("https://[::1]:"));
    let mut client = Client::connect(&pki, &upstream);
    assert_eq!(client.tool("echo", json!({"a": 1})), json!({"a": 1}));
    let host = upstream.wait_for_method("initialize").headers.get("host").cloned();
    assert!(host.is_none_or(|host| host.to_str().unwrap().starts_with("[::1]:")));
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn the_version_of_http_is_the_one_that_was_told() {
    let pki = Pki::new();
    let offers: [&[&str]; 2] = [&["h2", "http/1.1"], &[]];
    for (offered, flag, agreed) in [
        (offers[0], "auto", Some("h2")),
        (offers[0], "1.1", Some("http/1.1")),
        (offers[0], "2", Some("h2")),
        (offers[1], "auto", None),
    ] {
        let upstream = Upstream::options(&pki).alpn(offered).start();
        let mut client = Client::start(&Client::bridge(&pki, &upstream).args(["--http", flag]));
        client.handshake();
        assert_eq!(upstream.record().connections[0].alpn.as_deref(), agreed, "{flag}");
        assert_eq!(client.finish(), [] as [Value; 0]);
    }
}

#[test]
fn a_server_that_has_only_the_other_version_of_http_is_told_with_the_flag() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).alpn(&["http/1.1"]).start();
    let program = Client::bridge(&pki, &upstream).args(["--http", "2"]);
    let words = ["the upstream 127.0.0.1 refused the handshake", "no version of HTTP in common"];
    Refusal::of_initialize(&program).says("tls", &words, "--http auto");
}

#[test]
fn the_first_message_offers_the_hybrid_group_first() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://localhost:{}/mcp", listener.local_addr().unwrap().port());
    let pki = Pki::new();
    let mut client = Client::start(&Countersign::to(&url).cacert(&pki.ca));
    client.initialize("2025-11-25");
    let (mut tcp, _) = listener.accept().unwrap();
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        assert_ne!(acceptor.read_tls(&mut tcp).unwrap(), 0);
        if let Some(accepted) = acceptor.accept().map_err(|(error, _)| error).unwrap() {
            break accepted;
        }
    };
    let hello = accepted.client_hello();
    assert_eq!(hello.named_groups().unwrap()[0], NamedGroup::X25519MLKEM768);
    assert_eq!(hello.server_name(), Some("localhost"));
}

#[test]
fn a_port_that_speaks_tls_is_recognised_where_plain_http_was_asked_for() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let url = upstream.url().replace("https://", "http://");
    let refusal = Refusal::of_initialize(&Countersign::to(&url));
    refusal.says("protocol", &["answered with something else than HTTP"], "speak HTTP");
}
