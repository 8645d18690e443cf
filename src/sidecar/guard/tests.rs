//! One attack a row.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use http::Request;

use super::*;

fn tcp() -> Peer {
    let from = From::Tcp("127.0.0.1:50000".parse().unwrap());
    Peer { from, names: Arc::new([]), exposed: false }
}

fn unix(uid: u32) -> Peer {
    Peer { from: From::Unix(uid), ..tcp() }
}

fn head(target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method("POST").uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn decide(settings: &Settings, headers: &[(&str, &str)]) -> Result<(), Denied> {
    admit(settings, &head("/mcp", headers), &tcp())
}

#[test]
fn the_names_of_loopback_are_ours() {
    for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080"] {
        assert_eq!(decide(&Settings::default(), &[("host", host)]), Ok(()), "{host}");
    }
}

#[test]
fn a_name_that_was_rebound_is_not() {
    for host in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "evil.example@localhost",
        "0.0.0.0",
        "10.0.0.1",
        "[::ffff:10.0.0.1]",
        "2130706433",
    ] {
        let denied = decide(&Settings::default(), &[("host", host)]).unwrap_err();
        assert_eq!(denied.rule(), "host", "{host}");
    }
    let settings = Settings { hosts: vec!["sidecar.internal".to_owned()], ..Settings::default() };
    assert_eq!(decide(&settings, &[("host", "Sidecar.Internal:80")]), Ok(()));
    assert_eq!(decide(&settings, &[("host", "other.internal")]), Err(Denied::Host));
}

#[test]
fn the_host_of_a_route_is_ours_and_opens_and_closes_no_other() {
    let settings = Settings { routed: vec!["tickets.localhost".to_owned()], ..Settings::default() };
    assert_eq!(decide(&settings, &[("host", "Tickets.localhost:8080")]), Ok(()));
    for other in ["evil.example", "x.tickets.localhost", "tickets.localhost.evil.example"] {
        assert_eq!(decide(&settings, &[("host", other)]), Err(Denied::Host), "{other}");
    }
    let exposed = Peer { exposed: true, ..tcp() };
    let asked = head("/mcp", &[("host", "sidecar.example")]);
    assert_eq!(admit(&settings, &asked, &exposed), Ok(()));
}

#[test]
fn a_host_is_compared_without_its_port_and_an_address_by_its_value() {
    for (text, expected) in [
        ("Box.Internal", Some("box.internal")),
        ("10.0.0.1", Some("10.0.0.1")),
        ("2001:DB8::1", Some("[2001:db8::1]")),
        ("[2001:db8:0:0::1]", Some("[2001:db8::1]")),
        ("box.internal:8080", None),
        ("[2001:db8::1]:80", None),
        ("10.0.0.1:80", None),
        ("box.internal/x", None),
        ("*.internal", None),
        ("me@box.internal", None),
        ("[::1", None),
        ("a b", None),
        ("", None),
    ] {
        assert_eq!(host_name(text).as_deref(), expected, "{text}");
    }
    let hosts = vec![host_name("2001:DB8::1").unwrap(), host_name("10.0.0.1").unwrap()];
    let settings = Settings { hosts, ..Settings::default() };
    for asked in ["[2001:db8::1]", "[2001:DB8:0::1]:8080", "10.0.0.1:8080"] {
        assert_eq!(decide(&settings, &[("host", asked)]), Ok(()), "{asked}");
    }
    assert_eq!(decide(&settings, &[("host", "[2001:db8::2]")]), Err(Denied::Host));
}

#[test]
fn a_request_is_for_one_host() {
    let settings = Settings::default();
    let two = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(decide(&settings, &two), Err(Denied::Hosts("two")));
    assert_eq!(decide(&settings, &[]), Err(Denied::Hosts("none")));
    assert_eq!(decide(&settings, &[("host", "a b")]), Err(Denied::Hosts("none")));
    let absolute = head("http://evil.example/mcp", &[("host", "localhost")]);
    assert_eq!(admit(&settings, &absolute, &tcp()), Err(Denied::Hosts("two")));
    let absolute = head("http://evil.example/mcp", &[]);
    assert_eq!(admit(&settings, &absolute, &tcp()), Err(Denied::Host));
    let absolute = head("http://localhost/mcp", &[("host", "localhost")]);
    assert_eq!(admit(&settings, &absolute, &tcp()), Ok(()));
}

#[test]
fn a_listener_for_the_network_is_reached_by_any_name_unless_some_are_listed() {
    let exposed = Peer { exposed: true, ..tcp() };
    let asked = head("/mcp", &[("host", "sidecar.example")]);
    assert_eq!(admit(&Settings::default(), &asked, &exposed), Ok(()));
    let settings = Settings { hosts: vec!["other.example".to_owned()], ..Settings::default() };
    assert_eq!(admit(&settings, &asked, &exposed), Err(Denied::Host));
}

