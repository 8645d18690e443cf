//! Readiness: whether requests would get through, as far as this machine can tell.

use super::{Sidecar, exchange, get, healthcheck, serve, unix, wait_for};
use crate::support::{pki::Pki, process::DEADLINE, upstream::Upstream};

#[test]
fn a_secret_that_can_not_be_had_is_said_without_asking_the_upstream() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::options(&pki).stateless().start();
    let token = folder.path().join("token");
    let bearer = format!("command:cat {}", token.display());
    for flags in [
        vec!["--bearer".to_owned(), bearer.clone()],
        vec!["--hmac".to_owned(), format!("preset=body,key={bearer}")],
        vec!["--inbound-bearer".to_owned(), bearer.clone()],
    ] {
        let _ = std::fs::remove_file(&token);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let sidecar = Sidecar::start(&pki, &upstream, &flags);
        let ready = sidecar.probe("/readyz");
        assert_eq!(ready.status, 503, "{flags:?} {}", ready.body);
        let why = ready.json()["because"][0].as_str().unwrap().to_owned();
        assert!(why.contains("command:cat") && why.contains("failed"), "{flags:?} {why}");
        std::fs::write(&token, "Zq7Xw2Kd9Lm4Rt8").unwrap();
        let ready = sidecar.probe("/readyz");
        assert_eq!(ready.status, 200, "{flags:?} {}", ready.body);
        assert!(!sidecar.process.stderr().contains("Zq7Xw2Kd9"));
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_signature_over_a_callers_header_is_no_obstacle() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let flag = "preset=body,key=env:KEY,string_to_sign={header:x-of-the-caller}";
    let program = serve(&pki, &upstream).identity(&pki.client).args(["--hmac", flag]);
    let sidecar = Sidecar::of(&program.args(["--admin", "127.0.0.1:0"]).env("KEY", "a key"));
    assert_eq!(sidecar.probe("/readyz").status, 200);
}

#[test]
fn an_inherited_socket_is_none_for_probes() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    // Where it listens is for whoever opened it to know.
    let mut process = serve(&pki, &upstream).args(["--admin", "fd:3"]).start();
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(78));
    assert!(process.stderr().contains("--admin: expected an address"), "{}", process.stderr());
}

#[test]
fn probes_may_come_by_a_unix_socket_that_the_profile_names() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let (socket, profile) = (folder.path().join("admin.sock"), folder.path().join("c.toml"));
    std::fs::write(&profile, "[profile.a.serve]\nadmin = \"unix:admin.sock\"\n").unwrap();
    let profile = profile.to_str().unwrap();
    let program = serve(&pki, &upstream).identity(&pki.client).args(["--config", profile]);
    let process = program.start();
    process.wait_for_stderr(": listening on ");
    assert_eq!(exchange(unix(&socket), &get("any.example", "/readyz")).status, 200);
    assert_eq!(healthcheck(&["--config", profile]).0, 0);
    drop(process);
    assert_eq!(healthcheck(&["--config", profile]).0, 1);
}

#[test]
fn root_may_always_probe_and_ask_for_nothing_else() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let socket = |name: &str| folder.path().join(name);
    let place = |name: &str| format!("unix:{}", socket(name).display());
    // Neither root nor whoever else runs this.
    let program = serve(&pki, &upstream).identity(&pki.client).args(["--allow-uid", "65532"]);
    let program = program.args(["--listen", &place("mcp.sock"), "--admin", &place("admin.sock")]);
    let process = program.start();
    process.wait_for_stderr(": listening on ");
    let status = |name: &str| exchange(unix(&socket(name)), &get("localhost", "/readyz")).status;
    let root = rustix::process::geteuid().is_root();
    assert_eq!(status("admin.sock"), if root { 200 } else { 403 });
    assert_eq!(healthcheck(&["--admin", &place("admin.sock")]).0, i32::from(!root));
    assert_eq!(status("mcp.sock"), 403);
}

