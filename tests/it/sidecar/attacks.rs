//! Who tries what they should not: refused with the right status before anything of it reaches the
//! upstream, logged once by the rule, and no harm to the next.

mod carried;
mod malformed;
mod quiet;
mod slow;
mod window;

use std::path::Path;

use http::Request;
use rustix::thread::set_thread_uid;

use super::{Scene, get};
use crate::support::{
    pki::Pki,
    sidecar::{Line, Sidecar},
    upstream::Upstream,
};

#[test]
fn a_name_that_was_pointed_here_is_not_ours() {
    let scene = Scene::obliging(&["--allow-host", "box.internal"]);
    assert_eq!(scene.sidecar.ask(get("Host: BOX.internal:8080")).status, 200);
    assert_eq!(scene.sidecar.ask(get("Host: [::1]:80")).status, 200);
    for (host, status) in [
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("evil.example:8080", 421),
        ("0.0.0.0", 421),
        ("", 400),
        ("a b", 400),
        ("localhost, evil.example", 400),
    ] {
        scene.refuses(get(&format!("Host: {host}")), status);
    }
    assert_eq!(scene.sidecar.finish(), ["host"; 9]);
}

#[test]
fn a_request_is_for_one_host() {
    let absolute = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\n{host}\r\n\r\n");
    let rows = [
        (get("Host: localhost\r\nHost: evil.example"), 400, "host"),
        (get("Host: localhost\r\nHost: localhost"), 400, "host"),
        (get("accept: */*"), 400, "host"),
        (absolute("http://evil.example/mcp", "Host: localhost"), 400, "host"),
        (absolute("http://localhost/mcp", "Host: evil.example"), 400, "host"),
        (absolute("http://evil.example/mcp", "Host: evil.example"), 421, "host"),
        (absolute("https://evil.example/mcp", "accept: */*"), 421, "host"),
        (absolute("http://localhost@evil.example/mcp", "accept: */*"), 421, "host"),
    ];
    Scene::obliging(&[]).refuses_all(rows.iter().map(|(it, status, rule)| (&**it, *status, *rule)));
}

#[test]
fn a_web_page_of_elsewhere_may_not_ask() {
    let scene = Scene::obliging(&["--allow-origin", "https://inspector.example"]);
    for origin in ["http://localhost:6274", "https://INSPECTOR.example", "http://127.0.0.1"] {
        let asked = get(&format!("Host: localhost\r\nOrigin: {origin}"));
        assert_eq!(scene.sidecar.ask(asked).status, 200, "{origin}");
    }
    let lines = [
        "Origin: https://evil.example",
        "Origin: null",
        "Origin: ",
        "Origin: http://localhost.evil.example",
        "Origin: http://localhost@evil.example",
        "Origin: http://inspector.example",
        "Origin: http://localhost\r\nOrigin: https://evil.example",
        "Origin: http://localhost\r\nOrigin: http://localhost",
        "Sec-Fetch-Site: cross-site",
    ];
    for line in lines {
        scene.refuses(get(&format!("Host: localhost\r\n{line}")), 403);
    }
    assert_eq!(scene.sidecar.finish(), ["origin"; 9]);
}

#[test]
fn what_a_proxy_could_be_asked_to_do_is_not_carried() {
    let scene = Scene::obliging(&[]);
    for (method, target) in [
        ("CONNECT", "evil.example:443"),
        ("CONNECT", "localhost:80"),
        ("TRACE", "/mcp"),
        ("PROPFIND", "/mcp"),
        ("get", "/mcp"),
        ("PURGE", "http://evil.example/"),
    ] {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = scene.refuses(request, 405);
        assert!(answer.header("allow").is_some_and(|allowed| !allowed.contains(method)));
    }
    assert_eq!(scene.sidecar.finish(), ["method"; 6]);
}

#[test]
fn no_path_leads_out_of_the_upstreams() {
    let scene = Scene::obliging(&[]);
    for path in [
        "/mcp/../admin",
        "/mcp/./x",
        "/mcp/%2e%2e/admin",
        "/mcp/%2E%2e%2Fadmin",
        "/mcp%2f..%2fadmin",
        "/mcp/%252e%252e%252fadmin",
        "/mcp/%25252e%25252e/admin",
        "/mcp/..%5cadmin",
        "/mcp/..;/admin",
        "/mcp\\..\\admin",
        "/mcp/%00",
        "/mcp/%0d%0aX-Evil:1",
    ] {
        scene.refuses(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400);
    }
    for path in ["/admin", "/mcpx", "/", "//mcp", "/MCP", "/mcp%2fx"] {
        scene.refuses(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404);
    }
    let rules = scene.sidecar.finish();
    assert_eq!(
        (&rules[..12], &rules[12..]),
        (&["path"; 12].map(String::from)[..], &["route"; 6].map(String::from)[..])
    );
}

#[test]
fn who_can_only_make_a_url_lacks_the_required_header() {
    let scene = Scene::obliging(&["--require-header", "X-From: agent"]);
    for lines in ["accept: */*", "X-From: other", "X-From: Agent", "X-From: "] {
        let answer = scene.sidecar.ask(get(&format!("Host: localhost\r\n{lines}")));
        assert_eq!(answer.status, 403, "{lines}");
    }
    assert_eq!(scene.sidecar.ask(get("Host: localhost\r\nx-from: agent")).status, 200);
    assert_eq!(scene.seen(), ["/mcp"]);
    assert!(scene.upstream.seen().iter().all(|seen| seen.header("x-from").is_none()));
    assert_eq!(scene.sidecar.finish(), ["required_header"; 4]);
}

