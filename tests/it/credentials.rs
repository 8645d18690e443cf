//! Credentials, as the upstream receives them: with every request, each once, current, or not at
//! all; and no one else receives them.

mod aws_sigv4;
mod carried;
mod elsewhere;
mod headers_helper;
mod hmac;
mod http_signature;
mod jwt;
#[cfg(feature = "keyring")]
pub(crate) mod keyring;
mod refused;
mod withheld;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::support::upstream::Seen;

/// All values of a header in a request.
fn values<'a>(seen: &'a Seen, name: &str) -> Vec<&'a str> {
    seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

/// A file with a secret in it, for its owner alone.
fn secret(folder: &Path, value: &str) -> PathBuf {
    let path = folder.join("token");
    fs::write(&path, format!("{value}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A program that writes a line for each of its runs before it does this.
struct Program {
    path: PathBuf,
    runs: PathBuf,
}

impl Program {
    fn new(folder: &Path, script: &str) -> Self {
        let (path, runs) = (folder.join("print-token"), folder.join("runs"));
        let text = format!("#!/bin/sh\ncd {}\necho run >>runs\n{script}\n", folder.display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self { path, runs }
    }

    /// As a flag takes it.
    fn reference(&self) -> String {
        format!("command:{}", self.path.display())
    }

    /// How often it was started.
    fn runs(&self) -> usize {
        fs::read_to_string(&self.runs).unwrap_or_default().lines().count()
    }
}
