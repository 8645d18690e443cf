//! One sidecar, several upstreams: each route with its own identity, its own credentials, its own
//! sessions, and none of them for another's origin.

use std::fs;

use crate::support::{
    pki::Pki,
    process::DEADLINE,
    script::{Fault, Reply, Rule},
    sidecar::Sidecar,
    upstream::{Seen, Upstream},
};

/// Two upstreams behind one sidecar: `/a` and `a.example` lead to one, `/b/deep` and `b.example` to
/// the other.
struct Pod {
    a: Upstream,
    b: Upstream,
    sidecar: Sidecar,
    _pki: Pki,
}

impl Pod {
    fn new() -> Self {
        let pki = Pki::new();
        let (a, b) = (Upstream::mutual(&pki), Upstream::mutual(&pki));
        for (upstream, name) in [(&a, "a"), (&b, "b")] {
            let reply = Reply::new(200).header("x-from", name);
            upstream.script(
                Rule::matching(|seen| !seen.path.contains("redirect")).always(),
                Fault::Answer(reply),
            );
        }
        let profile = |name: &str, url: &str, client: &crate::support::pki::Identity| {
            format!(
                "[profile.{name}]\nurl = \"{url}\"\ncert = \"{}\"\nkey = \"{}\"\ncacert = \"{}\"\n\
                 bearer = {{ env = \"TOKEN_{}\" }}\n",
                client.cert.display(),
                client.key.display(),
                pki.ca.cert.display(),
                name.to_uppercase(),
            )
        };
        let file = [
            profile("a", &a.url(), &pki.client),
            profile("b", &b.url(), &pki.issue_client("other")),
            "[profile.pod.serve]\nlisten = \"127.0.0.1:0\"\n".into(),
            "[profile.pod.serve.routes.a]\nprefix = \"/a\"\n".into(),
            "[profile.pod.serve.routes.b]\nprefix = \"/b/deep\"\n".into(),
            "[profile.pod.serve.routes.a-host]\nprofile = \"a\"\nhost = \"a.example\"\nprefix = \"/\"\n".into(),
            "[profile.pod.serve.routes.b-host]\nprofile = \"b\"\nhost = \"b.example\"\n".into(),
        ];
        let path = pki.path().join("corp.toml");
        fs::write(&path, file.concat()).unwrap();
        let program = crate::support::process::Countersign::new().args(["serve", "-v", "--config"]);
        let program = program.arg(&path).args(["--profile", "pod"]);
        let program = program.env("TOKEN_A", "canary-of-a").env("TOKEN_B", "canary-of-b");
        Self { a, b, sidecar: Sidecar::start(&program), _pki: pki }
    }

    fn ask(&self, host: &str, path: &str, lines: &str) -> crate::support::sidecar::Answer {
        self.sidecar.ask(format!("GET {path} HTTP/1.1\r\nHost: {host}{lines}\r\n\r\n"))
    }

    /// All requests went out with what is theirs.
    #[track_caller]
    fn keeps_them_apart(&self) {
        let with = |seen: &Seen, token: &str, client: &str| {
            seen.header("authorization") == Some(&format!("Bearer {token}"))
                && seen.client.as_deref() == Some(client)
        };
        let (a, b) = (self.a.seen(), self.b.seen());
        assert!(a.iter().all(|seen| with(seen, "canary-of-a", "CN=client")), "{a:?}");
        assert!(b.iter().all(|seen| with(seen, "canary-of-b", "CN=other")), "{b:?}");
        for (upstream, other) in [(a, "canary-of-b"), (b, "canary-of-a")] {
            assert!(upstream.iter().all(|seen| !format!("{:?}", seen.headers).contains(other)));
        }
    }
}

