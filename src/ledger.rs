//! The access log and the audit log: one line for each request, from a fixed list of fields.
//!
//! Whoever carries a request writes what it was: never an argument, never a header. A line that can't
//! be written is lost, which is said once; no request waits for its line.

mod file;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};

use self::file::{Mode, Sink};
use crate::failure::Failure;

/// Where lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The access log.
    pub access: Option<Destination>,
    /// The audit log, a file for its owner alone.
    pub audit: Option<PathBuf>,
}

/// Where an access log is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output (`-`).
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

/// The logs that were asked for. The clones share them.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Vec<Sink>>);

/// One request. What is not known of it is left out.
#[derive(Debug, Default, Serialize)]
pub struct Entry<'a> {
    /// When it came.
    #[serde(serialize_with = "moment")]
    pub time: Option<SystemTime>,
    /// The route that it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    /// The method of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_method: Option<&'a str>,
    /// The method of MCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_method: Option<&'a str>,
    /// The tool, prompt or resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// The status of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// The stage at which it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<&'a str>,
    /// The rule by which it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
    /// The size of its body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// The size of the response's body, as far as it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
    /// The time until the head of the response.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "milliseconds")]
    pub head_ms: Option<Duration>,
    /// The time until its end.
    #[serde(serialize_with = "milliseconds")]
    pub duration_ms: Option<Duration>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<&'a str>,
    /// The id that it came with, or was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// The trace that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<&'a str>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was answered by the upstream, whatever the answer says.
    #[default]
    Answered,
    /// It was answered by us: the stage says why.
    Failed,
    /// Whoever asked went away before the end.
    Aborted,
}

impl Ledger {
    /// Opens the logs; none if none is asked for. Must be called within the runtime.
    ///
    /// # Errors
    ///
    /// At the configuration stage, with the flag and the file.
    pub fn open(settings: &Settings) -> Result<Option<Self>, Failure> {
        let mut sinks = Vec::new();
        match &settings.access {
            Some(Destination::Stdout) => sinks.push(Sink::stdout()),
            Some(Destination::File(path)) => {
                sinks.push(Sink::open("--access-log", path, Mode::Access)?);
            }
            None => {}
        }
        if let Some(path) = &settings.audit {
            sinks.push(Sink::open("--audit-log", path, Mode::Audit)?);
        }
        Ok((!sinks.is_empty()).then(|| Self(Arc::new(sinks))))
    }

    /// Writes a line.
    pub fn write(&self, entry: &Entry<'_>) {
        // It can't fail: texts and numbers alone, into memory.
        let Ok(mut line) = serde_json::to_vec(entry) else { return };
        line.push(b'\n');
        for sink in self.0.iter() {
            sink.write(&line);
        }
    }

    /// Opens the files by their names again, after they were moved away (SIGHUP).
    pub fn reopen(&self) {
        for sink in self.0.iter() {
            sink.reopen();
        }
    }
}

fn moment<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    let time = time.unwrap_or(SystemTime::UNIX_EPOCH);
    serializer.collect_str(&humantime::format_rfc3339_millis(time))
}

/// With three decimals: a microsecond.
fn milliseconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let microseconds = time.unwrap_or_default().as_micros();
    serializer.serialize_f64(microseconds as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[tokio::test]
    async fn a_line_has_what_is_known_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (access, audit) = (folder.path().join("access"), folder.path().join("audit"));
        let settings = Settings {
            access: Some(Destination::File(access.clone())),
            audit: Some(audit.clone()),
        };
        let ledger = Ledger::open(&settings).unwrap().unwrap();
        ledger.write(&Entry {
            time: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_305_600_250)),
            name: Some("a\"b"),
            status: Some(200),
            duration_ms: Some(Duration::from_micros(1500)),
            ..Entry::default()
        });
        let line = "{\"time\":\"2026-11-22T00:00:00.250Z\",\"name\":\"a\\\"b\",\"status\":200,\
                    \"outcome\":\"answered\",\"duration_ms\":1.5}\n";
        assert_eq!(fs::read_to_string(&access).unwrap(), line);
        assert_eq!(fs::read_to_string(&audit).unwrap(), line);
        assert_eq!(fs::metadata(&audit).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn none_is_opened_where_none_is_asked_for() {
        assert!(Ledger::open(&Settings::default()).unwrap().is_none());
    }
}
