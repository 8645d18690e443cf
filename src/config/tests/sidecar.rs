//! What is said of the sidecar and cannot be meant is refused at start, by both its names.

use super::*;
use crate::cli::{Command, Serve};

fn serve(words: &[&str]) -> Serve {
    let line = ["countersign", "serve"].iter().chain(words).map(OsString::from);
    match Cli::read(line).unwrap().command {
        Some(Command::Serve(said)) => *said,
        _ => panic!("no sidecar: {words:?}"),
    }
}

impl Given {
    /// The words of the refusal.
    fn refusal(&self, words: &[&str]) -> String {
        let loaded = load_serve_in(&serve(words), &|name| self.environment.get(name).cloned());
        let Err(failure) = loaded else { panic!("{words:?} holds") };
        assert_eq!(failure.stage(), Stage::Configuration);
        failure.what().to_owned()
    }

    fn sidecar(&self, words: &[&str]) -> Sidecar {
        load_serve_in(&serve(words), &|name| self.environment.get(name).cloned()).unwrap()
    }
}

const POD: [&str; 2] = ["--profile", "corp"];

/// Two routes to one upstream, whose paths begin with `/mcp`.
fn routes(one: &str, two: &str) -> Given {
    Given::nothing().profile(&format!(
        "[profile.corp.serve.routes]\none = {{ {one}, profile = 'it' }}\n\
         two = {{ {two}, profile = 'it' }}\n[profile.it]\nurl = 'https://mcp.example.com/mcp'\n"
    ))
}

#[test]
fn two_routes_for_the_same_requests_are_refused() {
    for (one, two) in [
        ("prefix = '/same'", "prefix = '/same/'"),
        ("host = 'A.example', prefix = '/'", "host = 'a.example', prefix = '//'"),
        ("host = 'a.example'", "host = 'a.example', prefix = '/mcp'"),
        ("host = '::1'", "host = '[0:0::1]'"),
    ] {
        let said = routes(one, two).refusal(&POD);
        assert!(said.ends_with("one and two are for the same requests"), "{one} {two}: {said}");
    }
    for (one, two) in [
        ("prefix = '/same'", "prefix = '/Same'"),
        ("prefix = '/same'", "prefix = '/same/x'"),
        ("host = 'a.example'", "host = 'b.example'"),
        ("host = 'a.example', prefix = '/mcp'", "prefix = '/mcp'"),
    ] {
        assert_eq!(routes(one, two).sidecar(&POD).routes.len(), 2, "{one} {two}");
    }
}

#[test]
fn a_host_that_no_request_could_match_is_refused() {
    let given = Given::url();
    for host in ["box.internal:8080", "[::1]:8080", "http://box.internal", "*.internal", "a b"] {
        let said = given.refusal(&["--allow-host", host]);
        assert!(said.contains("expected the name of a host"), "{host}: {said}");
    }
    let words = ["--allow-host", "2001:DB8::1", "--allow-host", "Box.internal"];
    assert_eq!(given.sidecar(&words).settings.guard.hosts, ["[2001:db8::1]", "box.internal"]);
    let said = routes("host = 'a.example:80'", "prefix = '/b'").refusal(&POD);
    assert!(said.contains("expected the name of a host"), "{said}");
    let routed = routes("host = 'A.example'", "prefix = '/b'").sidecar(&POD).settings.guard;
    assert_eq!((routed.routed, routed.hosts.len()), (vec!["a.example".to_owned()], 0));
}

#[test]
fn the_era_of_clients_on_stdio_says_nothing_of_http_clients() {
    for words in [&["--protocol", "legacy"][..], &["--protocol=auto", "--translate"]] {
        let said = Given::url().refusal(words);
        assert!(said.starts_with("--protocol: it is for clients on stdio"), "{said}");
    }
    // A profile may be for both.
    let shared = Given::nothing()
        .profile("url = 'https://a.example/mcp'\nprotocol = 'legacy'\nserve.translate = true\n");
    assert!(shared.sidecar(&POD).translate);
    assert!(
        !Given::url().sidecar(&[]).translate && Given::url().sidecar(&["--translate"]).translate
    );
}
