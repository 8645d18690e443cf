//! An upstream session belongs to whoever was given it: its id is of no use to anyone else.

use std::path::Path;

use serde_json::json;

use super::{
    Scene,
    attacks::{as_user, open_folder},
    call, get, named,
};
use crate::support::{
    pki::Pki,
    script::{Fault, Reply, Rule},
    sidecar::{Line, Sidecar},
    upstream::Upstream,
};

/// A sidecar with a Unix socket for these users besides its port.
fn scene(socket: &Path, users: &[u32]) -> Scene {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    scene_before(pki, upstream, socket, users, &[])
}

/// The same before this upstream, with these flags.
pub(super) fn scene_before(
    pki: Pki,
    upstream: Upstream,
    socket: &Path,
    users: &[u32],
    flags: &[&str],
) -> Scene {
    let program = Sidecar::program(&pki, &upstream).args(["--listen-mode", "0666"]).args(flags);
    let program = program.arg("--listen").arg(format!("unix:{}", socket.display()));
    let users = users.iter().flat_map(|user| ["--allow-uid".to_owned(), user.to_string()]);
    let sidecar = Sidecar::start(&program.args(users));
    sidecar.process.wait_for_stderr("listening on unix:");
    Scene { pki, upstream, sidecar }
}

fn ask(line: &mut Line, request: &str) -> u16 {
    line.write(request);
    line.answer().status
}

/// Every way to use a session is closed to who does not own it, and open to who does.
#[track_caller]
pub(super) fn belongs(scene: &Scene, session: &str, own: &mut Line, other: &mut Line) {
    let before = scene.upstream.seen().len();
    let delete = format!("DELETE /mcp HTTP/1.1\r\nHost: localhost{}\r\n\r\n", named(session));
    let listen = get(&format!("Host: localhost\r\nAccept: text/event-stream{}", named(session)));
    let count = call(session, "count", &json!({"n": 1}));
    for request in [&count, &listen, &delete] {
        assert_eq!(ask(other, request), 404, "{request}");
    }
    assert_eq!(scene.upstream.seen().len(), before, "nothing of it went on");
    assert_eq!(ask(own, &count), 200);
    assert_eq!(ask(own, &delete), 200);
}

#[test]
#[expect(clippy::print_stderr, reason = "who runs the tests sees what was not done")]
fn two_users_cannot_use_each_others_sessions() {
    if rustix::process::geteuid().as_raw() != 0 {
        eprintln!("only root can be two users: the test of a user and a port stands for it");
        return;
    }
    let folder = open_folder();
    let socket = folder.path().join("it.sock");
    let scene = scene(&socket, &[1001, 1002]);
    let mut alice = as_user(1001, || Line::unix(&socket));
    let mut bob = as_user(1002, || Line::unix(&socket));
    let (first, second) = (scene.session_over(&mut alice), scene.session_over(&mut bob));
    assert_ne!(first, second);
    belongs(&scene, &first, &mut alice, &mut bob);
    belongs(&scene, &second, &mut bob, &mut alice);
    assert_eq!(scene.sidecar.finish(), ["session"; 6]);
}

#[test]
fn a_users_session_is_not_for_who_comes_by_the_port() {
    let folder = open_folder();
    let socket = folder.path().join("it.sock");
    let scene = scene(&socket, &[rustix::process::geteuid().as_raw()]);
    let (mut user, mut anyone) = (Line::unix(&socket), scene.sidecar.connect());
    let (first, second) = (scene.session_over(&mut user), scene.session_over(&mut anyone));
    belongs(&scene, &first, &mut user, &mut anyone);
    belongs(&scene, &second, &mut anyone, &mut user);
    assert_eq!(scene.sidecar.finish(), ["session"; 6]);
}

#[test]
fn a_session_is_its_owners_on_every_connection() {
    let scene = Scene::new(&[]);
    let session = scene.session();
    for n in 0..3 {
        assert_eq!(scene.sidecar.ask(call(&session, "count", &json!({"n": n}))).status, 200);
    }
    // Two ids in one request are nobody's.
    let lines = format!("Host: localhost{0}{0}", named(&session));
    assert_eq!(scene.sidecar.ask(get(&lines)).status, 404);
    assert_eq!(scene.sidecar.finish(), ["session"]);
}

