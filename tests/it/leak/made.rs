//! What is made with a key: the key itself goes nowhere at all, and what was made of it, tokens and
//! signatures, to the upstream alone, however the upstream repeats it.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{
    Canary, FORMATS, canary,
    failures::{self, Echo},
    loud, private, profile,
};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::DEADLINE,
    upstream::{Seen, Upstream},
};

/// A credential that is made for a request, or for some.
struct Signer {
    /// The profile; its secrets are files of FOLDER.
    lines: &'static str,
    files: Vec<(&'static str, String)>,
    /// What goes nowhere.
    keys: Vec<String>,
    made: Made,
}

/// What of a request is worth something to whoever has it: the header's value, and parts of it.
type Made = fn(&Seen) -> Vec<&str>;

impl Signer {
    fn with_shared_secret(lines: &'static str, made: Made) -> Self {
        let secret = Canary::TEXT.to_owned();
        Self { lines, files: vec![("key", secret.clone())], keys: vec![secret], made }
    }

    fn with_private_key(
        kind: &'static rcgen::SignatureAlgorithm,
        lines: &'static str,
        made: Made,
    ) -> Self {
        let key = rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem();
        let keys = canary::lines(&key).map(str::to_owned).collect();
        Self { lines, files: vec![("key", key)], keys, made }
    }

    /// Nothing of it is said in a session in which `provoke` has everything go wrong.
    #[track_caller]
    fn is_unsaid(&self, provoke: fn(&mut Client, &Upstream, &[Echo])) {
        for format in FORMATS {
            let pki = Pki::new();
            let upstream = Upstream::mutual(&pki);
            for (name, text) in &self.files {
                private(pki.path(), name, text);
            }
            let program = profile(Client::bridge(&pki, &upstream), pki.path(), self.lines);
            let mut client = Client::start(&loud(program, format));
            client.handshake();
            upstream.wait_for_listener();
            assert_eq!(client.tool("echo", json!({})), json!({}));
            provoke(&mut client, &upstream, &self.echoes(&upstream));
            client.process.close_stdin();
            client.process.wait_exit(DEADLINE);

            let keys = Canary::of(&self.keys);
            keys.assert_unsaid(&client.process);
            let seen = upstream.seen();
            for seen in &seen {
                let sent = format!("{:?} {:?} {:?}", seen.path, seen.headers, seen.body);
                assert_eq!(keys.find(sent.as_bytes()), None, "{seen:?}");
                assert!(!(self.made)(seen).is_empty(), "each request is signed: {seen:?}");
            }
            Canary::of(seen.iter().flat_map(self.made)).assert_unsaid(&client.process);
            assert!(client.process.stderr().contains("request"), "everything is logged");
        }
    }

    /// What a gateway that verifies may repeat: each part as it came, and the last in other
    /// spellings.
    fn echoes(&self, upstream: &Upstream) -> Vec<Echo> {
        let made = self.made;
        let parts = made(&upstream.wait_for_method("initialize")).len();
        let part = |index: usize, spell: fn(&str) -> String| -> Echo {
            Arc::new(move |seen| spell(made(seen)[index]))
        };
        let mut echoes: Vec<Echo> = (0..parts).map(|index| part(index, str::to_owned)).collect();
        echoes.push(part(parts - 1, canary::percent));
        echoes.push(part(parts - 1, |text| BASE64_STANDARD.encode(text)));
        echoes
    }
}

fn token_of_many_requests() -> Signer {
    let lines = "jwt = { alg = 'HS256', iss = 'me', key = { file = 'FOLDER/key' } }";
    Signer::with_shared_secret(lines, |seen| {
        let value = seen.header("authorization").unwrap();
        let token = value.strip_prefix("Bearer ").unwrap();
        vec![value, token, token.rsplit('.').next().unwrap()]
    })
}

fn token_of_one_request() -> Signer {
    let lines = "[profile.test.jwt]\nalg = 'ES256'\nper_request = true\nheader = 'X-Token'\n\
                 prefix = 'DPoP'\nkey = { file = 'FOLDER/key' }\n\
                 claims = { htm = '{method}', hash = '{body_sha256}' }";
    Signer::with_private_key(&rcgen::PKCS_ECDSA_P256_SHA256, lines, |seen| {
        let value = seen.header("x-token").unwrap();
        let token = value.strip_prefix("DPoP ").unwrap();
        vec![value, token, token.rsplit('.').next().unwrap()]
    })
}

fn code_by_a_preset() -> Signer {
    let lines = "hmac = { preset = 'timestamp-body', header = 'X-Signature',
                          key = { file = 'FOLDER/key' } }";
    Signer::with_shared_secret(lines, |seen| {
        let value = seen.header("x-signature").unwrap();
        vec![value, value.split_once("v1=").unwrap().1]
    })
}