#[test]
fn who_lacks_the_token_is_told_nothing_of_it() {
    let scene = Scene::obliging(&["--inbound-bearer", "env:TOKEN"]);
    let with = |line: &str| get(&format!("Host: localhost\r\n{line}"));
    for line in [
        "accept: */*",
        "Authorization: Bearer canar",
        "Authorization: Bearer canaryy",
        "Authorization: Bearer  canary",
        "Authorization: Basic canary",
        "Authorization: canary",
        "Authorization: Bearer canary\r\nAuthorization: Bearer canary",
        "Proxy-Authorization: Bearer canary",
    ] {
        let answer = scene.sidecar.ask(with(line));
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
        assert!(!answer.text().contains("canary"), "{answer:?}");
    }
    assert_eq!(scene.sidecar.ask(with("authorization: bearer canary")).status, 200);
    assert!(scene.upstream.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert_eq!(scene.upstream.seen().len(), 1);
    assert!(!scene.sidecar.process.stderr().contains("canary"));
    assert_eq!(scene.sidecar.finish(), ["token"; 8]);
}

#[test]
fn the_token_is_fetched_for_none_who_may_not_ask_and_its_place_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let (program, ran) = (folder.path().join("token-program"), folder.path().join("ran"));
    std::fs::write(&program, format!("#!/bin/sh\necho ran >>'{}'\nexit 3\n", ran.display()))
        .unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, open).unwrap();
    let reference = format!("command:{}", program.display());
    let scene = Scene::obliging(&["--inbound-bearer", &reference]);
    assert_eq!(scene.sidecar.ask(get("Host: evil.example")).status, 421);
    assert_eq!(scene.sidecar.ask(get("Host: localhost\r\nOrigin: null")).status, 403);
    assert!(!ran.exists());
    let answer = scene.sidecar.ask(get("Host: localhost"));
    assert_eq!(answer.status, 503);
    assert!(ran.exists());
    assert!(!answer.text().contains("token-program"), "{answer:?}");
    assert!(scene.sidecar.process.stderr().contains("token-program"));
    assert!(scene.upstream.seen().is_empty());
    assert_eq!(scene.sidecar.finish(), ["host", "origin", "credential"]);
}

#[test]
fn another_protocol_has_no_other_rules() {
    let scene = Scene::obliging(&[]);
    let two = scene.sidecar.connect_two();
    let request = |method: &str, uri: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(http_body_util::Full::default()).unwrap()
    };
    for (method, uri, headers, status) in [
        ("GET", "http://evil.example/mcp", &[][..], 421),
        ("GET", "http://localhost/mcp", &[("host", "evil.example")], 400),
        ("GET", "http://localhost/mcp", &[("origin", "null")], 403),
        ("TRACE", "http://localhost/mcp", &[], 405),
        ("GET", "http://localhost/mcp/%2e%2e/admin", &[], 400),
        ("GET", "http://localhost/admin", &[], 404),
    ] {
        let answer = two.ask(request(method, uri, headers));
        assert_eq!(answer.status(), status, "{method} {uri}");
    }
    assert!(scene.upstream.seen().is_empty());
    assert_eq!(two.ask(request("GET", "http://localhost/mcp/good", &[])).status(), 200);
    let rules = ["host", "host", "origin", "method", "path", "route"];
    assert_eq!(scene.sidecar.finish(), rules);
}

/// As this user from here on, in a thread of its own: what `SO_PEERCRED` tells is a thread's.
pub(super) fn as_user<T: Send>(uid: u32, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let acting = scope.spawn(|| {
            set_thread_uid(rustix::process::Uid::from_raw(uid)).unwrap();
            act()
        });
        acting.join().unwrap()
    })
}

/// A folder that everyone may look into.
pub(super) fn open_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    folder
}

fn ask(socket: &Path) -> u16 {
    let mut line = Line::unix(socket);
    line.write("GET /mcp/good HTTP/1.1\r\nhost: anything\r\n\r\n");
    line.answer().status
}

#[test]
fn a_user_who_is_not_allowed_gets_nothing_through_a_unix_socket() {
    let (pki, folder) = (Pki::new(), open_folder());
    let upstream = Upstream::mutual(&pki);
    let socket = folder.path().join("it.sock");
    let own = rustix::process::geteuid().as_raw();
    let program = || {
        let program = Sidecar::program(&pki, &upstream).args(["--listen-mode", "0666"]);
        program.arg("--listen").arg(format!("unix:{}", socket.display()))
    };
    // Our own user, where another is allowed.
    let sidecar = Sidecar::start(&program().args(["--allow-uid", &(own + 1).to_string()]));
    sidecar.process.wait_for_stderr("listening on unix:");
    assert_eq!(ask(&socket), 403);
    assert_eq!(sidecar.finish(), ["uid"]);
    // Another user, where our own is; only root can be another.
    if own == 0 {
        let sidecar = Sidecar::start(&program());
        sidecar.process.wait_for_stderr("listening on unix:");
        assert_eq!(as_user(65534, || ask(&socket)), 403);
        assert_eq!(sidecar.finish(), ["uid"]);
    }
    assert!(upstream.seen().is_empty());
}
