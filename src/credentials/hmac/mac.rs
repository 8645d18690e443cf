//! The code itself: HMAC (RFC 2104) with the hash that was chosen by name, and how it is written.

use std::sync::Arc;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use crate::credentials::{derived::Unfit, key::Encoding};

/// The hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// For gateways that are older than what is known of it; only by its name.
    Sha1,
    /// SHA-256 (FIPS 180-4), as all of SHA-2 below.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// As it is written in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

/// How the code is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digest {
    /// In hexadecimal digits, lower case.
    #[default]
    Hex,
    /// In base64 (RFC 4648, section 4).
    Base64,
    /// In base64 for URLs, without padding (RFC 4648, section 5).
    Base64Url,
}

impl Digest {
    pub(super) fn write(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex(bytes),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}

/// Bytes in hexadecimal digits, lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// A code that has its key and takes the text in parts. Wiped when dropped.
#[derive(Clone)]
pub(super) enum Running {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

impl Running {
    /// The code with the key that `secret` holds in `encoding`.
    pub(super) fn new(
        algorithm: Algorithm,
        encoding: Encoding,
        secret: &[u8],
    ) -> Result<Arc<Self>, Unfit> {
        if secret.starts_with(b"-----BEGIN ") {
            return Err(Unfit::new(
                "is in PEM, but HMAC signs with a shared secret",
                "give the secret itself; a private key is for --http-signature or --jwt",
            ));
        }
        let key = encoding.decode(secret)?;
        // RFC 2104 takes keys of any length, so this can't fail.
        let made = match algorithm {
            Algorithm::Sha1 => Hmac::new_from_slice(&key).map(Self::Sha1),
            Algorithm::Sha256 => Hmac::new_from_slice(&key).map(Self::Sha256),
            Algorithm::Sha384 => Hmac::new_from_slice(&key).map(Self::Sha384),
            Algorithm::Sha512 => Hmac::new_from_slice(&key).map(Self::Sha512),
        };
        made.map(Arc::new).map_err(|_| Unfit::new("is no key", "check that it is the right one"))
    }

    pub(super) fn update(&mut self, text: &[u8]) {
        match self {
            Self::Sha1(mac) => mac.update(text),
            Self::Sha256(mac) => mac.update(text),
            Self::Sha384(mac) => mac.update(text),
            Self::Sha512(mac) => mac.update(text),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(mac) => mac.finalize().into_bytes().to_vec(),
            Self::Sha256(mac) => mac.finalize().into_bytes().to_vec(),
            Self::Sha384(mac) => mac.finalize().into_bytes().to_vec(),
            Self::Sha512(mac) => mac.finalize().into_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The code of `text`, its key in hexadecimal digits.
    fn code(algorithm: Algorithm, key: &str, text: &[u8]) -> String {
        let mut running =
            (*Running::new(algorithm, Encoding::Hex, key.as_bytes()).ok().unwrap()).clone();
        // In two parts: it must not matter.
        let (first, second) = text.split_at(text.len() / 2);
        running.update(first);
        running.update(second);
        Digest::Hex.write(&running.finish())
    }

    /// Key and text of cases 1, 2, 3, 4, 6 and 7 of RFC 4231; the fifth truncates.
    fn cases() -> [(String, Vec<u8>); 6] {
        let long = "aa".repeat(131);
        [
            ("0b".repeat(20), b"Hi There".to_vec()),
            (hex(b"Jefe"), b"what do ya want for nothing?".to_vec()),
            ("aa".repeat(20), vec![0xdd; 50]),
            ("0102030405060708090a0b0c0d0e0f10111213141516171819".to_owned(), vec![0xcd; 50]),
            (long.clone(), b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec()),
            (
                long,
                b"This is a test using a larger than block-size key and a larger than block-size \
                  data. The key needs to be hashed before being used by the HMAC algorithm."
                    .to_vec(),
            ),
        ]
    }

    #[test]
    fn the_vectors_of_rfc_4231() {
        let expected = [
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ];
        for ((key, text), expected) in cases().iter().zip(expected) {
            assert_eq!(code(Algorithm::Sha256, key, text), expected);
        }
        for ((key, text), expected) in cases().iter().zip([
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c\
             faea9ea9076ede7f4af152e8b2fa9cb6",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
             8e2240ca5e69e2c78b3239ecfab21649",
            "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b\
             2a5ab39dc13814b94e3ab6e101a34f27",
            "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e\
             6801dd23c4a7d679ccf8a386c674cffb",
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6\
             0c2ef6ab4030fe8296248df163f44952",
            "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5\
             a678cc31e799176d3860e6110c46523e",
        ]) {
            assert_eq!(code(Algorithm::Sha384, key, text), expected);
        }
        for ((key, text), expected) in cases().iter().zip([
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
             daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39\
             bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
            "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db\
             a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
             6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944\
             b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
        ]) {
            assert_eq!(code(Algorithm::Sha512, key, text), expected);
        }
    }

    #[test]
    fn the_vectors_of_rfc_2202() {
        // The first four are those of RFC 4231; the others are shorter.
        let [first, second, third, fourth, ..] = cases();
        let long = "aa".repeat(80);
        let own = [
            ("0c".repeat(20), b"Test With Truncation".to_vec()),
            (long.clone(), b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec()),
            (
                long,
                b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data"
                    .to_vec(),
            ),
        ];
        let expected = [
            "b617318655057264e28bc0b6fb378c8ef146be00",
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
            "4c9007f4026250c6bc8414f9bf50c86c2d7235da",
            "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04",
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
        ];
        for ((key, text), expected) in
            [first, second, third, fourth].iter().chain(&own).zip(expected)
        {
            assert_eq!(code(Algorithm::Sha1, key, text), expected);
        }
    }

    #[test]
    fn the_example_of_github() {
        let key = hex(b"It's a Secret to Everybody");
        let code = code(Algorithm::Sha256, &key, b"Hello, World!");
        assert_eq!(code, "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    }

    #[test]
    fn a_code_is_written_in_three_ways() {
        let bytes = [0xfb, 0xff, 0x01];
        let written = [Digest::Hex, Digest::Base64, Digest::Base64Url].map(|it| it.write(&bytes));
        assert_eq!(written, ["fbff01", "+/8B", "-_8B"]);
    }
}
