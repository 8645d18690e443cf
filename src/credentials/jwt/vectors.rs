//! Signatures of RFC 7515 and RFC 8037, and each algorithm with each form of its key, verified by
//! code that does not sign here.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, crypto};
use pkcs8::PrivateKeyInfoRef;
use rcgen::{KeyPair, PublicKeyData};
use serde_json::Value;

use super::{super::derived::Unfit, signer::Key, *};

const SECRET: &str = "a secret of sixty-four bytes, which is what HS512 wants: .......";

fn key(algorithm: &str, encoding: Encoding, secret: &[u8]) -> Result<Key, Unfit> {
    Key::read(Algorithm::new(algorithm).unwrap(), encoding, secret)
}

fn refused(algorithm: &str, encoding: Encoding, secret: &[u8]) -> String {
    let unfit = key(algorithm, encoding, secret).err().unwrap();
    assert!(!unfit.hint.is_empty());
    unfit.what.into_owned()
}

fn holds(algorithm: &str, key: &DecodingKey, message: &str, signature: &str) -> bool {
    let algorithm = Algorithm::new(algorithm).unwrap().jose();
    crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap()
}

/// PEM whose marks are written `[LABEL]` and `[/LABEL]`: a search for keys in the repository finds
/// none that matter, and is to find none at all.
fn armoured(text: &str) -> String {
    let end = text.replace("[/", "-----END ").replace('[', "-----BEGIN ");
    end.replace(']', "-----")
}

#[test]
fn signatures_are_those_of_the_rfcs() {
    let vectors = include_str!("../../../tests/vectors/jwt.json");
    let vectors: Vec<Value> = serde_json::from_str(vectors).unwrap();
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap();
        let encoding = if text("encoding") == "base64" { Encoding::Base64 } else { Encoding::Raw };
        let key = key(text("algorithm"), encoding, armoured(text("key")).as_bytes()).ok().unwrap();
        let signature = key.sign(text("message").as_bytes()).unwrap();
        if vector["reproducible"] == true {
            assert_eq!(*signature, text("signature"), "{}", text("source"));
        } else {
            // ECDSA has a random part: both signatures hold under the key of the RFC.
            let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
            let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
            let public = DecodingKey::from_ec_components(x, y).unwrap();
            for signature in [signature.as_str(), text("signature")] {
                assert!(holds("ES256", &public, text("message"), signature));
            }
        }
    }
}

#[test]
fn every_algorithm_signs_with_every_form_of_its_key() {
    let pem = |label: &str, der: &[u8]| {
        let text = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    for (algorithms, of, own_form) in [
        (&["ES256"][..], &rcgen::PKCS_ECDSA_P256_SHA256, Some("EC PRIVATE KEY")),
        (&["ES384"][..], &rcgen::PKCS_ECDSA_P384_SHA384, Some("EC PRIVATE KEY")),
        (&["EdDSA"][..], &rcgen::PKCS_ED25519, None),
        (
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..],
            &rcgen::PKCS_RSA_SHA256,
            Some("RSA PRIVATE KEY"),
        ),
    ] {
        let pair = KeyPair::generate_for(of).unwrap();
        let der = pair.serialize_der();
        let public = pair.public_key_pem();
        let public = match &algorithms[0][..2] {
            "ES" => DecodingKey::from_ec_pem(public.as_bytes()),
            "Ed" => DecodingKey::from_ed_pem(public.as_bytes()),
            _ => DecodingKey::from_rsa_pem(public.as_bytes()),
        };
        let public = public.unwrap();
        // PKCS#8 is an envelope around PKCS#1 (RFC 8017 A.1.2) and SEC 1 (RFC 5915).
        let inner = PrivateKeyInfoRef::try_from(der.as_slice()).unwrap().private_key;
        let own = own_form.map(|label| pem(label, inner.as_bytes()));
        for form in [Some(pair.serialize_pem()), own].into_iter().flatten() {
            for algorithm in algorithms {
                for (encoding, form) in
                    [(Encoding::Raw, form.clone()), (Encoding::Base64, STANDARD.encode(&form))]
                {
                    let key = key(algorithm, encoding, form.as_bytes()).ok().unwrap();
                    let signature = key.sign(b"message").unwrap();
                    assert!(holds(algorithm, &public, "message", &signature), "{algorithm}");
                    assert!(!holds(algorithm, &public, "another", &signature), "{algorithm}");
                }
            }
        }
    }
    for algorithm in ["HS256", "HS384", "HS512"] {
        let key = key(algorithm, Encoding::Raw, SECRET.as_bytes()).ok().unwrap();
        assert!(key.too_short_for.is_none(), "{algorithm}");
        let signature = key.sign(b"message").unwrap();
        assert!(holds(
            algorithm,
            &DecodingKey::from_secret(SECRET.as_bytes()),
            "message",
            &signature
        ));
    }
}

