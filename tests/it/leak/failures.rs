//! Everything that an upstream can do wrong while it echoes what it was sent.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    script::{Ending, Fault, Reply, Rule},
    upstream::{Seen, Upstream},
};

/// The statuses of refusals, each with an explanation of its own.
const STATUSES: [u16; 12] = [400, 401, 403, 404, 405, 407, 413, 429, 495, 500, 502, 503];

/// Each failure with `echo` wherever servers are known to put what they dislike.
fn all(echo: &str) -> Vec<Fault> {
    let text = |kind, body: String| Reply::new(200).header("content-type", kind).body(body);
    let mut faults = vec![
        Fault::redirect(307, &format!("https://elsewhere.example/login?token={echo}#{echo}")),
        Fault::redirect(302, &format!("/login?token={echo}")),
        Fault::redirect(302, &format!("/login/{echo}")),
        Fault::redirect(307, &format!("http:/{echo}")),
        Fault::redirect(307, &format!("//[{echo}")),
        Fault::Hangup(Ending::Reset),
        Fault::Hangup(Ending::NoNotify),
        Fault::Garbage(format!("HTTP/1.1 {echo}\r\n{echo}: {echo}\r\n\r\n").into()),
        Fault::json_text(format!("{{\"jsonrpc\":\"2.0\",\"{echo}")),
        Fault::json_text(format!("\"{echo}\"")),
        Fault::json_text(json!({"jsonrpc": "2.0", "said": echo}).to_string()),
        Fault::sse_text(format!("data: {echo}\n\n")),
        Fault::sse_text(format!("event: {echo}\ndata: {{\"{echo}\":1}}\n\n")),
        Fault::Answer(text("text/html", format!("<title>{echo}</title>"))),
        Fault::Answer(text("text/plain", echo.to_owned())),
        Fault::Truncate { at: 30 },
        Fault::Cut { at: 30, ending: Ending::Reset },
        Fault::accepted(),
    ];
    for status in STATUSES {
        let bodies = [
            ("application/json", json!({"error": {"message": format!("no: {echo}")}}).to_string()),
            ("application/json", json!({"error": "x", "error_description": echo}).to_string()),
            ("text/html", format!("<title>No required SSL certificate, {echo}</title>{echo}")),
            ("text/plain", format!("{}{echo}", "x".repeat(190))),
        ];
        for (kind, body) in bodies {
            let why = format!(
                r#"Bearer realm="{echo}", error="invalid_token", error_description="{echo}""#
            );
            let reply = Reply::new(status)
                .header("www-authenticate", &why)
                .header("content-type", kind)
                .header("set-cookie", &format!("echo={}", echo.replace([' ', ';'], "")))
                .header("retry-after", echo)
                .header("server", echo)
                .header("x-request", echo);
            faults.push(Fault::Answer(reply.body(body)));
        }
    }
    faults
}

/// Redirects that are followed, to a path with `echo` in it, and then to nowhere.
#[track_caller]
pub(super) fn redirect(client: &mut Client, upstream: &Upstream, echoes: &[Echo]) {
    for echo in echoes {
        for status in [307, 308, 302] {
            let followed = Arc::clone(echo);
            let followed =
                Fault::made(move |seen| Fault::redirect(308, &format!("/a/{}", followed(seen))));
            upstream.script(Rule::call("leak"), followed);
            upstream.script(Rule::call("leak").times(5), Fault::redirect(status, "/b"));
            let id = client.call("leak", json!({}));
            client.error(&id);
            upstream.clear_script();
        }
    }
}

/// The upstream goes down, and comes back as somebody else.
#[track_caller]
pub(super) fn loss(client: &mut Client, upstream: &Upstream, _echoes: &[Echo]) {
    let other = Pki::new();
    let mut fails_at = |stage| {
        let id = client.call("leak", json!({}));
        assert_eq!(client.error(&id)["data"]["stage"], stage);
    };
    upstream.down();
    fails_at("connect");
    upstream.rotate(&other.server, &other.ca);
    upstream.up();
    fails_at("tls");
}

/// What a server that was sent a request repeats of it.
pub(super) type Echo = Arc<dyn Fn(&Seen) -> String + Send + Sync>;

/// The same to every request.
pub(super) fn always(text: impl Into<String>) -> Echo {
    let text = text.into();
    Arc::new(move |_| text.clone())
}

/// Provokes all of them, at each kind of request.
#[track_caller]
pub(super) fn provoke(client: &mut Client, upstream: &Upstream, echoes: &[Echo]) {
    for (echo, fault) in echoes.iter().flat_map(|echo| (0..all("").len()).map(move |n| (echo, n))) {
        let echo = Arc::clone(echo);
        // Twice, for what is sent again with a renewed secret.
        let fault = Fault::made(move |seen| all(&echo(seen)).swap_remove(fault));
        upstream.script(Rule::call("leak").times(2), fault);
        let id = client.call("leak", json!({}));
        client.response(&id);
        upstream.clear_script();
    }
    for echo in echoes {
        let echo = Arc::clone(echo);
        let refusal = Fault::made(move |seen| {
            Fault::Answer(Reply::json(400, &json!({"error": {"message": echo(seen)}})))
        });
        upstream.script(Rule::on("notifications/leak").times(2), refusal.clone());
        client.notify("notifications/leak", Value::Null);
        upstream.wait_for_method("notifications/leak");
        upstream.script(Rule::on("initialize").times(2), refusal);
        let id = client.initialize("2025-11-25");
        client.error(&id);
        upstream.clear_script();
    }
}
