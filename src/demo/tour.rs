//! The tour: a client, the bridge and the gateway, and what passes between them, step by step.
//!
//! The client is real as far as the bridge can tell: it speaks lines of JSON over a socket pair.
//! Each step is checked, and the first that does not do what it should ends the tour.

mod client;

use std::{collections::HashSet, io::Write};

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use self::client::{Client, within};
use super::{Demo, Flags, TENANT, TOKEN, gateway::Seen, page::Page, papers};
use crate::failure::{Failure, Stage};

/// What a client says to open a session.
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"tour","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A request, and what must come of it.
struct Step {
    title: &'static str,
    say: &'static str,
    /// Notifications that come before the answer.
    progress: usize,
    /// Where in the answer, and what must be there.
    expect: (&'static str, &'static str),
}

const CALLS: [Step; 6] = [
    Step {
        title: "What the server offers",
        say: r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#,
        progress: 0,
        expect: ("/result/tools/0/name", "greet"),
    },
    Step {
        title: "A tool",
        say: r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"greet","arguments":{"name":"Ada"}}}"#,
        progress: 0,
        expect: ("/result/content/0/text", "Hello, Ada!"),
    },
    Step {
        title: "A tool that reports progress, over an event stream",
        say: r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"count_down","arguments":{"from":3},"_meta":{"progressToken":"t-minus"}}}"#,
        progress: 3,
        expect: ("/result/content/0/text", "Lift-off!"),
    },
    Step {
        title: "Whom the server takes us for",
        say: r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#,
        progress: 0,
        expect: ("/result/content/0/text", "You are CN=demo agent, O=Example, of the tenant acme"),
    },
    Step {
        title: "A resource",
        say: r#"{"jsonrpc":"2.0","id":6,"method":"resources/read","params":{"uri":"demo://gateway/rules"}}"#,
        progress: 0,
        expect: ("/result/contents/0/uri", "demo://gateway/rules"),
    },
    Step {
        title: "A prompt",
        say: r#"{"jsonrpc":"2.0","id":7,"method":"prompts/get","params":{"name":"introduce","arguments":{"name":"Ada"}}}"#,
        progress: 0,
        expect: ("/result/messages/0/role", "user"),
    },
];

/// A bridge that does not get through, and the flag that its error must name.
struct Refusal {
    title: &'static str,
    flags: Flags,
    names: &'static str,
}

const REFUSALS: [Refusal; 3] = [
    Refusal {
        title: "Without --cert: the gateway lets nobody in",
        flags: Flags { cert: None, ..Flags::RIGHT },
        names: "--cert",
    },
    Refusal {
        title: "With --cert stranger.pem: issued by a CA that the gateway does not know",
        flags: Flags { cert: Some(papers::STRANGER), ..Flags::RIGHT },
        names: "--cert",
    },
    Refusal {
        title: "With --cacert other-ca.pem: now it is we who don't trust the gateway",
        flags: Flags { cacert: papers::OTHER_CA, ..Flags::RIGHT },
        names: "--cacert",
    },
];

/// Goes through all of it, from the first line of the page to the last.
pub(super) async fn run<W: Write>(
    demo: &Demo,
    seen: UnboundedReceiver<Seen>,
    page: Page<W>,
) -> Result<(), Failure> {
    let mut tour = Tour { page, seen, step: 0, known: HashSet::new() };
    tour.introduce(demo)?;
    tour.session(demo).await?;
    for refusal in &REFUSALS {
        tour.refused(demo, refusal).await?;
    }
    tour.send_off()
}

struct Tour<W> {
    page: Page<W>,
    seen: UnboundedReceiver<Seen>,
    step: usize,
    /// Headers that were shown already.
    known: HashSet<(String, String)>,
}

