//! Files as the decoder's own writer makes them, for what they hold; those of other tools are in
//! the integration tests.
#![allow(clippy::unwrap_used)]

use p12_keystore::{
    Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey,
    PrivateKeyChain,
};
use rcgen::{PKCS_ECDSA_P256_SHA256, date_time_ymd};

use super::*;
use crate::tls::{
    self, identity,
    pki::{Ca, Folder, HOST, Leaf, server, shake},
};

fn certificate(der: &CertificateDer<'_>) -> Certificate {
    Certificate::from_der(der).unwrap()
}

/// A key under a name, with a certificate that need not be its own, and others.
fn entry(leaf: &Leaf, others: &[&Ca], id: &str) -> KeyStoreEntry {
    let key = PrivateKey::from_der(&leaf.key.serialize_der()).unwrap();
    let chain = std::iter::once(certificate(&leaf.der))
        .chain(others.iter().map(|other| certificate(&other.der)));
    KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(id, key, chain))
}

fn store(entries: Vec<(&str, KeyStoreEntry)>) -> KeyStore {
    let mut store = KeyStore::new();
    entries.into_iter().for_each(|(name, entry)| store.add_entry(name, entry));
    store
}

fn packed(store: &KeyStore, passphrase: &str) -> Vec<u8> {
    store.writer(passphrase).mac_iterations(1_000).encryption_iterations(1_000).write().unwrap()
}

fn settings(folder: &Folder, passphrase: Option<&str>) -> Settings {
    let passphrase = passphrase.map(|value| {
        let path = folder.write("passphrase", value);
        Held::open(format!("file:{}", path.display()).parse().unwrap()).unwrap()
    });
    Settings { file: "client.p12".into(), passphrase }
}

