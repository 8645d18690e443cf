//! Tokens, asked from the asynchronous side: never on the one thread, and with the PIN that holds now.

use std::sync::Arc;

use rustls::{pki_types::CertificateDer, sign::SigningKey};

use super::{
    Object,
    module::{Trouble, refused},
    signer::Key,
    token,
};
use crate::{
    failure::Failure,
    secret::{Error, Secret},
    tls::aside,
};

/// The certificate, and after it those on the same token that issued it.
///
/// # Errors
/// At the configuration stage, with the URI and the flag.
pub(in crate::tls) async fn chain(
    object: &Object,
) -> Result<Vec<CertificateDer<'static>>, Failure> {
    with_pin(object, token::chain).await
}

/// The private key, proven to be the one of `leaf`.
///
/// # Errors
/// At the configuration stage, with the URI and the flag.
pub(in crate::tls) async fn key(
    object: &Object,
    leaf: &CertificateDer<'static>,
) -> Result<Arc<dyn SigningKey>, Failure> {
    let leaf = leaf.clone();
    with_pin(object, move |object, pin| {
        let key = Key::new(object.clone(), pin.cloned(), &leaf)?;
        Ok(Arc::new(key) as Arc<dyn SigningKey>)
    })
    .await
}

/// Does `work` on a thread of its own, since every call to a token may take its time. A PIN that is
/// refused is asked for anew once: it may have been changed.
async fn with_pin<T, W>(object: &Object, work: W) -> Result<T, Failure>
where
    T: Send + 'static,
    W: Fn(&Object, Option<&Arc<Secret>>) -> Result<T, Trouble> + Send + Sync + 'static,
{
    let work = Arc::new(work);
    let attempt = async |pin: Option<Arc<Secret>>| {
        let (work, of) = (Arc::clone(&work), object.clone());
        aside::run(move || work(&of, pin.as_ref())).await.unwrap_or_else(|| {
            Err(refused(format!(
                "{object}: the token did not answer within {} s",
                aside::LIMIT.as_secs()
            ))
            .into())
        })
    };
    let result = match &object.pin {
        None => attempt(None).await,
        Some(held) => {
            let unheld = |error: &Error| refused(format!("no PIN for {object}: {error}"));
            let (pin, generation) = held.current().await.map_err(|error| unheld(&error))?;
            match attempt(Some(pin)).await {
                Err(Trouble::Pin) if held.refresh(generation).await.unwrap_or(false) => {
                    let (pin, _) = held.current().await.map_err(|error| unheld(&error))?;
                    attempt(Some(pin)).await
                }
                other => other,
            }
        }
    };
    result.map_err(|trouble| match trouble {
        Trouble::Other(failure) => failure,
        Trouble::Pin => {
            let from = object.pin.as_ref().map(|held| held.reference().to_string());
            refused(format!(
                "the PIN from {} does not open the token of {object}",
                from.unwrap_or_default()
            ))
            .hint("it is not tried again, since a token locks itself after a few wrong ones")
        }
    })
}
