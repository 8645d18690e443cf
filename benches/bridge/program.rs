//! The binary that is measured: the one that users run, unless another is named.

use std::{path::PathBuf, process::Command};

use serde::Deserialize;

use crate::{Outcome, table};

/// `COUNTERSIGN_BIN`, else the dist binary, built if need be.
pub(crate) fn find(quick: bool) -> Outcome<PathBuf> {
    if let Some(named) = variable("COUNTERSIGN_BIN") {
        return Ok(named.into());
    }
    if quick {
        // Beside this program, of its profile: nothing more is built.
        return Ok(env!("CARGO_BIN_EXE_countersign").into());
    }
    table::say("building the dist binary (COUNTERSIGN_BIN=FILE measures another)");
    let cargo = variable("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--profile", "dist", "--bin", "countersign"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err("the dist binary was not built".into());
    }
    let executable = built.stdout.split(|byte| *byte == b'\n').find_map(|line| {
        serde_json::from_slice::<Artifact>(line).ok().and_then(|artifact| artifact.executable)
    });
    executable.ok_or_else(|| "cargo named no executable".into())
}

#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "which program is measured is said to the bench alone"
)]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}
