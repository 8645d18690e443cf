//! Keys that are wrong: those that don't fit what they are for, those that stand where a reference
//! belongs, and replacements that can't be used.

use std::{fs, time::Instant};

use serde_json::json;

use super::{Canary, FORMATS, canary, loud, private, profile};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE},
    upstream::Upstream,
};

/// The program ends before it sends anything, and says nothing of `secrets`.
#[track_caller]
fn is_refused(program: Countersign, format: &str, secrets: &Canary, about: &str) {
    let mut client = Client::start(&loud(program, format));
    let id = client.initialize("2025-11-25");
    assert_eq!(client.error(&id)["data"]["stage"], "configuration", "{about}");
    client.process.close_stdin();
    client.process.wait_exit(DEADLINE);
    secrets.assert_unsaid(&client.process);
}

#[test]
fn one_that_does_not_fit_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let pem: Vec<&str> = canary::lines(&key).collect();
    let aws = "region = 'eu-west-1', service = 'execute-api', access_key_id = 'AKIDEXAMPLE'";
    for (lines, value) in [
        ("jwt = { alg = 'ES256', key = 'env:KEY' }", Canary::TEXT),
        ("jwt = { alg = 'ES256', key = 'env:KEY' }", &key),
        ("jwt = { alg = 'RS256', key = 'env:KEY' }", &key),
        ("jwt = { alg = 'HS256', key = 'env:KEY', key_encoding = 'base64' }", Canary::TEXT),
        ("jwt = { alg = 'EdDSA', key = 'env:KEY' }", &key[..key.len() - 30]),
        ("hmac = { preset = 'body', key = 'env:KEY', key_encoding = 'hex' }", Canary::TEXT),
        ("http_signature = { alg = 'ed25519', key = 'env:KEY' }", Canary::TEXT),
        ("http_signature = { alg = 'ecdsa-p256-sha256', key = 'env:KEY' }", &key),
        ("http_signature = { alg = 'ed25519', key = 'env:KEY' }", &key.replace("\nM", "\nM!")),
        (&format!("aws_sigv4 = {{ {aws}, secret_access_key = 'env:KEY' }}"), "Zq7Xw2Kd9~Lm4 /x"),
    ] {
        for format in FORMATS {
            let program = Countersign::to("https://127.0.0.1:9/mcp").env("KEY", value);
            let secrets = Canary::of(pem.iter().copied().chain([Canary::TEXT]));
            is_refused(profile(program, folder.path(), lines), format, &secrets, lines);
        }
    }
}

#[test]
fn one_where_a_reference_belongs_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let aws = "region = 'eu-west-1', service = 'execute-api', access_key_id = 'AKIDEXAMPLE'";
    for lines in [
        "jwt = { alg = 'HS256', key = 'CANARY' }".to_owned(),
        "jwt = { alg = 'HS256', key = { value = 'CANARY' } }".to_owned(),
        "jwt = { alg = 'HS256', key = ['CANARY'] }".to_owned(),
        "jwt = 'CANARY'".to_owned(),
        "hmac = { preset = 'body', key = 'CANARY' }".to_owned(),
        "hmac = { preset = 'body', key = { env = 'X', value = 'CANARY' } }".to_owned(),
        "hmac = 'CANARY'".to_owned(),
        "http_signature = { alg = 'hmac-sha256', key = 'CANARY' }".to_owned(),
        "http_signature = 'CANARY'".to_owned(),
        format!("aws_sigv4 = {{ {aws}, secret_access_key = 'CANARY' }}"),
        format!("aws_sigv4 = {{ {aws}, secret_access_key = 'env:KEY', session_token = 'CANARY' }}"),
        "aws_sigv4 = 'CANARY'".to_owned(),
        "aws_sigv4 = 'aws:amz:eu-west-1:execute-api:CANARY'".to_owned(),
        "pkcs12 = 'x.p12'\npkcs12_passphrase = 'CANARY'".to_owned(),
        "headers_helper = { command = ['x'], ttl = 'CANARY' }".to_owned(),
        "env = { DB_PASSWORD = ['CANARY'] }".to_owned(),
    ] {
        let text = lines.replace("CANARY", Canary::TEXT);
        let program = Countersign::to("https://127.0.0.1:9/mcp").env("KEY", "a-key");
        is_refused(profile(program, folder.path(), &text), "text", &Canary::new(), &lines);
    }
}

