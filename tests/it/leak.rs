//! No secret leaves but to its upstream. A canary in each kind of secret, every failure provoked
//! with the canary echoed back at us, everything logged: it is found upstream and nowhere else.
//!
//! Out of scope: what the server itself says under the request's own id, result or error, which
//! passes byte for byte.

mod canary;
mod credentials;
mod failures;
mod keys;
mod made;
mod panics;
mod passphrase;
mod programs;
mod proxy;
mod references;
mod unreached;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use self::canary::Canary;
use crate::support::process::Countersign;

/// Both ways of writing the log.
const FORMATS: [&str; 2] = ["text", "json"];

/// The program with all that can be logged.
fn loud(program: Countersign, format: &str) -> Countersign {
    program.args(["-vvv", "--debug", "--log-format", format])
}

/// A file for its owner alone, with the canary where the text says CANARY.
fn private(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text.replace("CANARY", Canary::TEXT)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

/// A program that does this.
fn executable(folder: &Path, script: &str) -> PathBuf {
    private(folder, "program", &format!("#!/bin/sh\n{script}\n"))
}

/// The program with this profile, in which FOLDER is the folder.
fn profile(program: Countersign, folder: &Path, lines: &str) -> Countersign {
    let path = folder.join("c.toml");
    let lines = lines.replace("FOLDER", folder.to_str().unwrap());
    fs::write(&path, format!("[profile.test]\n{lines}\n")).unwrap();
    program.arg("--config").arg(path)
}
