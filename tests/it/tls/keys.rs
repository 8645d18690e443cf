//! Private keys in the forms that people have them in.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use pkcs8::{
    EncryptedPrivateKeyInfo, PrivateKeyInfoRef,
    der::{Encode, asn1::OctetStringRef},
    pkcs5::pbes2::Parameters,
};

use crate::support::pki::Identity;

/// The key in the form of its own algorithm, without the envelope of PKCS#8: PKCS#1 (RFC 8017)
/// under `RSA PRIVATE KEY`, SEC1 (RFC 5915) under `EC PRIVATE KEY`.
pub(super) fn bare(identity: &Identity, label: &str) -> PathBuf {
    let der = identity.key_der();
    let inner = PrivateKeyInfoRef::try_from(der.secret_der()).unwrap().private_key;
    write(identity, "bare.key", &pem(label, inner.as_bytes()))
}

/// The key as PKCS#8 that only this passphrase opens.
pub(super) fn encrypted(identity: &Identity, passphrase: &str) -> PathBuf {
    let parameters =
        Parameters::generate_pbkdf2_sha256_aes256cbc(1_000, &[7; 16], [9; 16]).unwrap();
    let data = parameters.encrypt(passphrase, identity.key_der().secret_der()).unwrap();
    let info = EncryptedPrivateKeyInfo {
        encryption_algorithm: parameters.into(),
        encrypted_data: OctetStringRef::new(&data).unwrap(),
    };
    let text = pem("ENCRYPTED PRIVATE KEY", &info.to_der().unwrap());
    write(identity, "encrypted.key", &text)
}

/// A file with a secret in it.
pub(super) fn secret(identity: &Identity, name: &str, value: &str) -> PathBuf {
    write(identity, name, &format!("{value}\n"))
}

fn pem(label: &str, der: &[u8]) -> String {
    let lines: Vec<String> = STANDARD
        .encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn write(identity: &Identity, name: &str, text: &str) -> PathBuf {
    let path = identity.key.with_extension(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}