#[test]
fn web_pages_of_other_origins_may_not_ask() {
    let settings =
        Settings { origins: vec!["https://tools.example".to_owned()], ..Settings::default() };
    let ask = |more: &[(&str, &str)]| decide(&settings, &[&[("host", "localhost")], more].concat());
    for allowed in [
        "http://localhost:6274",
        "https://127.0.0.1",
        "http://[::1]:3000",
        "https://tools.example",
        "HTTPS://Tools.Example",
    ] {
        assert_eq!(ask(&[("origin", allowed)]), Ok(()), "{allowed}");
    }
    for denied in [
        "https://evil.example",
        "null",
        "",
        "file://",
        "https://tools.example:8443",
        "http://tools.example",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "chrome-extension://localhost",
    ] {
        assert_eq!(ask(&[("origin", denied)]), Err(Denied::Origin), "{denied}");
    }
    let two = [("origin", "http://localhost"), ("origin", "https://evil.example")];
    assert_eq!(ask(&two), Err(Denied::Origin));
    assert_eq!(ask(&[("sec-fetch-site", "cross-site")]), Err(Denied::Origin));
    assert_eq!(ask(&[("sec-fetch-site", "none")]), Ok(()));
}

#[test]
fn what_asks_for_another_host_or_an_echo_is_not_carried() {
    for method in ["CONNECT", "TRACE", "PROPFIND", "post"] {
        let mut asked = head("/mcp", &[("host", "localhost")]);
        asked.method = method.parse().unwrap();
        let denied = admit(&Settings::default(), &asked, &tcp()).unwrap_err();
        assert_eq!(denied.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
}

#[test]
fn only_listed_users_may_connect_to_a_socket_and_need_no_name_for_it() {
    let settings = Settings { users: vec![1000], ..Settings::default() };
    let asked = head("/mcp", &[("host", "whatever")]);
    assert_eq!(admit(&settings, &asked, &unix(1000)), Ok(()));
    assert_eq!(admit(&settings, &asked, &unix(0)), Err(Denied::User(0)));
    let two = head("/mcp", &[("host", "a"), ("host", "b")]);
    assert_eq!(admit(&settings, &two, &unix(1000)), Err(Denied::Hosts("two")));
}

#[test]
fn a_certificate_has_one_of_the_names() {
    let settings = Settings { names: vec!["spiffe://a/agent".to_owned()], ..Settings::default() };
    let asked = head("/mcp", &[("host", "localhost")]);
    let named = |names: &[&str]| Peer {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..tcp()
    };
    let peer = named(&["agent.example", "spiffe://a/agent"]);
    assert_eq!(admit(&settings, &asked, &peer), Ok(()));
    for names in [&["spiffe://a/agent2"][..], &["SPIFFE://A/AGENT"], &[]] {
        assert_eq!(admit(&settings, &asked, &named(names)), Err(Denied::Name));
    }
}

#[test]
fn a_header_may_be_asked_for() {
    let required = (HeaderName::from_static("x-from"), HeaderValue::from_static("agent"));
    let settings = Settings { required: Some(required), ..Settings::default() };
    let ask =
        |more: (&'static str, &'static str)| decide(&settings, &[("host", "localhost"), more]);
    assert_eq!(ask(("x-from", "agent")), Ok(()));
    assert_eq!(ask(("x-from", "other")), Err(Denied::Required));
    assert_eq!(ask(("x-other", "agent")), Err(Denied::Required));
}

#[test]
fn the_token_is_shown_once_and_whole() {
    let token = Secret::new("s3cret");
    let ask = |values: &[&str]| {
        let values: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        let asked = head("/mcp", &[&[("host", "localhost")], &values[..]].concat());
        proven(&asked.headers, &token)
    };
    assert_eq!(ask(&["Bearer s3cret"]), Ok(()));
    assert_eq!(ask(&["bearer s3cret"]), Ok(()));
    for wrong in [
        &["Bearer s3cre"][..],
        &["Bearer s3crets"],
        &["Bearer "],
        &["Basic s3cret"],
        &["s3cret"],
        &[""],
        &[],
        &["Bearer s3cret", "Bearer s3cret"],
    ] {
        assert_eq!(ask(wrong), Err(Denied::Token), "{wrong:?}");
    }
}

#[test]
fn dot_segments_do_not_pass() {
    let asked = head("/mcp/%2e%2e/admin", &[("host", "localhost")]);
    assert_eq!(admit(&Settings::default(), &asked, &tcp()), Err(Denied::Path));
}
