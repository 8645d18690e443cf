//! The signature itself: a key for one day, region and service, and what is signed with it.
//!
//! Pure: the clock is an argument, and nothing here knows where keys come from.

use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{canonical::Canonical, keys::Keys};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A point in time, as AWS writes it: `20261123T120000Z`.
pub(super) struct Timestamp(String);

impl Timestamp {
    pub(super) fn new(now: SystemTime) -> Self {
        // A clock that was never set may stand before the beginning, which has no such form.
        let now = now.max(SystemTime::UNIX_EPOCH);
        let text = humantime::format_rfc3339_seconds(now).to_string();
        Self(text.chars().filter(|it| !matches!(it, '-' | ':')).collect())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn day(&self) -> &str {
        self.0.split('T').next().unwrap_or_default()
    }
}

/// What a key is good for.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) region: String,
    pub(super) service: String,
}

impl Scope {
    fn on(&self, day: &str) -> String {
        format!("{day}/{}/{}/aws4_request", self.region, self.service)
    }
}

/// The value of `Authorization` for a request.
pub(super) fn authorization(
    canonical: &Canonical,
    keys: &Keys,
    scope: &Scope,
    at: &Timestamp,
) -> String {
    let signed = string_to_sign(canonical, scope, at);
    let key = signing_key(keys.secret_access_key.expose(), scope, at.day());
    let signature = hex(&*mac(&*key, signed.as_bytes()));
    let (id, scope) = (&keys.access_key_id, scope.on(at.day()));
    let names = &canonical.signed_headers;
    format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

pub(super) fn string_to_sign(canonical: &Canonical, scope: &Scope, at: &Timestamp) -> String {
    let (scope, digest) = (scope.on(at.day()), sha256(&canonical.text));
    format!("{ALGORITHM}\n{}\n{scope}\n{digest}", at.as_str())
}

fn signing_key(secret: &[u8], scope: &Scope, day: &str) -> Zeroizing<[u8; 32]> {
    // Room for all of it: a buffer that grows leaves copies behind that nobody wipes.
    let mut first = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
    first.extend_from_slice(b"AWS4");
    first.extend_from_slice(secret);
    let key = mac(&first, day.as_bytes());
    let key = mac(&*key, scope.region.as_bytes());
    let key = mac(&*key, scope.service.as_bytes());
    mac(&*key, b"aws4_request")
}

fn mac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    #[expect(clippy::expect_used, reason = "RFC 2104 takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// The SHA-256 of `bytes` in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}
