//! The sidecar: plain HTTP in from this machine, the upstream's answer or one refusal out, and
//! nothing of a caller's own credentials or of another's session on the way.

mod attacks;
mod inbound;
mod life;
mod listeners;
mod operation;
mod routes;
mod sessions;
mod streams;
mod translate;
mod websocket;

use serde_json::{Value, json};

use crate::support::{
    pki::Pki,
    script::{Fault, Reply, Rule},
    sidecar::{Answer, Line, Sidecar},
    upstream::Upstream,
};

/// A request that is good, and nothing more.
const GOOD: &str = "GET /mcp/good HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A sidecar whose upstream answers 200 to all that the test has no script for.
struct Scene {
    pki: Pki,
    upstream: Upstream,
    sidecar: Sidecar,
}

impl Scene {
    fn new(flags: &[&str]) -> Self {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let program = Sidecar::program(&pki, &upstream).env("TOKEN", "canary").args(flags);
        let sidecar = Sidecar::start(&program);
        Self { pki, upstream, sidecar }
    }

    /// The same, and whatever was not scripted before it is answered with 200.
    fn obliging(flags: &[&str]) -> Self {
        let scene = Self::new(flags);
        let reply = Reply::json(200, &json!({"from": "upstream"}));
        scene.upstream.script(Rule::next().always(), Fault::Answer(reply));
        scene
    }

    /// A new session of MCP.
    #[track_caller]
    fn session(&self) -> String {
        self.session_over(&mut self.sidecar.connect())
    }

    /// The same on this connection.
    #[track_caller]
    fn session_over(&self, line: &mut Line) -> String {
        let params = json!({
            "protocolVersion": VERSION,
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        });
        line.write(post(
            "",
            &json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}),
        ));
        let answer = line.answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("mcp-session-id").unwrap().to_owned()
    }

    /// A connection on which this session listens.
    #[track_caller]
    fn listen(&self, session: &str) -> Line {
        let mut line = self.sidecar.connect();
        line.write(get(&format!("Host: localhost\r\nAccept: text/event-stream{}", named(session))));
        let head = line.head();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        line
    }

    /// Requests that the upstream saw, but for the good ones.
    fn seen(&self) -> Vec<String> {
        let seen = self.upstream.seen();
        seen.iter().map(|seen| seen.path.clone()).filter(|path| path != "/mcp/good").collect()
    }

    /// A good request is answered by the upstream, with our certificate.
    #[track_caller]
    fn goes_on(&self) {
        let answer = self.sidecar.ask(GOOD);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json(), json!({"from": "upstream"}));
        assert_eq!(self.upstream.seen().last().unwrap().client.as_deref(), Some("CN=client"));
    }

    /// This is answered with this status, by us; nothing of it gets to the upstream; others go on.
    #[track_caller]
    fn refuses(&self, request: impl AsRef<[u8]>, status: u16) -> Answer {
        let before = self.seen();
        let answer = self.sidecar.ask(&request);
        let request =
            String::from_utf8_lossy(request.as_ref()).chars().take(300).collect::<String>();
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        assert_eq!(self.seen(), before, "{request:?}");
        self.goes_on();
        answer
    }

    /// The same in a table; each was logged once, by the rule that it broke.
    #[track_caller]
    fn refuses_all<'a>(self, attacks: impl IntoIterator<Item = (&'a str, u16, &'a str)>) {
        let mut rules = Vec::new();
        for (request, status, rule) in attacks {
            self.refuses(request, status);
            rules.push(rule);
        }
        assert_eq!(self.sidecar.finish(), rules);
    }
}

/// The version of MCP that is spoken.
const VERSION: &str = "2025-11-25";

/// The headers that name a session.
fn named(session: &str) -> String {
    format!("\r\nMcp-Session-Id: {session}\r\nMcp-Protocol-Version: {VERSION}")
}

/// `POST /mcp` of this message, with these lines besides what MCP asks for.
fn post(lines: &str, message: &Value) -> String {
    let message = message.to_string();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}{lines}\r\n\r\n{message}",
        message.len()
    )
}

/// The call of a tool within a session.
fn call(session: &str, tool: &str, arguments: &Value) -> String {
    let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": "t"}});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    post(&named(session), &message)
}

/// `GET /mcp` with these lines in its head.
fn get(lines: &str) -> String {
    format!("GET /mcp HTTP/1.1\r\n{lines}\r\n\r\n")
}