#[test]
fn who_shows_an_id_before_it_is_given_has_nothing_of_it() {
    let folder = open_folder();
    let socket = folder.path().join("it.sock");
    let scene = scene(&socket, &[rustix::process::geteuid().as_raw()]);
    let (mut user, mut anyone) = (Line::unix(&socket), scene.sidecar.connect());
    for give in [true, false] {
        let rule = Rule::matching(|seen| seen.header("mcp-session-id").is_none());
        let (status, reply) = if give { (404, 200) } else { (200, 201) };
        let early = Rule::matching(|seen| seen.header("mcp-session-id").is_some());
        scene.upstream.script(early, Fault::status(status));
        let id = format!("foreseen-{give}");
        assert_eq!(ask(&mut anyone, &get(&format!("Host: localhost{}", named(&id)))), status);
        let given = Reply::new(reply).header("mcp-session-id", &id);
        scene.upstream.script(rule, Fault::Answer(given));
        assert_eq!(ask(&mut user, &get("Host: localhost")), reply);
        let reply = Reply::new(204);
        scene.upstream.script(Rule::next(), Fault::Answer(reply));
        let listen = get(&format!("Host: localhost{}", named(&id)));
        assert_eq!(ask(&mut anyone, &listen), 404);
        assert_eq!(ask(&mut user, &listen), 204);
    }
    assert_eq!(scene.sidecar.finish(), ["session"; 2]);
}

#[test]
fn cookies_that_one_caller_was_given_are_of_no_other() {
    let folder = open_folder();
    let socket = folder.path().join("it.sock");
    let scene = scene(&socket, &[rustix::process::geteuid().as_raw()]);
    let (mut user, mut anyone) = (Line::unix(&socket), scene.sidecar.connect());
    let sent = |line: &mut Line, set: Option<&str>| {
        let reply = Reply::new(200);
        let reply = set.map_or(reply.clone(), |set| reply.header("set-cookie", set));
        scene.upstream.script(Rule::next(), Fault::Answer(reply));
        assert_eq!(ask(line, &get("Host: localhost")), 200);
        let seen = scene.upstream.seen();
        seen.last().unwrap().header("cookie").map(str::to_owned)
    };
    assert_eq!(sent(&mut user, Some("id=users; Path=/")), None);
    assert_eq!(sent(&mut anyone, None), None);
    assert_eq!(sent(&mut anyone, Some("id=anyones; Path=/")), None);
    assert_eq!(sent(&mut user, None).as_deref(), Some("id=users"));
    assert_eq!(sent(&mut anyone, None).as_deref(), Some("id=anyones"));
}

#[test]
fn an_id_that_does_not_reach_the_upstream_is_not_claimed_by_its_answer() {
    let folder = open_folder();
    let socket = folder.path().join("it.sock");
    let scene = scene(&socket, &[rustix::process::geteuid().as_raw()]);
    scene.upstream.script(Rule::next().always(), Fault::status(200));
    let (mut user, mut anyone) = (Line::unix(&socket), scene.sidecar.connect());
    let shown = get(&format!("Host: localhost{}", named("of-another-replica")));
    let hidden = shown.replace("Host:", "Connection: mcp-session-id\r\nHost:");
    assert_eq!(ask(&mut anyone, &hidden), 200);
    assert_eq!(ask(&mut user, &shown), 200);
    assert_eq!(ask(&mut anyone, &hidden), 404);
}

#[test]
fn a_flood_of_ids_that_lead_nowhere_has_nobodys_session_forgotten() {
    let folder = open_folder();
    let socket = folder.path().join("it.sock");
    let scene = scene(&socket, &[rustix::process::geteuid().as_raw()]);
    let (mut user, mut anyone) = (Line::unix(&socket), scene.sidecar.connect());
    let session = scene.session_over(&mut user);
    for batch in 0..164 {
        let flood = (0..100).map(|n| {
            let id = named(&format!("{batch}-{n}"));
            format!("GET /nowhere HTTP/1.1\r\nHost: localhost{id}\r\n\r\n")
        });
        anyone.write(flood.collect::<String>());
        for _ in 0..100 {
            assert_eq!(anyone.answer().status, 404);
        }
    }
    belongs(&scene, &session, &mut user, &mut anyone);
}
