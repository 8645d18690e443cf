//! A request as it was received, handed to the verifier of its kind: `KIND.py` beside this file.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::upstream::{Seen, Upstream};

/// What a verifier is shown; a test may change it, to see that it is then refused.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// As `upstream` received it.
    pub(crate) fn of(upstream: &Upstream, seen: &Seen) -> Self {
        let base = upstream.url();
        let (scheme, rest) = base.split_once("://").unwrap();
        let authority = rest.split('/').next().unwrap();
        let headers = seen.headers.iter().map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Self {
            method: seen.method.to_string(),
            url: format!("{scheme}://{authority}{}", seen.path),
            headers: headers.collect(),
            body: seen.body.to_vec(),
        }
    }

    /// The same with another value of a header that is there.
    pub(crate) fn with_header(mut self, name: &str, change: impl Fn(&str) -> String) -> Self {
        let found = self.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, value) = found.unwrap_or_else(|| panic!("no {name} to change"));
        *value = change(value);
        self
    }
}

/// The verifier of `kind` accepts the request.
#[track_caller]
pub(crate) fn verify(kind: &str, request: &Request, material: &Value) {
    if let Err(words) = asked(kind, request, material) {
        panic!("{kind}: refused by its verifier: {words}\n{request:?}");
    }
}

/// The verifier of `kind` does not accept the request, and says so in its own words.
#[track_caller]
pub(crate) fn refuses(kind: &str, request: &Request, material: &Value) {
    let words = asked(kind, request, material).expect_err("accepted what was tampered with");
    assert!(words.contains("refused: "), "{kind}: the verifier itself failed: {words}");
}

fn asked(kind: &str, request: &Request, material: &Value) -> Result<(), String> {
    let python = std::env::var_os("COUNTERSIGN_VERIFY_PYTHON")
        .expect("the verifiers need their Python: start these tests with tests/verify/run");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify/verify.py");
    let mut child = Command::new(python)
        .arg("-B")
        .arg(script)
        .arg(kind)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let question = json!({
        "request": {
            "method": request.method,
            "url": request.url,
            "headers": request.headers,
            "body": STANDARD.encode(&request.body),
        },
        "material": material,
    });
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(words) }
}