async fn refusal(file: &[u8], passphrase: Option<&str>) -> String {
    let folder = Folder::new();
    let failure = open(&settings(&folder, passphrase), file).await.err().unwrap();
    assert_eq!(failure.stage(), Stage::Configuration);
    let said = format!("{} | {}", failure.what(), failure.next_step().unwrap_or_default());
    assert!(said.contains("client.p12 (--pkcs12)"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    said
}

#[tokio::test]
async fn the_chain_goes_out_in_order_under_todays_ciphers_and_the_old() {
    let (folder, root) = (Folder::new(), Ca::new("root"));
    let issuing = root.authority("issuing");
    let leaf = issuing.leaf("client");
    let store = store(vec![("client", entry(&leaf, &[&root, &Ca::new("other"), &issuing], "1"))]);
    let server = Arc::new(server(&root.leaf(HOST), Some(&root)));
    for (encryption, mac) in [
        (EncryptionAlgorithm::PbeWithHmacSha256AndAes256, MacAlgorithm::HmacSha256),
        (EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc, MacAlgorithm::HmacSha1),
        (EncryptionAlgorithm::PbeWithShaAnd40BitRc4Cbc, MacAlgorithm::HmacSha1),
    ] {
        let writer = store.writer("correct horse").encryption_algorithm(encryption);
        let bytes = writer.mac_algorithm(mac).mac_iterations(1_000).write().unwrap();
        let pkcs12 = Settings {
            file: folder.write("client.p12", &bytes),
            ..settings(&folder, Some("correct horse"))
        };
        let opened = open(&pkcs12, &bytes).await.unwrap();
        let expected = [leaf.der.clone(), issuing.der.clone(), root.der.clone()];
        assert_eq!(opened.chain, expected);

        let identity = Some(identity::Settings::Pkcs12(pkcs12));
        let all = tls::Settings { identity, ..folder.trusting(&root) };
        let tls = tls::load(&all).await.unwrap();
        let summary = tls.identity.as_ref().unwrap();
        assert_eq!((summary.subject.as_str(), summary.flag), ("CN=client", "--pkcs12"));
        let agreed = shake(&tls, Arc::clone(&server)).await.unwrap();
        assert_eq!(agreed.client.as_ref(), Some(&leaf.der));
    }
}

#[tokio::test]
async fn the_passphrase_is_said_to_be_missing_or_wrong_and_never_shown() {
    let leaf = Ca::new("ca").leaf("client");
    let file = packed(&store(vec![("client", entry(&leaf, &[], "1"))]), "correct horse");
    let said = refusal(&file, None).await;
    assert!(said.contains("needs a passphrase, and none is given | name where it is with"));
    let said = refusal(&file, Some("canary")).await;
    assert!(said.contains("(--pkcs12-passphrase) does not open"), "{said}");
    assert!(said.contains("openssl pkcs12 -noout -in client.p12"), "{said}");

    let empty = packed(&store(vec![("client", entry(&leaf, &[], "1"))]), "");
    open(&settings(&Folder::new(), None), &empty).await.map(drop).unwrap();
}

#[tokio::test]
async fn of_several_keys_the_one_with_its_certificate_is_meant() {
    let ca = Ca::new("ca");
    let (first, second, third) = (ca.leaf("first"), ca.leaf("second"), ca.leaf("third"));
    // The identifiers say that first's key goes with third's certificate; the key says it does not.
    let stray = Leaf { key: first.key, ..third };
    let file = packed(
        &store(vec![("stray", entry(&stray, &[], "1")), ("good", entry(&second, &[], "2"))]),
        "",
    );
    let opened = open(&settings(&Folder::new(), None), &file).await.unwrap();
    assert_eq!(opened.chain, std::slice::from_ref(&second.der));

    let alone = packed(&store(vec![("stray", entry(&stray, &[], "1"))]), "");
    let said = refusal(&alone, None).await;
    assert!(said.contains("there is no certificate in client.p12 (--pkcs12) that fits"), "{said}");

    let fourth = ca.leaf("fourth");
    let file = packed(
        &store(vec![("laptop", entry(&second, &[], "1")), ("server", entry(&fourth, &[], "2"))]),
        "",
    );
    let said = refusal(&file, None).await;
    assert!(said.contains("found 2: laptop, server | export the one"), "{said}");
}

#[tokio::test]
async fn of_two_certificates_to_a_key_the_one_that_holds_longest_is_taken() {
    let ca = Ca::new("ca");
    let old = ca.leaf_of(&PKCS_ECDSA_P256_SHA256, "client", |params| {
        params.not_after = date_time_ymd(2027, 1, 1);
    });
    let renewed = ca.renewed(&old, "client");
    let entries = vec![
        ("new", KeyStoreEntry::Certificate(certificate(&renewed))),
        ("old", entry(&old, &[], "1")),
    ];
    let file = packed(&store(entries), "");
    let opened = open(&settings(&Folder::new(), None), &file).await.unwrap();
    assert_eq!(opened.chain, [renewed]);
}

#[tokio::test]
async fn a_file_without_a_key_is_told_from_one_that_is_damaged() {
    let ca = Ca::new("ca");
    let trusted = KeyStoreEntry::Certificate(certificate(&ca.der));
    let said = refusal(&packed(&store(vec![("ca", trusted)]), ""), None).await;
    assert!(said.contains("there is no private key in"), "{said}");
    assert!(said.contains("it holds certificates alone"), "{said}");

    let mut file = packed(&store(vec![("client", entry(&ca.leaf("client"), &[], "1"))]), "");
    file.truncate(file.len() / 2);
    let said = refusal(&file, None).await;
    assert!(said.contains("is damaged, or PKCS#12 of an unknown kind"), "{said}");
}

#[tokio::test]
async fn what_is_something_else_is_said_to_be_what_it_looks_like() {
    let leaf = Ca::new("ca").leaf("client");
    for (file, words, hint) in [
        (leaf.pem.clone().into_bytes(), "looks like a certificate", "--cert and --key"),
        (leaf.der.to_vec(), "looks like a certificate in DER", "openssl pkcs12 -export"),
        (vec![0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2], "looks like a Java key store", "keytool"),
        (Vec::new(), "looks like an empty file", ""),
        (vec![0x30, 0x80, 2, 1, 3, 0x30, 0x80], "is PKCS#12 in BER", "-nodes -out identity.pem"),
        (vec![0; LARGEST + 1], "is larger than 1 MiB", ""),
    ] {
        let said = refusal(&file, None).await;
        assert!(said.contains(words) && said.contains(hint), "{said}");
    }
}

#[tokio::test]
async fn endless_key_derivation_is_refused() {
    let leaf = Ca::new("ca").leaf("client");
    let file = packed(&store(vec![("client", entry(&leaf, &[], "1"))]), "");
    // The iterations of the MAC are the last number of the file, and the end of two sequences.
    let Some([kept @ .., 2, 2, 0x03, 0xE8]) = Some(&*file) else { panic!("not DER's 1000") };
    let mut hostile = [kept, &[2, 3, 0x0F, 0x42, 0x41]].concat();
    let mac = (0..file.len() - 1)
        .rev()
        .find(|at| file[*at..].starts_with(&[0x30, (file.len() - at - 2) as u8]));
    hostile[mac.unwrap() + 1] += 1;
    hostile[3] += 1;
    let said = refusal(&hostile, None).await;
    assert!(said.contains("asks for more key derivation than the 1000000 rounds"), "{said}");

    let scrypt = [file.as_slice(), &SCRYPT].concat();
    assert!(refusal(&scrypt, None).await.contains("protected by scrypt"));
}
