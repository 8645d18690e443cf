//! What a build without the feature `pkcs11` says to a token.

use std::sync::Arc;

use rustls::{pki_types::CertificateDer, sign::SigningKey};

use super::Object;
use crate::failure::{Failure, Stage};

pub(in crate::tls) async fn chain(
    object: &Object,
) -> Result<Vec<CertificateDer<'static>>, Failure> {
    Err(refused(object))
}

pub(in crate::tls) async fn key(
    object: &Object,
    _: &CertificateDer<'static>,
) -> Result<Arc<dyn SigningKey>, Failure> {
    Err(refused(object))
}

fn refused(object: &Object) -> Failure {
    let what = format!("this build has no support for PKCS#11, which {object} needs");
    Failure::new(Stage::Configuration, what)
        .hint("get one that has: cargo install countersign --features pkcs11")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_build_without_tokens_says_how_to_get_one_with() {
        let (uri, module) = ("pkcs11:token=a".parse().unwrap(), "/usr/lib/hsm.so".into());
        let failure = chain(&Object { uri, module, pin: None, flag: "--key" }).await.unwrap_err();
        assert_eq!(failure.stage(), Stage::Configuration);
        assert!(failure.what().contains("which pkcs11:token=a (--key) needs"), "{failure}");
        assert!(failure.next_step().unwrap().contains("--features pkcs11"));
    }
}
