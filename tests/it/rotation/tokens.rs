//! What is sent as it is: tokens, keys, passwords; from files and from programs.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{Rotation, a_file_is_rotated, with_profile};
use crate::support::{
    pki::Pki,
    upstream::{Seen, Upstream},
};

const KEPT: &str = "stays in use";

fn has(name: &'static str, value: &'static str) -> impl Fn(&Seen) -> bool + Clone {
    move |seen| seen.headers.get(name).is_some_and(|found| found == value)
}

#[test]
fn a_bearer_token_in_a_file() {
    let is_new = has("authorization", "Bearer second");
    let contents = ("token", "first", "second\n", "");
    a_file_is_rotated(contents, KEPT, 401, "bearer = { file = \"FILE\" }", is_new);
}

#[test]
fn an_api_key_in_a_file() {
    let is_new = has("x-corp", "second");
    let contents = ("key", "first", "second", "two\nlines");
    a_file_is_rotated(contents, KEPT, 401, "api_key = { X-Corp = { file = \"FILE\" } }", is_new);
}

#[test]
fn a_password_in_a_file() {
    let is_new = has("authorization", "Basic bWU6c2Vjb25k");
    let profile = "basic = { user = \"me\", password = { file = \"FILE\" } }";
    a_file_is_rotated(("password", "first", "second", " "), KEPT, 401, profile, is_new);
}

/// A program that prints what is in a file, and says that it ran.
fn program(folder: &std::path::Path, print: &str) -> String {
    let (path, runs) = (folder.join("print"), folder.join("runs"));
    let text = format!("#!/bin/sh\necho run >>'{}'\n{print}\n", runs.display());
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn runs(folder: &std::path::Path) -> usize {
    fs::read_to_string(folder.join("runs")).unwrap().lines().count()
}

#[test]
fn a_token_that_a_program_prints() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let token = folder.path().join("token");
    fs::write(&token, "first").unwrap();
    let path = program(folder.path(), &format!("cat '{}'", token.display()));
    let upstream = Upstream::mutual(&pki);
    let profile = format!("bearer = {{ command = [\"{path}\"] }}");
    let program = with_profile(&pki, &upstream, folder.path(), &profile);
    let mut rotation = Rotation::start(upstream, &program);
    let is_new = has("authorization", "Bearer second");
    rotation.survives(401, |_| fs::write(&token, "second").unwrap(), is_new);
    assert_eq!(runs(folder.path()), 2, "one run for all who were refused");
    rotation.finish();
}

#[test]
fn the_headers_of_a_helper() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    for status in [401, 403] {
        let _ = fs::remove_file(folder.path().join("runs"));
        let token = folder.path().join("token");
        fs::write(&token, "first").unwrap();
        let print = format!(r#"printf '{{"X-Corp": "%s"}}' "$(cat '{}')""#, token.display());
        let path = program(folder.path(), &print);
        let upstream = Upstream::mutual(&pki);
        let profile = format!("headers_helper = [\"{path}\"]");
        let program = with_profile(&pki, &upstream, folder.path(), &profile);
        let mut rotation = Rotation::start(upstream, &program);
        let is_new = has("x-corp", "second");
        rotation.survives(status, |_| fs::write(&token, "second").unwrap(), is_new);
        assert_eq!(runs(folder.path()), 2, "one run for all who were refused");
        rotation.finish();
    }
}
