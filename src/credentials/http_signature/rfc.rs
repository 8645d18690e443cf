//! The examples of RFC 9421, as data under `tests/vectors/rfc9421`.
//!
//! Left out is what is not a request that we could send: the responses (2.2.9, 2.4 and B.2.4), the
//! other forms of a request target (2.2.5), and the parameters in another order (2.3).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;

use super::*;

const KEYS: &str = include_str!("../../../tests/vectors/rfc9421/keys.json");
const SIGNATURES: &str = include_str!("../../../tests/vectors/rfc9421/signatures.json");
const COMPONENTS: &str = include_str!("../../../tests/vectors/rfc9421/components.json");
