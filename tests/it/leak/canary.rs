//! A secret that can be recognised wherever it comes out, whatever was done to it on the way.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};

use crate::support::process::Process;

/// Text that stands nowhere else, with characters that every encoding changes.
const TEXT: &str = "Zq7Xw2Kd9~Lm4/Rt8+Yp5=";

/// The secret and its spellings.
pub(super) struct Canary {
    spellings: Vec<String>,
}

impl Canary {
    /// What is put where a secret belongs.
    pub(super) const TEXT: &str = TEXT;

    pub(super) fn new() -> Self {
        let hex: String = TEXT.bytes().map(|byte| format!("{byte:02x}")).collect();
        let debug = format!("{:?}", TEXT.as_bytes());
        let mut spellings = vec![
            // Each half by itself: a cut is no redaction.
            TEXT[..9].to_owned(),
            TEXT[10..].to_owned(),
            TEXT.replace('/', "\\/"),
            percent(TEXT),
            percent(TEXT).to_lowercase(),
            hex.to_uppercase(),
            hex,
            debug[1..debug.len() - 1].to_owned(),
        ];
        // Inside of other text, base64 has three spellings: one a place of its first byte.
        for before in ["", "-", "--"] {
            let within = format!("{before}{TEXT}");
            for encoded in
                [BASE64_STANDARD_NO_PAD.encode(&within), BASE64_URL_SAFE_NO_PAD.encode(&within)]
            {
                let own = (before.len() * 8).div_ceil(6)..encoded.len() - 2;
                spellings.push(encoded[own].to_owned());
            }
        }
        Self { spellings }
    }

    /// The spelling that stands in `text`.
    pub(super) fn find(&self, text: &[u8]) -> Option<&str> {
        let found = self
            .spellings
            .iter()
            .find(|spelling| text.windows(spelling.len()).any(|part| part == spelling.as_bytes()));
        found.map(String::as_str)
    }

    /// Panics if the process has said it, or shows it to everyone on the machine.
    #[track_caller]
    pub(super) fn assert_unsaid(&self, process: &Process) {
        for (place, text) in [
            ("stdout", process.stdout().into_bytes()),
            ("stderr", process.stderr().into_bytes()),
            ("the command line", process.command_lines()),
        ] {
            let Some(found) = self.find(&text) else { continue };
            let text = String::from_utf8_lossy(&text);
            let line = text.lines().find(|line| self.find(line.as_bytes()).is_some());
            panic!("{found} stands in {place}: {}", line.unwrap_or(&text));
        }
    }
}

/// Every byte but letters and digits, as a query has it.
pub(super) fn percent(text: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(encode).collect()
}

#[test]
fn a_canary_is_recognised_in_every_disguise() {
    let canary = Canary::new();
    for disguise in [
        TEXT.to_owned(),
        TEXT[..12].to_owned(),
        percent(TEXT),
        BASE64_STANDARD_NO_PAD.encode(format!("alice:{TEXT}")),
        BASE64_URL_SAFE_NO_PAD.encode(format!("bob:{TEXT}?")),
        format!("{:?}", TEXT.as_bytes()),
        serde_json::to_string(TEXT).unwrap(),
    ] {
        assert!(canary.find(format!("before {disguise} after").as_bytes()).is_some(), "{disguise}");
    }
    assert_eq!(canary.find(b"Zq7Xw2 <redacted>"), None);
}
