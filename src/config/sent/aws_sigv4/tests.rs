//! What was said, read and settled: forms, places, and the order of the sources.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use toml::de::DeTable;

use super::{super::super::value::Source as Document, *};

const HOST: &str = "a1b2.execute-api.eu-west-1.amazonaws.com";

fn said(toml: &str) -> Result<Said, Failure> {
    let source = Document::File { file: Path::new("/etc/corp/c.toml").into(), text: toml };
    let table = DeTable::parse(toml).unwrap();
    Said::read(&Item::of_document(&source, table.get_ref())[0])
}

/// What it comes to for a host in an environment, in the words of `Debug`.
fn settled(toml: &str, host: &str, environment: &[(&str, &str)]) -> Result<String, Failure> {
    let lookup = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let settings = said(toml)?.settle(&Place::flag("--aws-sigv4"), &Scope::new(&lookup), host)?;
    let debug = format!("{settings:?}");
    assert!(!debug.contains("canary"), "{debug}");
    Ok(debug)
}

fn refused(toml: &str, host: &str, environment: &[(&str, &str)]) -> String {
    let failure = settled(toml, host, environment).unwrap_err();
    let words = format!("{}; {}", failure.what(), failure.next_step().unwrap_or_default());
    assert!(!words.contains("canary"), "{words}");
    words
}

const ENVIRONMENT: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "canary"), ("HOME", "/no/home")];

#[test]
fn region_and_service_are_said_or_in_the_name_of_the_host() {
    for (text, host, region, service) in [
        ("aws:amz:us-east-1:lambda", "mcp.example.com", "us-east-1", "lambda"),
        ("aws:amz:us-east-1:lambda", HOST, "us-east-1", "lambda"),
        ("aws:amz:us-east-1", HOST, "us-east-1", "execute-api"),
        ("aws:amz::lambda", HOST, "eu-west-1", "lambda"),
        ("aws:amz", HOST, "eu-west-1", "execute-api"),
        ("aws", HOST, "eu-west-1", "execute-api"),
    ] {
        let settled = settled(&format!("s = \"{text}\""), host, &ENVIRONMENT).unwrap();
        let scope = format!("region: {region:?}, service: {service:?}");
        assert!(settled.contains(&scope), "{text}: {settled}");
    }
    let environment = [ENVIRONMENT.as_slice(), &[("AWS_REGION", "eu-north-1")]].concat();
    let settled = settled("s = { service = \"x\" }", "example.com", &environment).unwrap();
    assert!(settled.contains("eu-north-1"), "{settled}");
}

#[test]
fn what_is_left_out_and_can_not_be_told_is_asked_for() {
    let region = refused("s = \"aws:amz\"", "mcp.example.com", &ENVIRONMENT);
    assert!(region.contains("expected an AWS region, found none: not here"), "{region}");
    assert!(region.contains("profile default in /no/home/.aws/config"), "{region}");
    let service = refused("s = \"aws:amz:eu-west-1\"", "mcp.example.com", &ENVIRONMENT);
    assert!(service.contains("the host mcp.example.com names none"), "{service}");
    assert!(service.contains("execute-api (API Gateway)"), "{service}");
}

#[test]
fn other_providers_and_forms_are_refused() {
    for (toml, part) in [
        ("s = \"osc\"", "expected the provider aws:amz"),
        ("s = \"goog:goog4:x:y\"", "expected the provider aws:amz"),
        ("s = \"aws:osc:x:y\"", "expected the provider aws:amz"),
        ("s = \"eu-west-1\"", "expected the provider aws:amz"),
        ("s = \"aws:amz:a:b:canary\"", "more than four parts"),
        ("s = 5", "expected a table"),
        ("s = { reigon = \"x\" }", "did you mean region?"),
        ("s = { access_key_id = \"A\" }", "a secret_access_key beside it"),
        ("s = { secret_access_key = \"env:S\" }", "an access_key_id beside it"),
        ("s = { session_token = \"env:S\" }", "the key that it belongs to"),
        ("s = { access_key_id = \"A\", secret_access_key = \"canary\" }", "expected a reference"),
        (
            "s = { access_key_id = \"A\", secret_access_key = \"env:S\", aws_profile = \"p\" }",
            "keys from one source",
        ),
    ] {
        let words = refused(toml, HOST, &ENVIRONMENT);
        assert!(words.contains(part), "{toml}: {words}");
    }
}

#[test]
fn keys_are_looked_for_in_the_order_of_the_aws_tools() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let keys = "aws_access_key_id = AKID\naws_secret_access_key = canary\n";
    fs::write(path("credentials"), format!("[default]\n{keys}[mine]\n{keys}")).unwrap();
    fs::write(path("secret"), "canary").unwrap();
    let files = [
        ("HOME".to_owned(), "/no/home".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE".to_owned(), path("credentials")),
        ("AWS_PROFILE".to_owned(), "mine".to_owned()),
    ];
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let both = [ENVIRONMENT.as_slice(), &files].concat();

    let referred = format!(
        "s = {{ access_key_id = \"AKIDSAID\", secret_access_key = \"file:{}\" }}",
        path("secret")
    );
    let first = settled(&referred, HOST, &both).unwrap();
    assert!(first.contains("Plain(\"AKIDSAID\")") && first.contains("file:"), "{first}");
    let second = settled("s = \"aws:amz\"", HOST, &both).unwrap();
    assert!(second.contains("Held(env:AWS_SECRET_ACCESS_KEY)"), "{second}");
    assert!(second.contains("session_token: None"), "{second}");
    let third = settled("s = \"aws:amz\"", HOST, &files).unwrap();
    assert!(third.contains("profile: \"mine\""), "{third}");
    let named = settled("s = { aws_profile = \"default\" }", HOST, &both).unwrap();
    assert!(named.contains("profile: \"default\""), "{named}");
    let toml = format!("s = {{ credentials_file = \"{}\" }}", path("none"));
    let none = refused(&toml, HOST, &both);
    assert!(none.contains("found no AWS credentials: neither "), "{none}");
}

#[test]
fn half_a_key_in_the_environment_is_no_key() {
    let half = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "")];
    let words = refused("s = \"aws:amz\"", HOST, &half);
    assert!(words.starts_with("AWS_ACCESS_KEY_ID: it is set, and AWS_SECRET_ACCESS_KEY is not"));
    let none = [("AWS_ACCESS_KEY_ID", "${AWS_ACCESS_KEY_ID}"), ("HOME", "/no/home")];
    let words = refused("s = \"aws:amz\"", HOST, &none);
    assert!(
        words.contains("AWS_ACCESS_KEY_ID is not set, and neither /no/home/.aws/cred"),
        "{words}"
    );
}

#[test]
fn the_headers_it_owns_are_named() {
    let said = said("s = \"aws:amz\"").unwrap();
    assert_eq!(
        said.headers(),
        ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"]
    );
}
