//! A secret that can be recognised wherever it comes out, whatever was done to it on the way.

use std::collections::HashMap;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};

use crate::support::process::Process;

/// Text that stands nowhere else, with characters that every encoding changes.
const TEXT: &str = "Zq7Xw2Kd9~Lm4/Rt8+Yp5=";

/// No spelling is shorter: by as many bytes they are found.
const START: usize = 8;

/// Secrets and their spellings.
pub(super) struct Canary {
    by_start: HashMap<[u8; START], Vec<String>>,
}

impl Canary {
    /// What is put where a secret belongs.
    pub(super) const TEXT: &str = TEXT;

    pub(super) fn new() -> Self {
        Self::of([TEXT])
    }

    /// Of secrets that can't be the text, such as what is made with a key.
    pub(super) fn of<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut by_start: HashMap<_, Vec<_>> = HashMap::new();
        for spelling in secrets.into_iter().flat_map(|secret| spellings(secret.as_ref())) {
            let start = *spelling.as_bytes().first_chunk().expect("a secret is long enough");
            by_start.entry(start).or_default().push(spelling);
        }
        assert!(!by_start.is_empty(), "there is something to look for");
        Self { by_start }
    }

    /// The spelling that stands in `text`.
    pub(super) fn find(&self, text: &[u8]) -> Option<&str> {
        (0..text.len()).find_map(|at| {
            let rest = &text[at..];
            let likely = self.by_start.get(rest.first_chunk::<START>()?)?;
            let found = likely.iter().find(|spelling| rest.starts_with(spelling.as_bytes()));
            found.map(String::as_str)
        })
    }

    /// Panics if the process has said it, or shows it to everyone on the machine.
    #[track_caller]
    pub(super) fn assert_unsaid(&self, process: &Process) {
        for (place, text) in [
            ("stdout", process.stdout().into_bytes()),
            ("stderr", process.stderr().into_bytes()),
            ("a command line", process.command_lines()),
            ("the environment of a program", process.environments()),
        ] {
            let Some(found) = self.find(&text) else { continue };
            let text = String::from_utf8_lossy(&text);
            let line = text.split(['\n', '\0']).find(|line| self.find(line.as_bytes()).is_some());
            panic!("{found} stands in {place}: {}", line.unwrap_or(&text));
        }
    }
}

/// The lines of a key that are secret, as it may be quoted by the line: no marks, and not the last
/// few characters.
pub(super) fn lines(key: &str) -> impl Iterator<Item = &str> {
    key.lines().filter(|line| !line.starts_with("-----") && line.len() >= 3 * START)
}

/// The ways in which a secret may be written.
fn spellings(secret: &str) -> Vec<String> {
    let middle = secret.len() / 2;
    let mut spellings = Vec::new();
    // Each half by itself: a cut is no redaction.
    for half in [&secret[..middle - 2], &secret[middle - 1..]] {
        let hex = hex(half);
        let debug = format!("{:?}", half.as_bytes());
        spellings.extend([
            half.to_owned(),
            half.replace('/', "\\/"),
            percent(half),
            percent(half).to_lowercase(),
            hex.to_uppercase(),
            hex,
            debug[1..debug.len() - 1].to_owned(),
        ]);
    }
    // Inside of other text, base64 has three spellings: one a place of its first byte.
    for before in ["", "-", "--"] {
        let within = format!("{before}{secret}");
        for encoded in
            [BASE64_STANDARD_NO_PAD.encode(&within), BASE64_URL_SAFE_NO_PAD.encode(&within)]
        {
            let own = &encoded[(before.len() * 8).div_ceil(6)..encoded.len() - 2];
            spellings.push(own[..own.len() / 2].to_owned());
            spellings.push(own[own.len() / 2..].to_owned());
        }
    }
    spellings
}

/// In hexadecimal digits.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
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
        format!("{:?}", &TEXT.as_bytes()[..10]),
        hex(TEXT),
        hex(TEXT)[..24].to_uppercase(),
        BASE64_STANDARD_NO_PAD.encode(TEXT)[..16].to_owned(),
        serde_json::to_string(TEXT).unwrap(),
    ] {
        assert!(canary.find(format!("before {disguise} after").as_bytes()).is_some(), "{disguise}");
    }
    assert_eq!(canary.find(b"Zq7Xw2 <redacted>"), None);
}
