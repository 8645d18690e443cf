//! Readiness: whether requests would get through, as far as this machine can tell.

use super::{Sidecar, exchange, get, healthcheck, serve, unix};
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
