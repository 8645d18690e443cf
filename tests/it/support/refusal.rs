//! What a client is told when it can't be served: the stage, the sentence, the next step.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{jsonrpc::Client, process::Countersign};

/// What `--connect-timeout` is unless it is given.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An error of ours, taken apart.
#[derive(Debug)]
pub struct Refusal {
    /// `data.stage`.
    pub stage: String,
    /// `message`: what failed, and the hint once more.
    pub message: String,
    /// `data.hint`; empty where there is none.
    pub hint: String,
}

impl Refusal {
    /// The error of a response.
    pub fn of(error: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            stage: text(&error["data"]["stage"]),
            message: text(&error["message"]),
            hint: text(&error["data"]["hint"]),
        }
    }

    /// The error that a fresh client's `initialize` gets, within the connect timeout.
    #[track_caller]
    pub fn of_initialize(program: &Countersign) -> Self {
        let mut client = Client::start(program);
        let asked = Instant::now();
        let id = client.initialize("2025-11-25");
        let error = client.error(&id);
        assert!(asked.elapsed() < CONNECT_TIMEOUT, "{:?}: {error}", asked.elapsed());
        Self::of(&error)
    }

    /// Checks the stage, words of the sentence, words of the hint.
    #[track_caller]
    pub fn says(&self, stage: &str, what: &[&str], hint: &str) {
        assert_eq!(self.stage, stage, "{self:?}");
        for words in what {
            assert!(self.message.contains(words), "no {words:?} in {self:?}");
        }
        assert!(self.hint.contains(hint), "no {hint:?} in the hint of {self:?}");
    }
}
