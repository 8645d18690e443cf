//! An upstream that is down, that is somebody else, or that does not know us: whatever was to be
//! sent is not named by the error that says so.

use std::net::TcpListener;

use super::{Canary, FORMATS, canary, executable, loud, passphrase, private, profile};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE},
    upstream::Upstream,
};

/// Each kind of secret; the folder holds the canary in `secret`, a key in `pem`, programs that print
/// the canary in `program` and as keys of AWS in `config`.
const KINDS: [&str; 12] = [
    "bearer = 'file:FOLDER/secret'",
    "basic = 'alice:env:CANARY'",
    "headers_helper = ['FOLDER/program']",
    "jwt = { alg = 'HS256', key = 'env:CANARY' }",
    "jwt = { alg = 'ES256', key = 'file:FOLDER/pem' }",
    "hmac = { preset = 'body', key = 'env:CANARY' }",
    "http_signature = { alg = 'hmac-sha256', keyid = 'me', key = 'env:CANARY' }",
    "http_signature = { alg = 'ecdsa-p256-sha256', keyid = 'me', key = 'file:FOLDER/pem' }",
    "aws_sigv4 = { region = 'eu-west-1', service = 's3', access_key_id = 'AKIDEXAMPLE',
                   secret_access_key = 'env:CANARY' }",
    "aws_sigv4 = { region = 'eu-west-1', service = 's3', credentials_file = 'FOLDER/none',
                   config_file = 'FOLDER/config' }",
    "pkcs12 = 'FOLDER/client.p12'\npkcs12_passphrase = 'env:CANARY'",
    "env_file = 'FOLDER/mcp.env'\napi_key = 'env:OF_FILE'",
];

/// Starts the program that `to` makes with each kind of secret; the error is of `stage`, and nothing
/// of the secret is said.
#[track_caller]
fn nothing_is_said(stage: &str, to: impl Fn(&Pki, bool) -> Countersign) {
    let pki = Pki::new();
    let folder = pki.path();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let pem = key.serialize_pem();
    private(folder, "secret", "CANARY");
    private(folder, "pem", &pem);
    private(folder, "mcp.env", "OF_FILE='CANARY'\n");
    passphrase::packed(&pki, Canary::TEXT);
    executable(folder, "echo '{\"X-A\": \"CANARY\"}'");
    let keys = "\"Version\": 1, \"AccessKeyId\": \"AKIDEXAMPLE\", \"SecretAccessKey\": \"CANARY\"";
    let printer = private(folder, "keys", &format!("#!/bin/sh\necho '{{{keys}}}'\n"));
    let config = format!("[default]\ncredential_process = {}\n", printer.display());
    private(folder, "config", &config);
    let secrets = Canary::of(canary::lines(&pem).chain([Canary::TEXT]));
    for (lines, format) in KINDS.iter().flat_map(|lines| FORMATS.map(|format| (lines, format))) {
        let program = to(&pki, !lines.contains("pkcs12"));
        let program = program.env("CANARY", Canary::TEXT).env("PATH", "/usr/bin:/bin");
        let mut client = Client::start(&loud(profile(program, folder, lines), format));
        let id = client.initialize("2025-11-25");
        assert_eq!(client.error(&id)["data"]["stage"], stage, "{lines}");
        client.process.close_stdin();
        client.process.wait_exit(DEADLINE);
        secrets.assert_unsaid(&client.process);
    }
}

/// The program with the identity of the client, unless another way of having one is to be tried.
fn program(url: &str, pki: &Pki, identity: bool) -> Countersign {
    let program = Countersign::to(url).cacert(&pki.ca);
    if identity { program.identity(&pki.client) } else { program }
}

#[test]
fn when_nobody_listens() {
    // Free a moment ago; whoever takes it in between speaks no TLS of ours.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("https://127.0.0.1:{port}/mcp");
    nothing_is_said("connect", |pki, identity| program(&url, pki, identity));
}

#[test]
fn when_the_server_is_of_another_authority() {
    let upstream = Upstream::mutual(&Pki::new());
    nothing_is_said("tls", |pki, identity| program(&upstream.url(), pki, identity));
    assert!(upstream.seen().is_empty());
}

#[test]
fn when_the_server_refuses_our_certificate() {
    let theirs = Pki::new();
    let upstream = Upstream::mutual(&theirs);
    nothing_is_said("tls", |pki, identity| {
        let program = Countersign::to(&upstream.url()).cacert(&theirs.ca);
        if identity { program.identity(&pki.client) } else { program }
    });
    assert!(upstream.seen().is_empty());
}