#[test]
fn one_in_a_flag_is_not_repeated() {
    for arguments in [
        ["--jwt", "CANARY"],
        ["--jwt", "alg=HS256,key=CANARY"],
        ["--hmac", "CANARY"],
        ["--hmac", "preset=body,key=CANARY"],
        ["--http-signature", "CANARY"],
        ["--http-signature", "alg=hmac-sha256,key=CANARY"],
        ["--aws-sigv4", "CANARY"],
        ["--aws-sigv4", "access_key_id=AKIDEXAMPLE,secret_access_key=CANARY"],
        ["--pkcs12-passphrase", "CANARY"],
    ] {
        for format in FORMATS {
            let arguments = arguments.map(|text| text.replace("CANARY", Canary::TEXT));
            let program = Countersign::to("https://127.0.0.1:9/mcp").args(&arguments);
            is_refused(program, format, &Canary::new(), arguments[0].as_str());
        }
    }
}

/// A file of variables that is no such file: a key by itself, say.
#[test]
fn one_in_a_file_of_variables_that_does_not_hold_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["CANARY\n", "A=\"CANARY\n", "A='CANARY\n", "A=\"CANARY\\q\"\n", "A=' CANARY'\n"] {
        let path = private(folder.path(), "mcp.env", text);
        for format in FORMATS {
            let program = Countersign::to("https://127.0.0.1:9/mcp").args(["--bearer", "env:A"]);
            is_refused(program.arg("--env-file").arg(&path), format, &Canary::new(), text);
        }
    }
}

#[test]
fn a_replacement_that_cannot_be_used_is_not_quoted() {
    let good = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let other = other.serialize_pem();
    let aws = |key: &str| {
        format!("[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {key}\n")
    };
    let lines = "jwt = { alg = 'EdDSA', header = 'X-Jwt', key = 'file:FOLDER/jwt' }\n\
                 hmac = { preset = 'body', key_encoding = 'hex', key = 'file:FOLDER/hmac' }\n\
                 http_signature = { alg = 'ed25519', key = 'file:FOLDER/signing' }\n\
                 aws_sigv4 = { region = 'eu-west-1', service = 'execute-api', \
                               credentials_file = 'FOLDER/aws', config_file = '/dev/null' }";
    for format in FORMATS {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        for (name, text) in [("jwt", &good), ("hmac", &"0011".into()), ("signing", &good)] {
            private(pki.path(), name, text);
        }
        private(pki.path(), "aws", &aws("s3cret"));
        let program = profile(Client::bridge(&pki, &upstream), pki.path(), lines);
        let mut client = Client::start(&loud(program, format));
        client.handshake();
        for (name, text) in [("jwt", &other), ("signing", &other), ("hmac", &Canary::TEXT.into())] {
            fs::write(pki.path().join(name), text).unwrap();
        }
        private(pki.path(), "aws", &aws("CANARY and more"));
        let complaints = ["/jwt", "/hmac", "/signing", "last keys stay in use"];
        let complained = |said: &str| {
            let warnings: Vec<&str> = said.lines().filter(|it| it.contains("in use")).collect();
            complaints.iter().all(|part| warnings.iter().any(|line| line.contains(part)))
        };
        // Files are looked at once a second at most, and only when someone asks.
        let until = Instant::now() + DEADLINE;
        while !complained(&client.process.stderr()) {
            assert!(Instant::now() < until, "{}", client.process.transcript());
            client.tool("echo", json!({}));
        }
        client.process.close_stdin();
        client.process.wait_exit(DEADLINE);
        let secrets = canary::lines(&good).chain(canary::lines(&other)).chain([Canary::TEXT]);
        Canary::of(secrets).assert_unsaid(&client.process);
    }
}