#[test]
fn a_key_that_does_not_fit_is_refused_and_both_are_named() {
    let p256 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let (p256_pem, rsa_pem) = (p256.serialize_pem(), rsa.serialize_pem());
    for (algorithm, pem, words) in [
        ("ES256", &rsa_pem, "ES256 needs a key on the curve P-256, found an RSA key"),
        (
            "ES384",
            &p256_pem,
            "ES384 needs a key on the curve P-384, found a key on the curve P-256",
        ),
        ("PS512", &p256_pem, "PS512 needs an RSA key, found a key on the curve P-256"),
        ("EdDSA", &rsa_pem, "EdDSA needs an Ed25519 key, found an RSA key"),
        ("HS256", &p256.public_key_pem(), "in PEM, but HS256 signs with a shared secret"),
        ("RS256", &rsa.public_key_pem(), "holds no private key"),
        ("RS256", &"canary".to_owned(), "holds no private key"),
    ] {
        let what = refused(algorithm, Encoding::Raw, pem.as_bytes());
        assert!(what.contains(words), "{what}");
        assert!(!what.contains("canary"));
    }
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap().serialize_pem();
    assert!(refused("ES256", Encoding::Raw, p521.as_bytes()).contains("a kind that can't sign"));
}

#[test]
fn a_weak_rsa_key_is_refused_and_a_short_secret_is_told_from_a_long_one() {
    let both = armoured(include_str!("../../../tests/vectors/rsa1024.txt"));
    for weak in both.split("\n\n") {
        assert!(refused("RS256", Encoding::Raw, weak.as_bytes()).contains("less than 2048 bits"));
    }
    for (algorithm, hash) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        let short = key(algorithm, Encoding::Raw, &vec![b'x'; hash - 1]).ok().unwrap();
        assert_eq!(short.too_short_for, Some(hash));
        let long = key(algorithm, Encoding::Hex, "00".repeat(hash).as_bytes()).ok().unwrap();
        assert_eq!(long.too_short_for, None, "it is the bytes that count, not the digits");
    }
}

#[test]
fn a_certificate_is_of_its_key_alone() {
    for of in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let algorithm = match () {
            () if of == &rcgen::PKCS_ECDSA_P256_SHA256 => "ES256",
            () if of == &rcgen::PKCS_ECDSA_P384_SHA384 => "ES384",
            () if of == &rcgen::PKCS_ED25519 => "EdDSA",
            () => "RS256",
        };
        let chain_of = |pair: &KeyPair| {
            let params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
            let pem = params.self_signed(pair).unwrap().pem();
            certificate::Chain::read(pem.as_bytes()).ok().unwrap()
        };
        let [pair, other] = [(); 2].map(|()| KeyPair::generate_for(of).unwrap());
        let key = key(algorithm, Encoding::Raw, pair.serialize_pem().as_bytes()).ok().unwrap();
        assert!(!pair.subject_public_key_info().is_empty());
        assert!(key.is_of(&chain_of(&pair)), "{algorithm}");
        assert!(!key.is_of(&chain_of(&other)), "{algorithm}");
    }
}
