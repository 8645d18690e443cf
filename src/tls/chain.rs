//! Certificates on their way into a handshake: read from PEM, or put into the order of TLS.
//!
//! A file in PEM is taken as it stands, since its author chose the order. What comes from a
//! PKCS#12 file or a token has none, and is ordered here by who issued whom. Nothing here judges
//! a certificate: no dates, no signatures; the upstream does that.

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate};

use super::{
    files::Place,
    pem::{self, Looks},
    whose::Whose,
};
use crate::failure::{Failure, Stage};

/// Every certificate in the file, in its order; at least one.
pub(super) fn read(
    file: &[u8],
    place: &Place<'_>,
    whose: Whose,
) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let broken = |error| {
        refused(format!("cannot read the {} certificate in {place}: {error}", whose.name()))
    };
    let mut chain = Vec::new();
    for section in pem::sections(file).map_err(broken)? {
        if section.is_certificate() {
            let certificate = CertificateDer::from(section.der().map_err(broken)?.to_vec());
            parse(&certificate, place, chain.len() + 1)?;
            chain.push(certificate);
        }
    }
    if chain.is_empty() { Err(missing(file, place, whose)) } else { Ok(chain) }
}

/// A certificate taken apart; `number` is its place in the chain, from 1.
pub(super) fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
    place: &impl fmt::Display,
    number: usize,
) -> Result<X509Certificate<'a>, Failure> {
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) => Ok(parsed),
        Err(_) => Err(refused(format!("certificate {number} in {place} is broken"))),
    }
}

/// `leaf`, and after it those of `others` that lead to its root, each the issuer of the one before
/// (RFC 5246 section 7.4.2). What belongs to another chain is left out.
pub(super) fn ordered(
    leaf: CertificateDer<'static>,
    others: &[CertificateDer<'static>],
) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![leaf];
    while let Some(next) = others
        .iter()
        // One that is in the chain already would be a circle, or a root that issued itself.
        .filter(|other| !chain.contains(other))
        .find(|other| chain.last().is_some_and(|last| issued(other, last)))
    {
        chain.push(next.clone());
    }
    chain
}

/// Whether `issuer` is named as the issuer of `certificate`, by its key identifier too if both say
/// one: a CA that was given a new key keeps its name.
fn issued(issuer: &CertificateDer<'_>, certificate: &CertificateDer<'_>) -> bool {
    let (Ok((_, issuer)), Ok((_, certificate))) =
        (X509Certificate::from_der(issuer), X509Certificate::from_der(certificate))
    else {
        return false;
    };
    let expected =
        certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref(),
            _ => None,
        });
    let own = issuer.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id),
        _ => None,
    });
    let same_key = expected.zip(own).is_none_or(|(expected, own)| expected == own);
    issuer.subject().as_raw() == certificate.issuer().as_raw() && same_key
}

fn missing(file: &[u8], place: &Place<'_>, whose: Whose) -> Failure {
    let looks = Looks::at(file);
    let failure = refused(format!(
        "expected a certificate in PEM in {place}, found none; this looks like {}",
        looks.words()
    ));
    match looks.conversion(place.path) {
        _ if looks == Looks::Pkcs12 && whose == Whose::Client => {
            failure.hint(pem::takes_pkcs12(place.path))
        }
        Some(command) => failure.hint(format!("to convert it: {command}")),
        None if looks == Looks::PemKey => failure.hint(format!(
            "{} takes the certificate and {} the key: are they swapped",
            whose.cert(),
            whose.key()
        )),
        None => {
            failure.hint(format!("{} takes a file with -----BEGIN CERTIFICATE-----", whose.cert()))
        }
    }
}

fn refused(what: String) -> Failure {
    Failure::new(Stage::Configuration, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::PKCS_ECDSA_P256_SHA256;

    use super::*;
    use crate::tls::pki::Ca;

    #[test]
    fn each_certificate_is_followed_by_its_issuer_and_others_are_left_out() {
        let root = Ca::new("root");
        let issuing = root.authority("issuing");
        let leaf = issuing.leaf_of(&PKCS_ECDSA_P256_SHA256, "client", |params| {
            params.use_authority_key_identifier_extension = true;
        });
        let (stranger, namesake) = (Ca::new("stranger"), Ca::new("issuing"));
        let others = [&stranger, &root, &namesake, &issuing].map(|authority| authority.der.clone());
        let expected = [leaf.der.clone(), issuing.der.clone(), root.der.clone()];
        assert_eq!(ordered(leaf.der, &others), expected);
    }

    #[test]
    fn one_that_issued_itself_stands_alone() {
        let root = Ca::new("root");
        assert_eq!(ordered(root.der.clone(), std::slice::from_ref(&root.der)), [root.der]);
    }
}
