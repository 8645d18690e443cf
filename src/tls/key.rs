//! The private key, from any PEM that people have, to one that can sign.
//!
//! PKCS#8, PKCS#1 and SEC1 as they are; encrypted PKCS#8 with a passphrase. What is decoded or
//! decrypted on the way lives in memory that is wiped; no error says anything of its content.

use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer},
    sign::SigningKey,
};
use zeroize::Zeroizing;

use super::{
    files::Place,
    pem::{self, Looks},
    whose::Whose,
};
use crate::{
    failure::{Failure, Stage},
    secret::{self, Held, Secret},
};

/// The first private key in the file.
///
/// # Errors
/// At the configuration stage: no key, one that cannot be read or used, a passphrase that is
/// missing or does not open it.
pub(super) async fn load(
    file: &[u8],
    place: Place<'_>,
    (whose, passphrase): (Whose, Option<&Held>),
) -> Result<Arc<dyn SigningKey>, Failure> {
    let broken = |error| refused(format!("cannot read the private key in {place}: {error}"));
    let sections = pem::sections(file).map_err(broken)?;
    let section = sections
        .iter()
        .find(|section| section.is_private_key())
        .ok_or_else(|| missing(file, place, whose))?;
    if section.is_encrypted_the_old_way() {
        return Err(refused(format!(
            "the private key {place} is encrypted in the form from before PKCS#8, which is not \
             supported"
        ))
        .hint(conversion(place)));
    }
    let der = section.der().map_err(broken)?;
    let decrypted;
    let key = match section.label {
        "RSA PRIVATE KEY" => PrivateKeyDer::from(PrivatePkcs1KeyDer::from(der.as_slice())),
        "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der.as_slice()).into(),
        "ENCRYPTED PRIVATE KEY" => {
            if whose == Whose::Server {
                return Err(sealed(place));
            }
            decrypted = decrypt(&der, place, passphrase).await?;
            PrivatePkcs8KeyDer::from(decrypted.as_slice()).into()
        }
        _ => PrivatePkcs8KeyDer::from(der.as_slice()).into(),
    };
    any_supported_type(&key).map_err(|_| {
        refused(format!("the private key {place} is broken, or of a kind that cannot be used here"))
            .hint("RSA from 2048 bits, ECDSA on P-256, P-384 or P-521, and Ed25519 can")
    })
}

/// Listeners open by themselves: their key has no passphrase.
fn sealed(place: Place<'_>) -> Failure {
    let path = place.path.display();
    refused(format!("the private key {place} is encrypted, which a listener's can't be"))
        .hint(format!("to decrypt it: openssl pkey -in {path} -out new.key, and chmod 600 new.key"))
}

/// Decrypts PKCS#8 (RFC 5958 section 3). A passphrase that fails is asked for anew once: a
/// rotation may have changed it together with the key.
async fn decrypt(
    der: &[u8],
    place: Place<'_>,
    passphrase: Option<&Held>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let Some(held) = passphrase else {
        return Err(refused(format!(
            "the private key {place} is encrypted and no passphrase is given"
        ))
        .hint("name where it is with --key-passphrase: env:NAME, file:PATH or command:PROGRAM"));
    };
    let unsupported = || {
        refused(format!(
            "the private key {place} is encrypted in a way that is not supported (PBES2 with AES \
             and PBKDF2 on SHA-2, or scrypt, is)"
        ))
        .hint(conversion(place))
    };
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| unsupported())?;
    let open = |secret: &Secret| match encrypted.decrypt(secret.expose()) {
        Ok(opened) => Ok(Some(Zeroizing::new(opened.as_bytes().to_vec()))),
        Err(pkcs8::Error::EncryptedPrivateKey(error))
            if error != pkcs8::pkcs5::Error::DecryptFailed =>
        {
            Err(unsupported())
        }
        // A wrong passphrase shows as wrong padding, or by chance as bytes that are no key.
        Err(_) => Ok(None),
    };
    let (secret, generation) = held.current().await.map_err(|error| unheld(&error))?;
    if let Some(key) = open(&secret)? {
        return Ok(key);
    }
    if held.refresh(generation).await.unwrap_or(false) {
        let (secret, _) = held.current().await.map_err(|error| unheld(&error))?;
        if let Some(key) = open(&secret)? {
            return Ok(key);
        }
    }
    Err(refused(format!(
        "the passphrase from {} (--key-passphrase) does not open the private key {place}",
        held.reference()
    ))
    .hint(format!(
        "this command asks for it and says whether it fits: openssl pkey -noout -in {}",
        place.path.display()
    )))
}

fn missing(file: &[u8], place: Place<'_>, whose: Whose) -> Failure {
    let (looks, flag) = (Looks::at(file), whose.key());
    if looks == Looks::PemCertificate && place.flag == whose.cert() {
        return refused(format!("there is no private key in {place}, and no {flag} is given"))
            .hint(format!("name the key's file with {flag}"));
    }
    let failure = refused(format!(
        "expected a private key in PEM in {place}, found none; this looks like {}",
        looks.words()
    ));
    match looks.conversion(place.path) {
        _ if looks == Looks::Pkcs12 && whose == Whose::Client => {
            failure.hint(pem::takes_pkcs12(place.path))
        }
        Some(command) => failure.hint(format!("to convert it: {command}")),
        None => failure.hint(format!("name the file with -----BEGIN PRIVATE KEY----- with {flag}")),
    }
}

