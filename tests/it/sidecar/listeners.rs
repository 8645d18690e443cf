//! Where it listens: Unix sockets and what was there before them, sockets that were opened by
//! someone else, several at once.

use std::{
    fs,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    sync::Arc,
};

use rustix::process::Signal;
use serde_json::json;

use super::GOOD;
use crate::support::{
    pki::Pki,
    process::{Countersign, DEADLINE, Front, Process},
    script::{Fault, Reply, Rule},
    sidecar::{Line, Sidecar},
    upstream::Upstream,
};

/// What the tests of listeners stand on: `serve` without a listener of its own.
struct Ground {
    pki: Pki,
    upstream: Upstream,
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let reply = Reply::json(200, &json!({"from": "upstream"}));
        upstream.script(Rule::next().always(), Fault::Answer(reply));
        Self { pki, upstream, folder: tempfile::tempdir().unwrap() }
    }

    fn program(&self, flags: &[&str]) -> Countersign {
        let program = Countersign::new().args(["serve", "-v"]).identity(&self.pki.client);
        program.cacert(&self.pki.ca).arg(self.upstream.url()).args(flags)
    }

    fn on(&self, socket: &Path, flags: &[&str]) -> Countersign {
        self.program(&["--listen", &format!("unix:{}", socket.display())]).args(flags)
    }

    /// The same, with this as descriptor 3, as a service manager hands it over.
    fn activated(&self, socket: impl Into<OwnedFd>, flags: &[&str]) -> Countersign {
        let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 </dev/null";
        let program = Countersign::program("/bin/sh").args(["-c", script, "sh"]);
        let program = program.arg(env!("CARGO_BIN_EXE_countersign")).args(["serve", "-v"]);
        let program = program.identity(&self.pki.client).cacert(&self.pki.ca);
        let program = program.arg(self.upstream.url()).args(["--listen", "fd:3"]).args(flags);
        program.front(Front::Given(Arc::new(socket.into())))
    }
}

#[track_caller]
fn ends(mut process: Process) {
    process.signal(Signal::TERM);
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(0), "{}", process.transcript());
}

/// It does not start, and says this.
#[track_caller]
fn is_refused(program: &Countersign, words: &[&str]) {
    let mut process = program.start();
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(78), "{}", process.transcript());
    let said = process.stderr();
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

#[track_caller]
fn serves(socket: &Path) {
    let mut line = Line::unix(socket);
    line.write(GOOD);
    assert_eq!(line.answer().status, 200);
}

#[test]
fn a_unix_socket_is_there_for_its_owner_and_gone_with_the_process() {
    let ground = Ground::new();
    let socket = ground.folder.path().join("it.sock");
    let group = match rustix::process::geteuid().as_raw() {
        0 => 4242,
        _ => rustix::process::getegid().as_raw(),
    };
    let wider = ["--listen-mode", "0660", "--listen-group", &group.to_string()];
    let own = rustix::process::getegid().as_raw();
    for (flags, mode, group) in [(&[][..], 0o600, own), (&wider, 0o660, group)] {
        let process = ground.on(&socket, flags).start();
        process.wait_for_stderr("listening on unix:");
        let found = fs::symlink_metadata(&socket).unwrap();
        assert_eq!((found.permissions().mode() & 0o7777, found.gid()), (mode, group));
        serves(&socket);
        ends(process);
        assert!(!socket.exists(), "the socket is still there");
    }
}

#[test]
fn a_socket_that_nobody_listens_on_is_replaced() {
    let ground = Ground::new();
    let socket = ground.folder.path().join("it.sock");
    drop(UnixListener::bind(&socket).unwrap());
    assert!(UnixStream::connect(&socket).is_err());
    let mut process = ground.on(&socket, &[]).start();
    process.wait_for_stderr("listening on unix:");
    serves(&socket);
    // What a killed process leaves behind is such a one.
    process.signal(Signal::KILL);
    process.wait_exit(DEADLINE);
    assert!(socket.exists());
    let process = ground.on(&socket, &[]).start();
    process.wait_for_stderr("listening on unix:");
    serves(&socket);
    ends(process);
}

