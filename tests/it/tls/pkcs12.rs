//! One PKCS#12 file in place of certificate and key, as OpenSSL makes it: with today's ciphers and
//! with those that Windows used for twenty years. The upstream says who it took us for.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{
    identity::is_known_as,
    keys,
    rotation::{KEPT, RELOADED, a_session_outlives, known_as},
};
use crate::support::{
    jsonrpc::Client,
    pki::{Identity, Pki},
    process::Countersign,
    refusal::Refusal,
    upstream::Upstream,
};

pub(crate) const PASSPHRASE: &str = "correct horse";

/// 3DES for the key and RC2 with 40 bits for the certificates, as Windows before 2019.
const WINDOWS: [&str; 1] = ["-legacy"];
/// 3DES for both and SHA-1, as Windows still offers.
const TRIPLE_DES: [&str; 6] =
    ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"];

/// The identity with its CA in one file that OpenSSL makes.
pub(crate) fn pack(pki: &Pki, identity: &Identity, passphrase: &str, more: &[&str]) -> PathBuf {
    let path = identity.cert.with_extension("p12");
    export(&path, passphrase, |openssl| {
        openssl.arg("-in").arg(&identity.cert).arg("-inkey").arg(&identity.key);
        openssl.arg("-certfile").arg(&pki.ca.cert).args(["-name", "agent"]).args(more);
    });
    path
}

fn export(path: &Path, passphrase: &str, arguments: impl FnOnce(&mut Command)) {
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-passout", "env:PASSPHRASE", "-out"]).arg(path);
    arguments(&mut openssl);
    let output = openssl.env("PASSPHRASE", passphrase).output().expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The bridge with this file, its passphrase in the variable PASSPHRASE.
pub(crate) fn with(pki: &Pki, upstream: &Upstream, file: &Path) -> Countersign {
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca);
    program
        .arg("--pkcs12")
        .arg(file)
        .args(["--pkcs12-passphrase", "env:PASSPHRASE"])
        .env("PASSPHRASE", PASSPHRASE)
}

#[test]
fn files_of_today_and_those_of_old_windows_are_read() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let kinds: [(&str, &'static rcgen::SignatureAlgorithm); 2] =
        [("rsa", &rcgen::PKCS_RSA_SHA256), ("p384", &rcgen::PKCS_ECDSA_P384_SHA384)];
    for (name, kind) in kinds {
        let identity = pki.issue_client_with(name, kind);
        for more in [&[][..], &WINDOWS, &TRIPLE_DES] {
            let file = pack(&pki, &identity, PASSPHRASE, more);
            is_known_as(&with(&pki, &upstream, &file), &upstream, &format!("CN={name}"));
        }
    }
}

#[test]
fn a_file_without_a_passphrase_needs_no_flag_for_one() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let bare = ["-keypbe", "NONE", "-certpbe", "NONE", "-nomac"];
    for more in [&[][..], &WINDOWS, &bare] {
        let file = pack(&pki, &pki.client, "", more);
        let program = Countersign::to(&upstream.url()).cacert(&pki.ca).arg("--pkcs12").arg(file);
        is_known_as(&program, &upstream, "CN=client");
    }
}

#[test]
fn a_profile_names_the_file_and_its_passphrase() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let file = pack(&pki, &pki.client, PASSPHRASE, &[]);
    keys::secret(&pki.client, "passphrase", PASSPHRASE);
    let profile = format!(
        "[profile.corp]\nurl = \"{}\"\ncacert = \"ca.pem\"\npkcs12 = \"{}\"\n\
         pkcs12_passphrase = {{ file = \"client.passphrase\" }}\n",
        upstream.url(),
        file.file_name().unwrap().display(),
    );
    let config = pki.path().join("corp.toml");
    fs::write(&config, profile).unwrap();
    is_known_as(&Countersign::new().arg("--config").arg(config), &upstream, "CN=client");
}