#[test]
fn each_request_goes_the_way_of_its_route_with_its_credentials() {
    let pod = Pod::new();
    for (host, path, from, there) in [
        ("localhost", "/a", "a", "/mcp"),
        ("localhost", "/a/", "a", "/mcp/"),
        ("localhost", "/a/x%2Fy?q=1", "a", "/mcp/x%2Fy?q=1"),
        ("localhost", "/b/deep/x", "b", "/mcp/x"),
        ("127.0.0.1:8080", "/b/deep?q", "b", "/mcp?q"),
        ("a.example", "/anything/else", "a", "/mcp/anything/else"),
        // A route for its host is closer than one for all.
        ("a.example", "/b/deep/x", "a", "/mcp/b/deep/x"),
        ("A.Example:80", "/", "a", "/mcp/"),
        ("b.example", "/mcp/x", "b", "/mcp/x"),
        ("b.example", "/a/x", "a", "/mcp/x"),
    ] {
        let answer = pod.ask(host, path, "\r\nAuthorization: Bearer theirs");
        assert_eq!((answer.status, answer.header("x-from")), (200, Some(from)), "{host} {path}");
        let upstream = if from == "a" { &pod.a } else { &pod.b };
        assert_eq!(upstream.seen().last().unwrap().path, there, "{host} {path}");
    }
    assert_eq!(pod.a.seen().len() + pod.b.seen().len(), 10);
    pod.keeps_them_apart();
    assert_eq!(pod.sidecar.finish(), [""; 0]);
}

#[test]
fn what_no_route_covers_goes_nowhere() {
    let pod = Pod::new();
    for (host, path, status) in [
        ("localhost", "/", 404),
        ("localhost", "/mcp", 404),
        ("localhost", "/b", 404),
        ("localhost", "/ab", 404),
        ("localhost", "/b/deeper", 404),
        ("localhost", "/A", 404),
        ("localhost", "/a/../b/deep", 400),
        ("localhost", "/b/deep/..%2f..%2fa", 400),
        ("b.example", "/other", 404),
        ("c.example", "/a", 421),
    ] {
        assert_eq!(pod.ask(host, path, "").status, status, "{host} {path}");
    }
    assert!(pod.a.seen().is_empty() && pod.b.seen().is_empty());
    let mut rules = vec!["route"; 6];
    rules.extend(["path", "path", "route", "host"]);
    assert_eq!(pod.sidecar.finish(), rules);
}

#[test]
fn credentials_beside_routes_which_no_request_would_carry_are_refused() {
    for stray in ["bearer = { env = \"TOKEN\" }", "url = \"https://mcp.example.com\""] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "[profile.pod]\n{stray}\n[profile.pod.serve.routes.a]\nprefix = \"/a\"\n\
             [profile.a]\nurl = \"https://mcp.example.com\"\n"
        );
        fs::write(&file, text).unwrap();
        let program = crate::support::process::Countersign::new().args(["serve", "--config"]);
        let program = program.arg(file.path()).args(["--profile", "pod"]).env("TOKEN", "canary");
        let mut process = program.start();
        assert_eq!(process.wait_exit(DEADLINE).code(), Some(78));
        let said = process.stderr();
        assert!(said.contains("there are routes") && said.contains(":2: "), "{said}");
    }
}

#[test]
fn a_redirect_from_one_upstream_to_the_other_is_left_to_the_caller() {
    let pod = Pod::new();
    for (to, expected) in [
        (pod.b.url(), pod.b.url()),
        (format!("{}/next", pod.a.url()), "/a/next".to_owned()),
        ("/mcp/next".to_owned(), "/a/next".to_owned()),
    ] {
        pod.a.script(Rule::next(), Fault::redirect(307, &to));
        let answer = pod.ask("localhost", "/a/redirect", "");
        assert_eq!((answer.status, answer.header("location")), (307, Some(&*expected)));
    }
    assert!(pod.b.seen().is_empty());
    pod.keeps_them_apart();
}

#[test]
fn an_upstream_that_is_down_takes_no_other_route_with_it() {
    let pod = Pod::new();
    pod.a.down();
    assert_eq!(pod.ask("localhost", "/a", "").status, 502);
    assert_eq!(pod.ask("localhost", "/b/deep", "").status, 200);
    pod.a.up();
    assert_eq!(pod.ask("localhost", "/a", "").status, 200);
    pod.keeps_them_apart();
    assert_eq!(pod.sidecar.finish(), ["connect"]);
}
