//! The passphrase of a private key, or of a PKCS#12 file, which goes nowhere at all.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use pkcs8::{
    EncryptedPrivateKeyInfo,
    der::{EncodePem, asn1::OctetStringRef},
    pkcs5::pbes2::Parameters,
};
use serde_json::json;

use super::{Canary, FORMATS, loud};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE},
    upstream::Upstream,
};

/// The client's key, encrypted with this passphrase.
fn encrypted(pki: &Pki, passphrase: &str) -> PathBuf {
    let parameters =
        Parameters::generate_pbkdf2_sha256_aes256cbc(1_000, &[7; 16], [9; 16]).unwrap();
    let data = parameters.encrypt(passphrase, pki.client.key_der().secret_der()).unwrap();
    let key = EncryptedPrivateKeyInfo {
        encryption_algorithm: parameters.into(),
        encrypted_data: OctetStringRef::new(&data).unwrap(),
    };
    let path = pki.path().join("encrypted.key");
    fs::write(&path, key.to_pem(Default::default()).unwrap()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn program(pki: &Pki, upstream: &Upstream, key: PathBuf) -> Countersign {
    Countersign::to(&upstream.url())
        .cacert(&pki.ca)
        .arg("--cert")
        .arg(&pki.client.cert)
        .arg("--key")
        .arg(key)
        .args(["--key-passphrase", "env:CANARY"])
        .env("CANARY", Canary::TEXT)
}

#[test]
fn the_passphrase_opens_the_key_and_is_not_said() {
    for format in FORMATS {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let program = program(&pki, &upstream, encrypted(&pki, Canary::TEXT));
        let mut client = Client::start(&loud(program, format));
        client.handshake();
        assert_eq!(client.tool("echo", json!({})), json!({}));
        client.process.close_stdin();
        assert!(client.process.wait_exit(DEADLINE).success());
        Canary::new().assert_unsaid(&client.process);
        let said: Vec<_> =
            upstream.seen().iter().map(|seen| format!("{:?}", seen.headers)).collect();
        assert_eq!(Canary::new().find(said.concat().as_bytes()), None);
    }
}

#[test]
fn a_wrong_passphrase_and_a_broken_key_are_refused_without_it() {
    for format in FORMATS {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let key = encrypted(&pki, "another");
        for _ in ["wrong", "broken"] {
            let program = program(&pki, &upstream, key.clone());
            let mut client = Client::start(&loud(program, format));
            let id = client.initialize("2025-11-25");
            assert_eq!(client.error(&id)["data"]["stage"], "configuration");
            client.process.close_stdin();
            assert_eq!(client.process.wait_exit(DEADLINE).code(), Some(78));
            Canary::new().assert_unsaid(&client.process);
            let text = fs::read_to_string(&key).unwrap();
            fs::write(&key, text.replacen("\nM", "\nM!", 1)).unwrap();
        }
    }
}

/// The client's identity in a file of PKCS#12 with this passphrase.
pub(super) fn packed(pki: &Pki, passphrase: &str) -> PathBuf {
    let path = pki.path().join("client.p12");
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-passout", "env:PASSPHRASE", "-out"]).arg(&path);
    openssl.arg("-in").arg(&pki.client.cert).arg("-inkey").arg(&pki.client.key);
    let output = openssl.env("PASSPHRASE", passphrase).output().expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn with_packed(pki: &Pki, upstream: &Upstream, path: &PathBuf) -> Countersign {
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca).arg("--pkcs12").arg(path);
    program.args(["--pkcs12-passphrase", "env:CANARY"]).env("CANARY", Canary::TEXT)
}

#[test]
fn the_passphrase_of_pkcs12_is_not_said_whether_it_opens_the_file_or_not() {
    for format in FORMATS {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let path = packed(&pki, Canary::TEXT);
        let mut client = Client::start(&loud(with_packed(&pki, &upstream, &path), format));
        client.handshake();
        assert_eq!(client.tool("echo", json!({})), json!({}));
        let good = fs::read(&path).unwrap();
        // Not the one that opens it any more, and then nothing that any would open.
        packed(&pki, "another");
        client.process.signal(rustix::process::Signal::HUP);
        client.process.wait_for_stderr("the ones before stay");
        client.process.close_stdin();
        assert!(client.process.wait_exit(DEADLINE).success());
        Canary::new().assert_unsaid(&client.process);
        let said: Vec<_> =
            upstream.seen().iter().map(|seen| format!("{:?}", seen.headers)).collect();
        assert_eq!(Canary::new().find(said.concat().as_bytes()), None);
        for content in [fs::read(&path).unwrap(), good[..good.len() / 2].to_vec()] {
            fs::write(&path, content).unwrap();
            let mut client = Client::start(&loud(with_packed(&pki, &upstream, &path), format));
            let id = client.initialize("2025-11-25");
            assert_eq!(client.error(&id)["data"]["stage"], "configuration");
            client.process.close_stdin();
            client.process.wait_exit(DEADLINE);
            Canary::new().assert_unsaid(&client.process);
        }
    }
}
