//! Names and versions that have to agree with each other, and the registry's entry: its required
//! shape, and that what it asks for is what the program takes.

use std::fs;

use clap::CommandFactory as _;
use serde_json::Value;

use super::{carries_a_session, deployed, json_of};
use crate::support::{pki::Pki, process::Countersign, upstream::Upstream};

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn every_package_is_of_the_version_of_the_program() {
    let npm = json_of("npm/package.json");
    let entry = json_of("server.json");
    let mut versions = vec![
        npm["version"].clone(),
        entry["version"].clone(),
        entry["packages"][0]["version"].clone(),
        json_of("mcpb/manifest.json")["version"].clone(),
        json_of("claude-code-plugin/.claude-plugin/plugin.json")["version"].clone(),
    ];
    versions.extend(npm["optionalDependencies"].as_object().unwrap().values().cloned());
    for version in versions {
        assert_eq!(version, VERSION);
    }
}

#[test]
fn the_packages_say_which_entry_they_belong_to() {
    let (npm, entry) = (json_of("npm/package.json"), json_of("server.json"));
    assert_eq!(npm["mcpName"], entry["name"]);
    assert_eq!(npm["name"], entry["packages"][0]["identifier"]);
    if let Ok(text) = fs::read_to_string(deployed("docker/Dockerfile")) {
        let label = format!("io.modelcontextprotocol.server.name={}", entry["name"]);
        assert!(text.contains(&label), "the image has not the label {label}");
    }
}

#[test]
fn no_package_runs_anything_at_installation() {
    let npm = json_of("npm/package.json");
    assert_eq!(npm.get("scripts"), None);
    let platforms = npm["optionalDependencies"].as_object().unwrap();
    assert!(platforms.keys().all(|name| name.starts_with("@countersign/")));
    assert_eq!(npm.get("dependencies"), None);
}

#[test]
fn the_entry_has_the_shape_that_the_registry_wants() {
    let entry = json_of("server.json");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert!(text(&entry["$schema"]).ends_with("/2025-12-11/server.schema.json"));
    let name = text(&entry["name"]);
    let (space, own) = name.split_once('/').unwrap();
    let fits = |part: &str, more: &str| {
        !part.is_empty() && part.chars().all(|it| it.is_ascii_alphanumeric() || more.contains(it))
    };
    assert!(fits(space, ".-") && fits(own, "._-") && name.len() <= 200, "{name}");
    assert!((1..=100).contains(&text(&entry["description"]).chars().count()));
    assert!((1..=100).contains(&text(&entry["title"]).chars().count()));
    let package = &entry["packages"][0];
    assert_eq!(package["registryType"], "npm");
    assert_eq!(package["transport"]["type"], "stdio");
    for argument in package["packageArguments"].as_array().unwrap() {
        assert_eq!(argument["type"], "named");
        // There are servers that want a certificate, or a token, or both.
        assert_eq!(argument.get("isRequired"), None, "{argument}");
    }
    let formats = [Value::Null, "filepath".into()];
    for input in inputs(package) {
        assert!(input["name"].is_string() && input["description"].is_string(), "{input}");
        assert!(formats.contains(&input["format"]), "{input}");
    }
}

fn inputs(package: &Value) -> impl Iterator<Item = &Value> {
    let all =
        ["packageArguments", "environmentVariables"].map(|it| package[it].as_array().unwrap());
    all.into_iter().flatten()
}

#[test]
fn what_the_entry_asks_for_is_what_the_program_takes() {
    let flags: Vec<String> = countersign::cli::Cli::command()
        .get_arguments()
        .filter_map(|it| it.get_long().map(|long| format!("--{long}")))
        .collect();
    let entry = json_of("server.json");
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let mut program = Countersign::new().cacert(&pki.ca);
    for argument in entry["packages"][0]["packageArguments"].as_array().unwrap() {
        let name = argument["name"].as_str().unwrap();
        assert!(flags.iter().any(|flag| flag == name), "{name}");
        let value = match name {
            "--cert" => pki.client.cert.display().to_string(),
            "--key" => pki.client.key.display().to_string(),
            _ => argument["placeholder"].as_str().unwrap().to_owned(),
        };
        // A named argument of the registry's is one word.
        program = program.arg(format!("{name}={value}"));
    }
    for variable in entry["packages"][0]["environmentVariables"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert_eq!(variable["isSecret"] == true, name == "MCP_TOKEN");
        program = match name {
            "API_URL" => program.env(name, upstream.url()),
            _ => program.env(name, "a-token"),
        };
    }
    carries_a_session(&program, &upstream, Some("a-token"));
}