impl<W: Write> Tour<W> {
    fn introduce(&mut self, demo: &Demo) -> Result<(), Failure> {
        let page = &mut self.page;
        page.heading("countersign demo")?;
        page.text(
            "An MCP client speaks over stdio. The gateway before its MCP server demands a client \
             certificate and a bearer token. countersign stands between the two. All of them run \
             in this process; the certificates and the token were made for it, in memory.",
        )?;
        page.gap()?;
        page.verbatim(
            "client <-- stdio --> countersign <-- HTTPS, mTLS --> gateway <--> MCP server",
        )?;
        page.gap()?;
        page.text("The bridge is the real one, as if it had been started with:")?;
        page.gap()?;
        let (cert, key, ca) = (papers::CLIENT, papers::key_of(papers::CLIENT), papers::CA);
        let ((name, value), url) = (TENANT, demo.url.uri());
        page.verbatim(&format!(
            "countersign --cert {cert} --key {} --cacert {ca} \\\n    \
             --bearer env:{TOKEN} --header '{name}: {value}' {url}",
            key.display()
        ))?;
        page.gap()?;
        page.text("→ the client says    | the gateway sees    ← the client gets")
    }

    /// A session from its beginning to its end.
    async fn session(&mut self, demo: &Demo) -> Result<(), Failure> {
        let (mut client, bridge) = client::start(demo, &Flags::RIGHT).await?;

        self.heading("The session opens")?;
        self.ask(&mut client, INITIALIZE, 0, ("/result/protocolVersion", "2025-11-25")).await?;

        self.heading("The client is ready: the bridge opens the server's stream to it")?;
        self.say(&mut client, INITIALIZED).await?;
        self.request("POST").await?;
        self.request("GET").await?;

        for step in &CALLS {
            self.heading(step.title)?;
            self.ask(&mut client, step.say, step.progress, step.expect).await?;
        }

        self.heading("The client closes stdin: the bridge ends the session, and itself")?;
        drop(client);
        self.request("DELETE").await?;
        within("the end of the bridge", bridge).await?.map_err(|error| wrong(&error.to_string()))
    }

    /// Says a request, and shows and checks what comes of it.
    async fn ask(
        &mut self,
        client: &mut Client,
        request: &str,
        progress: usize,
        (place, expected): (&str, &str),
    ) -> Result<(), Failure> {
        self.say(client, request).await?;
        self.request("POST").await?;
        for _ in 0..progress {
            let line = client.hear().await?;
            self.page.message('←', &line)?;
            check(&line, "/method", "notifications/progress")?;
        }
        let answer = client.hear().await?;
        self.page.message('←', &answer)?;
        check(&answer, place, expected)
    }

    /// A session that must not come about, and the error that must say why.
    async fn refused(&mut self, demo: &Demo, refusal: &Refusal) -> Result<(), Failure> {
        self.heading(refusal.title)?;
        let (mut client, bridge) = client::start(demo, &refusal.flags).await?;
        self.page.message('→', "initialize, as before")?;
        client.say(INITIALIZE).await?;
        let answer = client.hear().await?;
        match within("a refused handshake at the gateway", self.seen.recv()).await? {
            Some(Seen::Refused(why)) => self.page.beyond(&format!("no handshake: {why}"))?,
            other => return Err(wrong(&format!("expected a refused handshake, found {other:?}"))),
        }
        check(&answer, "/error/data/stage", "tls")?;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        let (error, hint) = (&answer["error"], answer["error"]["data"]["hint"].as_str());
        let hint = hint.filter(|hint| hint.contains(refusal.names));
        let hint = hint.ok_or_else(|| wrong("expected a hint that names the flag"))?;
        // The message ends in the hint, for hosts that show nothing else.
        let what = error["message"].as_str().unwrap_or_default();
        let what = what.strip_suffix(&format!(". hint: {hint}")).unwrap_or(what);
        self.page.message('←', &format!("error {}: {what}", error["code"]))?;
        self.page.message(' ', &format!("hint: {hint}"))?;
        drop(client);
        within("the end of the bridge", bridge)
            .await?
            .map_err(|error| wrong(&error.to_string()))?;
        // Tries that came after the answer are the same again.
        while self.seen.try_recv().is_ok() {}
        Ok(())
    }

    fn heading(&mut self, title: &str) -> Result<(), Failure> {
        self.step += 1;
        self.page.heading(&format!("{}. {title}", self.step))
    }