#[test]
fn a_file_that_does_not_hold_is_refused_before_anything_is_sent() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let file = pack(&pki, &pki.client, PASSPHRASE, &[]);
    let program = with(&pki, &upstream, &file);
    let refused = |program: &Countersign, words: &[&str], hint: &str| {
        let refusal = Refusal::of_initialize(program);
        refusal.says("configuration", words, hint);
        assert!(!refusal.message.contains("canary"));
    };

    let wrong = with(&pki, &upstream, &file).env("PASSPHRASE", "a canary");
    let words = ["the passphrase from env:PASSPHRASE (--pkcs12-passphrase) does not open"];
    refused(&wrong, &words, "openssl pkcs12 -noout -in");
    let none = Countersign::to(&upstream.url()).cacert(&pki.ca).arg("--pkcs12").arg(&file);
    refused(&none, &["client.p12 (--pkcs12) needs a passphrase"], "--pkcs12-passphrase: env:NAME");

    export(&file, PASSPHRASE, |openssl| {
        openssl.arg("-nokeys").arg("-in").arg(&pki.client.cert);
    });
    refused(&program, &["there is no private key in", "client.p12 (--pkcs12)"], "with the private");
    let whole = fs::read(pack(&pki, &pki.client, PASSPHRASE, &[])).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    refused(&program, &["client.p12 (--pkcs12) is damaged"], "openssl pkcs12 -info");
    fs::write(&file, b"\xFE\xED\xFE\xED\0\0\0\x02").unwrap();
    refused(&program, &["this looks like a Java key store"], "keytool -importkeystore");
    fs::write(&file, pki.client.cert_pem()).unwrap();
    refused(&program, &["this looks like a certificate"], "--cert and --key");
    assert_eq!(upstream.record().connections.len(), 0);
}

#[test]
fn certificate_and_pkcs12_are_not_both_the_identity() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Client::bridge(&pki, &upstream).args(["--pkcs12", "client.p12"]);
    let words = ["--cert: expected one client identity, found --pkcs12 as well"];
    Refusal::of_initialize(&program).says("configuration", &words, "name it alone");
}

#[test]
fn a_file_that_is_replaced_loses_no_call_and_no_stream() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let file = pack(&pki, &pki.client, PASSPHRASE, &[]);
    let next = pack(&pki, &pki.issue_client("second"), PASSPHRASE, &WINDOWS);
    let program = with(&pki, &upstream, &file).arg("-v");
    a_session_outlives(&program, &upstream, || fs::rename(&next, &file).unwrap());
}

#[test]
fn a_broken_replacement_keeps_the_identity_and_is_told_once() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let file = pack(&pki, &pki.client, PASSPHRASE, &[]);
    let next = fs::read(pack(&pki, &pki.issue_client("second"), PASSPHRASE, &[])).unwrap();
    let mut client = Client::start(&with(&pki, &upstream, &file).arg("-v"));
    client.handshake();
    fs::write(&file, &next[..next.len() / 2]).unwrap();
    client.process.wait_for_stderr(KEPT);
    assert_eq!(known_as(&mut client, &upstream), "CN=client");
    // Another look, and the same reason: nothing new to say.
    fs::write(&file, &next[..next.len() / 3]).unwrap();
    assert_eq!(known_as(&mut client, &upstream), "CN=client");
    fs::write(&file, &next).unwrap();
    client.process.wait_for_stderr(&format!("{RELOADED}CN=second"));
    assert_eq!(known_as(&mut client, &upstream), "CN=second");
    assert_eq!(client.process.stderr().matches(KEPT).count(), 1);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn file_and_passphrase_may_change_together() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let file = pack(&pki, &pki.client, PASSPHRASE, &[]);
    let passphrase = keys::secret(&pki.client, "passphrase", PASSPHRASE);
    let next = pack(&pki, &pki.issue_client("second"), "other phrase", &[]);
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca).arg("-v");
    let reference = format!("file:{}", passphrase.display());
    let program = program.arg("--pkcs12").arg(&file).args(["--pkcs12-passphrase", &reference]);
    let mut client = Client::start(&program);
    client.handshake();
    keys::secret(&pki.client, "passphrase", "other phrase");
    fs::rename(&next, &file).unwrap();
    client.process.wait_for_stderr(&format!("{RELOADED}CN=second"));
    assert_eq!(known_as(&mut client, &upstream), "CN=second");
}
