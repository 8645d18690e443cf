//! Signatures and tokens, checked by others: the real binary signs, a real upstream receives, and an
//! implementation that no one here wrote says whether it holds. It needs Python with the packages of
//! requirements.txt, so it is not a part of `cargo test`: `tests/verify/run` brings them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on panics")]
#![allow(clippy::disallowed_methods, reason = "the bans are for the program")]

/// What the integration tests stand on.
#[path = "../it"]
mod it {
    pub(crate) mod support;
}
mod aws_sigv4;
mod hmac;
mod http_signature;
mod jwt;
mod python;
mod session;

use it::support;
