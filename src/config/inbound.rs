//! TLS of the sidecar's listeners: its certificate, and whose clients may show.
//!
//! What would ask for proof and then not get it is an error: a client CA without a certificate of
//! our own, a name without a CA.

use crate::{failure::Failure, tls::inbound::Settings};

use super::{layer::Layers, place::Stated, scope::Scope};

/// The settings of both layers; no file is opened here. None: the listeners speak plain HTTP.
pub(super) fn settle(said: &Layers, scope: &Scope<'_>) -> Result<Option<Settings>, Failure> {
    let (flags, profile) = (&said.flags.serve, &said.profile.serve);
    // Replaced as a whole: a certificate from a flag has nothing to do with the key of a profile.
    let pair = if flags.cert.is_some() || flags.key.is_some() { flags } else { profile };
    let authorities =
        if flags.client_ca.is_empty() { &profile.client_ca } else { &flags.client_ca };
    let Some(cert) = &pair.cert else {
        return match pair.key.as_ref().or(authorities.first()) {
            Some(stray) => Err(stray
                .place
                .refuse("the listeners have no certificate, so they speak no TLS")
                .hint("--listen-cert FILE --listen-key FILE is theirs")),
            None => Ok(None),
        };
    };
    Ok(Some(Settings {
        cert: scope.path(cert)?,
        key: scope.path(pair.key.as_ref().unwrap_or(cert))?,
        client_ca: authorities.iter().map(|file| scope.path(file)).collect::<Result<_, _>>()?,
    }))
}

/// The names of which a client certificate must have one, as the guard compares them.
pub(super) fn names(
    said: &[Stated<String>],
    scope: &Scope<'_>,
    inbound: Option<&Settings>,
) -> Result<Vec<String>, Failure> {
    if let (Some(said), true) = (said.first(), inbound.is_none_or(|it| it.client_ca.is_empty())) {
        let refused = said.place.refuse("no client is asked for a certificate that could have it");
        return Err(refused.hint("--client-ca FILE asks for one, and says from whom"));
    }
    said.iter().map(|said| name(said, scope)).collect()
}

/// `agent.example` in lower case, or `spiffe://prod.example/agent` as it is.
fn name(said: &Stated<String>, scope: &Scope<'_>) -> Result<String, Failure> {
    let text = scope.text(said)?;
    let valid = match text.split_once(':') {
        // RFC 3986, section 3.1.
        Some((scheme, rest)) => {
            let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(in_scheme)
                && !rest.is_empty()
                && rest.bytes().all(|byte| byte.is_ascii_graphic())
        }
        None => {
            let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !text.is_empty() && text.bytes().all(in_name)
        }
    };
    if !valid {
        return Err(said
            .place
            .refuse("expected a DNS name or a URI")
            .hint("names are compared whole, as in agent.example or spiffe://prod.example/agent"));
    }
    Ok(if text.contains(':') { text } else { text.to_ascii_lowercase() })
}