fn conversion(place: Place<'_>) -> String {
    format!(
        "to convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in {} -out new.key",
        place.path.display()
    )
}

fn unheld(error: &secret::Error) -> Failure {
    let failure = refused(format!("no passphrase for the private key (--key-passphrase): {error}"));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn refused(what: String) -> Failure {
    Failure::new(Stage::Configuration, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use pkcs8::{
        EncryptedPrivateKeyInfo, PrivateKeyInfoRef,
        der::{Encode as _, asn1::OctetStringRef},
        pkcs5::pbes2::Parameters,
    };
    use rcgen::{
        KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
        PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _, SignatureAlgorithm,
    };

    use super::*;
    use crate::tls::pki::Folder;

    fn pem(label: &str, der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    async fn read(text: &str, passphrase: Option<&Held>) -> Result<Arc<dyn SigningKey>, Failure> {
        let place = Place { path: "client.key".as_ref(), flag: "--key" };
        load(text.as_bytes(), place, (Whose::Client, passphrase)).await
    }

    fn encrypted(key: &KeyPair, passphrase: &str) -> String {
        let parameters =
            Parameters::generate_pbkdf2_sha256_aes256cbc(1_000, &[7; 16], [9; 16]).unwrap();
        let data = parameters.encrypt(passphrase, &key.serialize_der()).unwrap();
        let info = EncryptedPrivateKeyInfo {
            encryption_algorithm: parameters.into(),
            encrypted_data: OctetStringRef::new(&data).unwrap(),
        };
        pem("ENCRYPTED PRIVATE KEY", &info.to_der().unwrap())
    }

    fn held(folder: &Folder, passphrase: &str) -> Held {
        let path = folder.write("passphrase", passphrase);
        Held::open(format!("file:{}", path.display()).parse().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn every_algorithm_in_every_form_is_read() {
        let algorithms: [(&'static SignatureAlgorithm, Option<&str>); 5] = [
            (&PKCS_RSA_SHA256, Some("RSA PRIVATE KEY")),
            (&PKCS_ECDSA_P256_SHA256, Some("EC PRIVATE KEY")),
            (&PKCS_ECDSA_P384_SHA384, Some("EC PRIVATE KEY")),
            (&PKCS_ECDSA_P521_SHA512, Some("EC PRIVATE KEY")),
            (&PKCS_ED25519, None),
        ];
        for (algorithm, own_form) in algorithms {
            let pair = KeyPair::generate_for(algorithm).unwrap();
            let der = pair.serialize_der();
            // PKCS#8 wraps PKCS#1 (RFC 8017 A.1.2) and SEC1 (RFC 5915) in an envelope.
            let inner = PrivateKeyInfoRef::try_from(der.as_slice()).unwrap().private_key;
            let forms =
                [Some(pair.serialize_pem()), own_form.map(|label| pem(label, inner.as_bytes()))];
            for form in forms.into_iter().flatten() {
                let key = read(&form, None).await.unwrap();
                let spki = key.public_key().unwrap();
                assert_eq!(spki.as_ref(), pair.subject_public_key_info(), "{algorithm:?}");
            }
        }
    }

    #[tokio::test]
    async fn an_encrypted_key_opens_with_its_passphrase_alone() {
        let folder = Folder::new();
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let text = encrypted(&pair, "correct horse");
        read(&text, Some(&held(&folder, "correct horse"))).await.unwrap();

        let failure = read(&text, Some(&held(&folder, "canary-in-a-mine"))).await.unwrap_err();
        assert!(failure.what().contains("does not open the private key client.key (--key)"));
        assert!(!format!("{failure:?}").contains("canary"));

        let failure = read(&text, None).await.unwrap_err();
        assert!(failure.what().contains("is encrypted and no passphrase is given"));
        assert!(failure.next_step().unwrap().contains("--key-passphrase"));
    }

    #[tokio::test]
    async fn the_old_encryption_is_refused_with_the_command_that_converts_it() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
            DEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let failure = read(text, None).await.unwrap_err();
        assert!(failure.what().contains("from before PKCS#8"), "{failure}");
        assert!(failure.next_step().unwrap().contains("openssl pkcs8 -topk8"));
    }

    #[tokio::test]
    async fn what_is_no_key_is_said_to_be_what_it_looks_like() {
        for (text, words) in [
            ("", "this looks like an empty file"),
            ("\x30\x40\x02\x01\x03", "this looks like PKCS#12"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----", "OpenSSH"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "is broken"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "has no end"),
        ] {
            let failure = read(text, None).await.unwrap_err();
            assert!(failure.what().contains(words), "{failure}");
            assert!(failure.what().contains("client.key (--key)"), "{failure}");
        }
    }
}
