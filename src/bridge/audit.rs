//! What the client asked for and what came of it, for the audit log: one line for each request.
//!
//! It looks on as lines go in and out, and decides nothing. Without a log there is none, and no line
//! is read twice.

use std::{
    collections::HashMap,
    time::{Instant, SystemTime},
};

use bytes::Bytes;

use crate::{
    ledger::{Entry, Ledger, Outcome},
    mcp::{
        fault,
        message::{Envelope, Id, Message},
        notification,
        subject::Subject,
    },
};

/// The requests that are not answered yet.
pub(super) struct Audit {
    ledger: Ledger,
    /// Those with the same id in the order in which they came: the later is refused for it at once.
    open: HashMap<Id, Vec<Asked>>,
}

struct Asked {
    time: SystemTime,
    since: Instant,
    subject: Subject,
    bytes: u64,
}

impl Audit {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { ledger, open: HashMap::new() }
    }

    /// The client sent a message.
    pub(super) fn asked(&mut self, message: &Message) {
        if message.is_notification("notifications/cancelled") {
            return self.withdrawn(message);
        }
        for (envelope, part) in message.envelopes().iter().zip(message.parts()) {
            let Envelope::Request { id, .. } = envelope else { continue };
            let asked = Asked {
                time: SystemTime::now(),
                since: Instant::now(),
                subject: Subject::of(&part),
                bytes: part.len() as u64,
            };
            self.open.entry(id.clone()).or_default().push(asked);
        }
    }

    /// The client wants no answer any more, and gets none.
    fn withdrawn(&mut self, message: &Message) {
        let Some(id) = notification::cancelled_id(message) else { return };
        for asked in self.open.remove(&id).into_iter().flatten() {
            self.write(&asked, Outcome::Aborted, (None, None));
        }
    }

    /// A line goes to the client.
    pub(super) fn answered(&mut self, line: &Bytes) {
        let Ok(message) = Message::parse(line.clone()) else { return };
        for (envelope, part) in message.envelopes().iter().zip(message.parts()) {
            let Envelope::Response { id: Some(id), error } = envelope else { continue };
            let Some(asked) = self.open.get_mut(id).and_then(Vec::pop) else { continue };
            if self.open.get(id).is_some_and(Vec::is_empty) {
                self.open.remove(id);
            }
            let stage = error.as_ref().and_then(|error| fault::stage(error));
            let outcome = if stage.is_some() { Outcome::Failed } else { Outcome::Answered };
            let stage = stage.map_or(error.as_ref().map(|_| "server"), |it| Some(it.name()));
            self.write(&asked, outcome, (stage, Some(part.len() as u64)));
        }
    }

    fn write(&self, asked: &Asked, outcome: Outcome, (stage, bytes): (Option<&str>, Option<u64>)) {
        self.ledger.write(&Entry {
            time: Some(asked.time),
            mcp_method: asked.subject.method.as_deref(),
            name: asked.subject.name.as_deref(),
            outcome,
            stage,
            bytes_in: Some(asked.bytes),
            bytes_out: bytes,
            duration_ms: Some(asked.since.elapsed()),
            ..Entry::default()
        });
    }
}

impl Drop for Audit {
    /// What is still open then was never answered: the client withdrew it, or left.
    fn drop(&mut self) {
        for asked in std::mem::take(&mut self.open).into_values().flatten() {
            self.write(&asked, Outcome::Aborted, (None, None));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        failure::{Failure, Stage},
        ledger::Settings,
    };

    #[tokio::test]
    async fn each_request_is_one_line_whatever_came_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let settings = Settings { access: None, audit: Some(path.clone()) };
        let mut audit = Audit::new(Ledger::open(&settings).unwrap().unwrap());
        let message = |text: &str| Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        audit.asked(&message(
            r#"{"id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":"canary"}}}"#,
        ));
        audit.asked(&message(r#"[{"id":2,"method":"x/y"},{"method":"notifications/z"}]"#));
        audit.asked(&message(r#"{"id":3,"method":"left/open"}"#));
        audit.asked(&message(r#"{"id":4,"method":"no/such"}"#));
        audit.asked(&message(r#"{"id":5,"method":"given/up"}"#));
        let cancel = r#"{"method":"notifications/cancelled","params":{"requestId":5}}"#;
        audit.asked(&message(cancel));
        assert!(std::fs::read_to_string(&path).unwrap().contains("given/up"));
        let refused = Failure::new(Stage::Tls, "x");
        audit.answered(&fault::answer(&Id::from_token("2").unwrap(), &refused));
        audit.answered(&Bytes::from_static(br#"{"id":1,"result":{"of":"canary"}}"#));
        audit.answered(&Bytes::from_static(br#"{"id":1,"result":{}}"#));
        audit.answered(&Bytes::from_static(br#"{"id":4,"error":{"code":1,"message":"canary"}}"#));
        drop(audit);
        let text = std::fs::read_to_string(&path).unwrap();
        let said: Vec<_> = text
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                let of = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
                [of("mcp_method"), of("name"), of("outcome"), of("stage")].join(" ")
            })
            .collect();
        assert_eq!(
            said,
            [
                "given/up - aborted -",
                "x/y - failed tls",
                "tools/call a answered -",
                "no/such - answered server",
                "left/open - aborted -",
            ]
        );
        assert!(!text.contains("canary"), "{text}");
    }
}