#[test]
fn what_somebody_else_has_is_left_to_them() {
    let ground = Ground::new();
    let socket = ground.folder.path().join("it.sock");
    let process = ground.on(&socket, &[]).start();
    process.wait_for_stderr("listening on unix:");
    is_refused(&ground.on(&socket, &[]), &["another process listens on", "it.sock", "--listen"]);
    serves(&socket);
    // One that took the path over keeps it.
    fs::remove_file(&socket).unwrap();
    let _theirs = UnixListener::bind(&socket).unwrap();
    ends(process);
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());

    let file = ground.folder.path().join("file");
    fs::write(&file, "theirs").unwrap();
    is_refused(&ground.on(&file, &[]), &["is no socket"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    is_refused(&ground.program(&["--listen", &address]), &["another process listens there"]);
}

#[test]
fn several_listeners_serve_side_by_side() {
    let ground = Ground::new();
    let (first, second) =
        (ground.folder.path().join("1.sock"), ground.folder.path().join("2.sock"));
    let second_flag = format!("unix:{}", second.display());
    let flags = ["--listen", &second_flag, "--listen", "127.0.0.1:0", "--listen", "[::1]:0"];
    let sidecar = Sidecar::start(&ground.on(&first, &flags));
    sidecar.process.wait_for_stderr("listening on [::1]:");
    let said = sidecar.process.stderr();
    let six = said.lines().find_map(|line| line.split("listening on [::1]:").nth(1)).unwrap();
    serves(&first);
    serves(&second);
    assert_eq!(sidecar.ask(GOOD).status, 200);
    let mut line = Line::tcp(format!("[::1]:{six}").parse().unwrap());
    line.write("GET /mcp HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n");
    assert_eq!(line.answer().status, 200);
    assert_eq!(sidecar.finish(), [""; 0]);
}

#[test]
fn a_socket_that_was_handed_over_is_served() {
    let ground = Ground::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It waits in the socket's queue until there is someone to serve it.
    let mut early = Line::tcp(address);
    early.write(GOOD);
    let sidecar = Sidecar::start(&ground.activated(listener, &[]));
    assert_eq!(sidecar.address(), address);
    assert_eq!(early.answer().status, 200);
    assert_eq!(sidecar.ask(GOOD).status, 200);
    assert_eq!(sidecar.finish(), [""; 0]);

    let path = ground.folder.path().join("it.sock");
    let process = ground.activated(UnixListener::bind(&path).unwrap(), &[]).start();
    process.wait_for_stderr("listening on a Unix socket");
    serves(&path);
    ends(process);
    assert!(path.exists(), "it belongs to who opened it");
}

#[test]
fn a_socket_that_was_not_handed_over_is_missed() {
    let ground = Ground::new();
    let no = ["fd:3: no such socket was handed over", "LISTEN_FDS"];
    is_refused(&ground.program(&["--listen", "fd:3"]), &no);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let no = ["fd:4: no such socket was handed over"];
    is_refused(&ground.activated(listener, &["--listen", "fd:4"]), &no);
}

#[test]
fn nothing_listens_for_the_network_without_a_proof_of_who_asks() {
    let ground = Ground::new();
    let no = ["can be reached from other machines", "--inbound-bearer"];
    for listen in ["0.0.0.0:0", "[::]:0"] {
        is_refused(&ground.program(&["--listen", listen]), &no);
        is_refused(&ground.program(&["--listen", listen, "--unsafe-listen"]), &no);
        let token = ["--listen", listen, "--inbound-bearer", "env:TOKEN"];
        is_refused(&ground.program(&token).env("TOKEN", "canary"), &no);
    }
    // Of a socket that was handed over it is known only then.
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    is_refused(&ground.activated(listener, &[]), &no);
    assert_eq!(ground.upstream.record().connections.len(), 0);

    let said = ["--listen", "0.0.0.0:0", "--inbound-bearer", "env:TOKEN", "--unsafe-listen"];
    let process = ground.program(&said).env("TOKEN", "canary").start();
    process.wait_for_stderr("listening on 0.0.0.0:");
    let said = process.stderr();
    let port = said.lines().find_map(|line| line.split("listening on 0.0.0.0:").nth(1)).unwrap();
    let ask = |lines: &str| {
        let mut line = Line::tcp(format!("127.0.0.1:{port}").parse().unwrap());
        line.write(super::get(lines));
        line.answer().status
    };
    assert_eq!(ask("Host: box.example"), 401);
    assert_eq!(ask("Host: box.example\r\nAuthorization: Bearer canary"), 200);
    ends(process);
}