    async fn say(&mut self, client: &mut Client, line: &str) -> Result<(), Failure> {
        self.page.message('→', line)?;
        client.say(line).await
    }

    /// Shows the next request that the gateway saw: who made it, and the headers that are news.
    async fn request(&mut self, method: &str) -> Result<(), Failure> {
        let what = format!("a {method} at the gateway");
        let (client, line, headers) = match within(&what, self.seen.recv()).await? {
            Some(Seen::Request { client, line, headers }) => (client, line, headers),
            other => return Err(wrong(&format!("expected {what}, found {other:?}"))),
        };
        if !line.starts_with(method) || !client.starts_with("CN=demo agent,") {
            return Err(wrong(&format!("expected {what}, found {line} of {client}")));
        }
        self.page.beyond(&format!("{line}  from {client}"))?;
        let mut before = 0;
        for (name, value) in headers {
            let line = format!("{name}: {value}");
            if name == "content-length" || name == "host" {
                // Says nothing to a reader.
            } else if self.known.insert((name, value)) {
                self.page.beyond(&line)?;
            } else {
                before += 1;
            }
        }
        match before {
            0 => Ok(()),
            _ => self.page.beyond(&format!("({before} headers as before)")),
        }
    }

    /// What to paste, and where to go from here.
    fn send_off(&mut self) -> Result<(), Failure> {
        let page = &mut self.page;
        page.gap()?;
        page.text(&format!("All {} steps did what they should.", self.step))?;
        page.heading("Your client, this gateway")?;
        page.text("In the .mcp.json of a project, or wherever your client has its servers:")?;
        page.gap()?;
        page.verbatim(&configuration("countersign-demo", r#""args": ["demo", "--stdio"]"#))?;
        page.heading("Your client, your gateway")?;
        let yours = r#""args": ["--cert", "${CLIENT_CERT}", "--key", "${CLIENT_KEY}"],
      "env": { "API_URL": "https://mcp.example.com/mcp" }"#;
        page.verbatim(&configuration("my-server", yours))?;
        page.gap()?;
        page.text(
            "--cacert FILE if a CA of your own issued the gateway's certificate, --bearer \
             env:TOKEN for a token, --header 'Name: value' for what else it wants; countersign \
             --help has the rest.",
        )
    }
}

/// The `.mcp.json` with one server, which is this program.
fn configuration(name: &str, rest: &str) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "countersign".into());
    let program = json!(program.to_string_lossy());
    format!(
        r#"{{
  "mcpServers": {{
    "{name}": {{
      "command": {program},
      {rest}
    }}
  }}
}}"#
    )
}

/// What stands at `place` of a line must be `expected`.
fn check(line: &str, place: &str, expected: &str) -> Result<(), Failure> {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    match value.pointer(place) {
        Some(found) if found == expected => Ok(()),
        _ => Err(wrong(&format!("expected {expected:?} at {place} of the client's answer"))),
    }
}

/// A step did not do what it should.
fn wrong(what: &str) -> Failure {
    Failure::new(Stage::Protocol, format!("the tour ends early: {what}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn the_whole_tour_does_what_it_should_and_shows_no_secret() {
        let (demo, seen) = Demo::start().await.unwrap();
        let mut shown = Vec::new();
        run(&demo, seen, Page::new(&mut shown, false)).await.unwrap();
        let shown = String::from_utf8(shown).unwrap();
        let (token, _) = demo.token.current().await.unwrap();
        assert!(!shown.contains(std::str::from_utf8(token.expose()).unwrap()), "{shown}");
        assert!(shown.contains("authorization: Bearer <redacted>"), "{shown}");
        assert!(!shown.contains('\x1b'), "{shown}");
    }

    #[test]
    fn a_wrong_answer_ends_the_tour() {
        let line = r#"{"result":{"text":"Hello"}}"#;
        assert!(check(line, "/result/text", "Hello").is_ok());
        for (line, place) in [(line, "/result/other"), ("{", "/result/text")] {
            assert!(check(line, place, "Hello").is_err());
        }
    }
}