/// The same with a key that is written otherwise: neither what is written nor its bytes are said.
fn code_with_a_key_written(encoding: &str, spell: fn(&[u8]) -> String) -> Signer {
    let lines = match encoding {
        "hex" => "hmac = { preset = 'body', key = { file = 'FOLDER/key' }, key_encoding = 'hex' }",
        _ => "hmac = { preset = 'body', key = { file = 'FOLDER/key' }, key_encoding = 'base64' }",
    };
    let mut signer = Signer::with_shared_secret(lines, |seen| {
        let value = seen.header("x-hub-signature-256").unwrap();
        vec![value, value.strip_prefix("sha256=").unwrap()]
    });
    signer.files = vec![("key", spell(Canary::TEXT.as_bytes()))];
    signer
}

/// The name of its key is a secret as well, though not from the upstream.
fn code_in_a_header_of_ones_own() -> Signer {
    let lines = "[profile.test.hmac]\nkey = { file = 'FOLDER/key' }\nkey_id = 'file:FOLDER/id'\n\
                 digest = 'base64'\nstring_to_sign = '{timestamp}{nonce}{body}'\n\
                 headers = { Authorization = 'CORP key={key_id}, at={timestamp}, n={nonce}, \
                 signature={signature}' }";
    let mut signer = Signer::with_shared_secret(lines, |seen| {
        let value = seen.header("authorization").unwrap();
        let id = value.split_once("key=").unwrap().1.split_once(',').unwrap().0;
        vec![value, id, value.split_once("signature=").unwrap().1]
    });
    signer.files.push(("id", "a-name-that-is-a-secret-too".to_owned()));
    signer
}

fn signature_by_a_private_key() -> Signer {
    let lines = "http_signature = { alg = 'ed25519', keyid = 'me', nonce = true,
                                    key = { file = 'FOLDER/key' } }";
    let made: Made = |seen| vec![seen.header("signature").unwrap()];
    Signer::with_private_key(&rcgen::PKCS_ED25519, lines, made)
}

fn signature_by_a_shared_secret() -> Signer {
    let lines = "http_signature = { alg = 'hmac-sha256', keyid = 'me',
                                    key = { file = 'FOLDER/key' } }";
    Signer::with_shared_secret(lines, |seen| vec![seen.header("signature").unwrap()])
}

fn signature_of_aws() -> Signer {
    let lines = "aws_sigv4 = { region = 'eu-west-1', service = 'execute-api',
                               credentials_file = 'FOLDER/key', config_file = '/dev/null' }";
    let mut signer = Signer::with_shared_secret(lines, |seen| {
        let value = seen.header("authorization").unwrap();
        let token = seen.header("x-amz-security-token").unwrap();
        vec![value, value.split_once("Signature=").unwrap().1, token]
    });
    let file = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = CANARY\n\
                aws_session_token = IQoJb3JpZ2luX2VjE7y//w+session==\n";
    signer.files = vec![("key", file.to_owned())];
    signer
}

#[test]
fn a_token_that_serves_many_requests() {
    token_of_many_requests().is_unsaid(failures::provoke);
}

#[test]
fn a_token_for_one_request() {
    token_of_one_request().is_unsaid(failures::provoke);
}

#[test]
fn a_code_by_a_preset() {
    code_by_a_preset().is_unsaid(failures::provoke);
}

#[test]
fn a_code_with_a_key_in_hex_or_base64() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    code_with_a_key_written("hex", hex).is_unsaid(failures::provoke);
    let base64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    code_with_a_key_written("base64", base64).is_unsaid(failures::provoke);
}

#[test]
fn a_code_in_a_header_of_ones_own_and_the_name_of_its_key() {
    code_in_a_header_of_ones_own().is_unsaid(failures::provoke);
}

#[test]
fn a_signature_over_the_message() {
    signature_by_a_private_key().is_unsaid(failures::provoke);
    signature_by_a_shared_secret().is_unsaid(failures::provoke);
}

#[test]
fn a_signature_for_aws_and_its_session_token() {
    signature_of_aws().is_unsaid(failures::provoke);
}

#[test]
fn the_bytes_of_a_signature_by_themselves() {
    for mut signer in [signature_by_a_private_key(), signature_by_a_shared_secret()] {
        signer.made = |seen| {
            let value = seen.header("signature").unwrap();
            vec![value, value.strip_prefix("sig1=:").unwrap().strip_suffix(':').unwrap()]
        };
        signer.is_unsaid(failures::provoke);
    }
}

fn of_each_kind() -> [Signer; 6] {
    [
        token_of_many_requests(),
        token_of_one_request(),
        code_by_a_preset(),
        code_in_a_header_of_ones_own(),
        signature_by_a_private_key(),
        signature_of_aws(),
    ]
}

#[test]
fn what_the_request_before_carried_in_the_path_of_a_redirect() {
    for signer in of_each_kind() {
        signer.is_unsaid(failures::redirect);
    }
}

#[test]
fn what_was_made_for_an_upstream_that_is_gone() {
    for signer in of_each_kind() {
        signer.is_unsaid(failures::loss);
    }
}
