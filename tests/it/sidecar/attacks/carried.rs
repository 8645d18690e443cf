//! What goes to the upstream with a request, and comes back with its answer: the configured
//! credentials, and nothing that one side could be fooled with by the other.

use super::{super::Scene, get};
use crate::support::{
    script::{Fault, Reply, Rule},
    upstream::{Seen, Upstream},
};

fn values<'a>(seen: &'a Seen, name: &str) -> Vec<&'a str> {
    seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn what_a_caller_says_of_itself_never_reaches_the_upstream() {
    let flags = ["--bearer", "env:TOKEN", "--api-key", "env:TOKEN"];
    let scene = Scene::obliging(&flags);
    let claims = [
        ("Authorization", "Bearer theirs"),
        ("Proxy-Authorization", "Bearer theirs"),
        ("X-Api-Key", "theirs"),
        ("Cookie", "session=theirs"),
        ("Forwarded", "for=10.0.0.1"),
        ("Via", "1.1 theirs"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Host", "theirs.example"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Client-Cert", "Subject=\"CN=theirs\""),
        ("X-Real-IP", "10.0.0.1"),
        ("X_Real_IP", "10.0.0.1"),
        ("Remote_User", "theirs"),
        ("X_Tenant", "theirs"),
        ("Mcp_Session_Id", "theirs"),
        ("Cf-Access-Authenticated-User-Email", "theirs"),
        ("X-Client-Cert", "theirs"),
        ("Client-Cert", ":theirs:"),
        ("X-SSL-Client-Verify", "SUCCESS"),
        ("X-Remote-User", "theirs"),
        ("X-Auth-Request-User", "theirs"),
        ("X-Original-URL", "/theirs"),
        ("X-Amzn-Mtls-Clientcert", "theirs"),
        ("Connection", "Upgrade, HTTP2-Settings, X-Hop, Authorization, X-Api-Key"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("X-Hop", "theirs"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
    ];
    let lines: String = claims.map(|(name, value)| format!("\r\n{name}: {value}")).concat();
    let asked = format!("Host: localhost\r\nX-Tenant: acme{lines}");
    assert_eq!(scene.sidecar.ask(get(&asked)).status, 200);
    let [seen] = &*scene.upstream.seen() else { panic!("one request") };
    assert_eq!(values(seen, "authorization"), ["Bearer canary"]);
    assert_eq!(values(seen, "x-api-key"), ["canary"]);
    assert_eq!(values(seen, "x-tenant"), ["acme"]);
    assert_eq!(seen.client.as_deref(), Some("CN=client"));
    for (name, _) in claims {
        let name = name.to_ascii_lowercase();
        let ours = ["authorization", "x-api-key"].contains(&&*name);
        assert!(ours || seen.header(&name).is_none(), "{name} in {:?}", seen.headers);
    }
    let said = format!("{:?}", seen.headers);
    assert!(!said.contains("theirs") && !said.contains("10.0.0.1"), "{said}");
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn a_redirect_is_passed_back_and_never_followed_with_a_credential() {
    let scene = Scene::new(&["--bearer", "env:TOKEN"]);
    let other = Upstream::mutual(&scene.pki);
    let own = scene.upstream.url();
    for (status, to, expected) in [
        (307, other.url(), other.url()),
        (302, "http://169.254.169.254/latest".into(), "http://169.254.169.254/latest".into()),
        (308, format!("{own}/next?a=b"), "/mcp/next?a=b".into()),
        (303, "/mcp/next".into(), "/mcp/next".into()),
        (301, "next".into(), "next".into()),
    ] {
        scene.upstream.script(Rule::next(), Fault::redirect(status, &to));
        let before = scene.upstream.seen().len();
        let answer = scene.sidecar.ask(get("Host: localhost"));
        assert_eq!((answer.status, answer.header("location")), (status, Some(&*expected)));
        assert_eq!(scene.upstream.seen().len(), before + 1);
    }
    assert_eq!(other.record().connections.len(), 0);
    assert_eq!(scene.sidecar.finish(), [""; 0]);
}

#[test]
fn an_upstream_that_refuses_our_credentials_aloud_does_not_give_them_away() {
    let scene = Scene::new(&["--bearer", "env:TOKEN"]);
    let reply = Reply::new(403)
        .header("x-echo", "you sent Bearer canary")
        .header("set-cookie", "session=ours")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-plain", "stays");
    scene.upstream.script(Rule::next(), Fault::Answer(reply));
    let answer = scene.sidecar.ask(get("Host: localhost"));
    assert_eq!((answer.status, answer.header("x-plain")), (403, Some("stays")));
    for name in ["x-echo", "set-cookie", "x-hop"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert!(!format!("{answer:?}").contains("canary"));
}

#[test]
fn without_its_credential_nothing_leaves() {
    let scene = Scene::obliging(&["--bearer", "command:/no/such/program"]);
    let answer = scene.sidecar.ask(get("Host: localhost"));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.json()["error"]["data"]["stage"], "credential");
    assert_eq!(scene.upstream.record().connections.len(), 0);
    assert_eq!(scene.sidecar.finish(), ["credential"]);
}
