//! `countersign demo`, run as its users run it: with nothing around it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// The program in an empty folder and an empty environment.
fn program(folder: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(arguments).current_dir(folder).env_clear();
    // A proxy of the machine is not on the way.
    command.env("HTTPS_PROXY", "http://proxy.invalid:1");
    command
}

#[test]
fn the_tour_needs_nothing_shows_every_step_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let output = program(&folder, &["demo"]).stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}{shown}");
    assert_eq!(errors, "");
    let steps = [
        r#"→ {"jsonrpc":"2.0","id":1,"method":"initialize""#,
        "| POST /mcp HTTP/2  from CN=demo agent, O=Example over TLS 1.3",
        "| x-tenant: acme",
        "| authorization: Bearer <redacted>",
        r#"← {"jsonrpc":"2.0","id":1,"result""#,
        "| GET /mcp",
        r#""text":"Hello, Ada!""#,
        r#""progress":3"#,
        "Lift-off!",
        "You are CN=demo agent, O=Example, of the tenant acme",
        "demo://gateway/rules",
        "prompts/get",
        "| DELETE /mcp",
        "demands a client certificate and none is configured",
        "hint: give it with --cert FILE and --key FILE",
        "refused our client certificate",
        "no CA that we trust issued it",
        "All 12 steps did what they should.",
        r#""args": ["demo", "--stdio"]"#,
        r#""API_URL""#,
    ];
    // Where a line is folded is not the matter.
    let text = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = text.as_str();
    for step in steps {
        let step = step.split_whitespace().collect::<Vec<_>>().join(" ");
        let at = rest.find(&step).unwrap_or_else(|| panic!("no {step} in its place:\n{shown}"));
        rest = &rest[at..];
    }
    for (at, word) in text.match_indices("Bearer ") {
        assert!(text[at + word.len()..].starts_with("<redacted>"), "{shown}");
    }
    assert!(!shown.contains('\x1b'), "colours for no terminal: {shown}");
    let wide = |line: &&str| line.chars().count() > 80 && !line.contains("\"command\"");
    assert_eq!(shown.lines().find(wide), None);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

/// `countersign demo --stdio` and what it says.
struct Server {
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    fn start(folder: &tempfile::TempDir) -> (Self, ChildStdin) {
        let mut command = program(folder, &["demo", "--stdio"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines();
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        (Self { child, lines }, stdin)
    }

    fn hear(&self) -> serde_json::Value {
        serde_json::from_str(&self.lines.recv_timeout(PATIENCE).unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is left behind by a test that failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_stdio_server_answers_and_ends_with_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, mut stdin) = Server::start(&folder);
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
    writeln!(stdin, "{initialize}").unwrap();
    assert_eq!(server.hear()["result"]["serverInfo"]["name"], "countersign-demo");
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    writeln!(stdin, "{initialized}").unwrap();
    let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"greet","arguments":{"name":"Ada"}}}"#;
    writeln!(stdin, "{call}").unwrap();
    assert_eq!(server.hear()["result"]["content"][0]["text"], "Hello, Ada!");
    drop(stdin);
    // The end of its output, then its own.
    let end = server.lines.recv_timeout(PATIENCE);
    assert!(matches!(end, Err(std::sync::mpsc::RecvTimeoutError::Disconnected)), "{end:?}");
    assert!(server.child.wait().unwrap().success());
}