#[test]
fn an_upstream_that_is_down_is_no_obstacle_unless_that_was_said() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let usual = Sidecar::start(&pki, &upstream, &[]);
    let strict =
        Sidecar::start(&pki, &upstream, &["--ready-upstream", "--bearer", "command:echo a-token"]);
    upstream.down();
    assert_eq!(usual.probe("/readyz").status, 200);
    let ready = strict.probe("/readyz");
    let why = ready.json()["because"][0].as_str().unwrap().to_owned();
    assert_eq!(ready.status, 503);
    assert!(why.starts_with("route default: ") && why.contains("refuses connections"), "{why}");
    upstream.up();
    wait_for(|| (strict.probe("/readyz").status == 200).then_some(()));
    assert!(upstream.seen().is_empty());
}

#[test]
fn an_upstream_is_knocked_at_with_our_identity_and_nothing_else_however_many_probe() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let profile = folder.path().join("c.toml");
    std::fs::write(&profile, "[profile.a.serve]\nready_upstream = true\n").unwrap();
    for alpn in ["h2", "http/1.1"] {
        let upstream = Upstream::options(&pki).stateless().alpn(&[alpn]).start();
        let token = ["--bearer", "command:echo a-token", "--config", profile.to_str().unwrap()];
        let sidecar = Sidecar::start(&pki, &upstream, &token);
        for _ in 0..50 {
            assert_eq!(sidecar.probe("/readyz").status, 200);
        }
        let record = upstream.wait("an end", |record| {
            record.connections.iter().all(|it| !it.open).then(|| record.clone())
        });
        // Two, should the machine be so slow that the first look was over before the last probe.
        assert!((1..=2).contains(&record.connections.len()), "{record:?}");
        assert_eq!(record.connections[0].client.as_deref(), Some("CN=client"));
        assert!(record.requests.is_empty());
    }
}

#[test]
fn an_identity_that_the_upstream_refuses_is_an_obstacle() {
    let pki = Pki::new();
    for tls in ["1.2", "1.3"] {
        let upstream = Upstream::options(&pki).stateless().start();
        upstream.rotate(&pki.server, &pki.foreign_ca);
        let sidecar = Sidecar::start(&pki, &upstream, &["--ready-upstream", "--tls-min", tls]);
        let ready = sidecar.probe("/readyz");
        assert_eq!(ready.status, 503, "{}", ready.body);
        assert!(ready.body.contains("certificate"), "{}", ready.body);
    }
}

#[test]
fn a_certificate_of_the_listeners_that_is_over_is_said_and_counted() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).stateless().start();
    let shown = |cert: &std::path::Path, key: &std::path::Path| {
        let flags =
            ["--listen-cert", cert.to_str().unwrap(), "--listen-key", key.to_str().unwrap()];
        Sidecar::start(&pki, &upstream, &flags)
    };
    let listener = pki.issue_server("listener", &["localhost"]);
    for (identity, over) in [(&listener, false), (&pki.expired, true)] {
        let sidecar = shown(&identity.cert, &identity.key);
        let ready = sidecar.probe("/readyz");
        assert_eq!(ready.status, if over { 503 } else { 200 }, "{}", ready.body);
        let why = "the certificate of the listeners CN=expired, expired on 2021-01-31";
        assert_eq!(ready.body.contains(why), over, "{}", ready.body);
        let end = if over { "161205" } else { "4070822400" };
        let line =
            "countersign_certificate_not_after_seconds{route=\"none\",certificate=\"listener\"}";
        let metrics = sidecar.probe("/metrics").body;
        assert!(metrics.contains(&format!("{line} {end}")), "{metrics}");
        if over {
            // The next one is used, and told of, as soon as it is there.
            pki.expired.overwrite(&listener);
            wait_for(|| (sidecar.probe("/readyz").status == 200).then_some(()));
            assert!(sidecar.probe("/metrics").body.contains(&format!("{line} 4070822400")));
        }
    }
}
