//! A TLS error in words: which side refused what, and what to do.
//!
//! Every sentence names the side, since "bad certificate" may be ours or the server's and the
//! cure differs. It says what is public: names, dates, issuers, the pin a server has.

use rustls::{CertificateError, Error, PeerIncompatible};

use super::{Tls, date::Date, pins::Unpinned, server_id::OtherId};
use crate::failure::{Failure, Stage};

/// Names of a certificate that are shown; some have hundreds.
const NAMES_SHOWN: usize = 5;

impl Tls {
    /// The error of a connection to `host` in words, at the TLS stage: which side refused, and
    /// the flag to use.
    ///
    /// After the handshake it is for errors that [`Self::is_identity_refused`] alone: with
    /// TLS 1.3 a server refuses a client certificate when the client is already done.
    #[must_use]
    pub fn explain(&self, error: &Error, host: &str) -> Failure {
        let failure = match error {
            Error::InvalidCertificate(reason) => self.server_certificate(reason, host),
            Error::AlertReceived(alert) => self.alert(*alert, host),
            Error::PeerIncompatible(reason) => self.incompatible(reason, host),
            Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => failure(format!(
                "what the upstream {host} sends is not TLS"
            ))
            .hint(
                "does it speak plain HTTP on this port: look at the scheme and the port of the URL",
            ),
            Error::NoCertificatesPresented => {
                failure(format!("we refused the upstream {host}: it has no certificate"))
            }
            Error::UnsupportedNameType => {
                failure(format!("the name of the upstream {host} can't be in a certificate"))
                    .hint("give the name in its certificate with --server-name")
            }
            Error::FailedToGetCurrentTime => {
                failure("we refused every certificate: this machine has no valid clock".to_owned())
            }
            Error::DecryptError => failure(format!(
                "what the upstream {host} sent was altered on the way, or made with another key"
            )),
            Error::PeerMisbehaved(reason) => failure(format!(
                "we ended the handshake with the upstream {host}: it breaks the rules of TLS \
                 ({reason:?})"
            )),
            // What remains is about us, or a message out of its order.
            other => failure(format!("the TLS connection to the upstream {host} failed: {other}")),
        };
        failure.caused_by(error.clone())
    }

    /// We did not accept the server's certificate.
    fn server_certificate(&self, reason: &CertificateError, host: &str) -> Failure {
        let refused = |why: String| {
            failure(format!("we refused the certificate of the upstream {host}: {why}"))
        };
        let renew =
            || format!("the upstream's operator must renew it; today is {} here", Date::now());
        match reason {
            CertificateError::UnknownIssuer => {
                refused(format!("no CA that we trust issued it (we trust {})", self.trusted()))
                    .hint(self.trust_more())
            }
            CertificateError::ExpiredContext { not_after, .. } => {
                refused(format!("it expired on {}", Date::from(*not_after).with_distance()))
                    .hint(renew())
            }
            CertificateError::Expired => refused("it has expired".to_owned()).hint(renew()),
            CertificateError::NotValidYetContext { not_before, .. } => refused(format!(
                "it is not valid before {}",
                Date::from(*not_before).with_distance()
            ))
            .hint(format!("look at this machine's clock: today is {} here", Date::now())),
            CertificateError::NotValidYet => refused("it is not valid yet".to_owned())
                .hint(format!("look at this machine's clock: today is {} here", Date::now())),
            CertificateError::NotValidForNameContext { expected, presented } => {
                let names = names(presented);
                refused(format!("it is for {names}, not for {}", expected.to_str()))
                    .hint("use its name in the URL, or give it with --server-name")
            }
            CertificateError::NotValidForName => refused("it is for another name".to_owned())
                .hint("use its name in the URL, or give it with --server-name"),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                refused(
                    "it is not for servers (its extended key usage lacks serverAuth)".to_owned(),
                )
            }
            CertificateError::Revoked => refused("its CA has revoked it".to_owned()),
            CertificateError::BadSignature => {
                refused("a signature in its chain does not verify".to_owned())
                    .hint("a CA made anew under its old name does this: look at --cacert")
            }
            CertificateError::BadEncoding => refused("it is malformed".to_owned()),
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => refused(
                "it is signed in a way that is no longer accepted, such as SHA-1".to_owned(),
            ),
            CertificateError::Other(other) => special(other, refused),
            other => refused(other.to_string()),
        }
    }

    /// The two sides have nothing in common.
    fn incompatible(&self, reason: &PeerIncompatible, host: &str) -> Failure {
        match reason {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => failure(format!(
                "we refused the upstream {host}: it speaks no version of TLS that is allowed here"
            ))
            .hint(self.speak_older()),
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::NoEcPointFormatsInCommon => failure(format!(
                "we refused the upstream {host}: it has no strong enough cryptography in common \
                 with us ({reason:?})"
            ))
            .hint("TLS 1.2 or 1.3 with AEAD ciphers are offered: look at what the upstream allows"),
            other => failure(format!("we refused the upstream {host}: it lacks {other:?}")),
        }
    }

    /// Where the roots came from, as a part of a sentence.
    pub(super) fn trusted(&self) -> String {
        let origins: Vec<_> = self.origins.iter().map(ToString::to_string).collect();
        origins.join(" and ")
    }

    fn trust_more(&self) -> &'static str {
        match self.origins.as_slice() {
            [super::roots::Origin::Cacert(_)] => {
                "--cacert trusts exactly the CAs in its files: add the upstream's own, or the \
                 system's with --system-roots; a pin (--pinnedpubkey) replaces no CA"
            }
            _ => {
                "give the certificate of the upstream's CA with --cacert FILE; a pin \
                 (--pinnedpubkey) is checked beside the CA and replaces none"
            }
        }
    }
}

/// Reasons that rustls has no variant for.
fn special(other: &rustls::OtherError, refused: impl Fn(String) -> Failure) -> Failure {
    if let Some(Unpinned { found }) = other.0.downcast_ref() {
        return refused(format!("its key is {found}, which is none of the pinned ones"))
            .hint("if that is the upstream's new key, give it with --pinnedpubkey");
    }
    if let Some(OtherId { expected, found }) = other.0.downcast_ref() {
        return refused(format!("its SPIFFE id is {found}, expected {expected}"))
            .hint("if that is the upstream, give its id with --server-spiffe-id");
    }
    // webpki's own error is not in rustls' interface; its text is.
    let text = other.to_string();
    if text.contains("CaUsedAsEndEntity") {
        return refused("it is a CA's own certificate, used as a server's".to_owned()).hint(
            "the upstream needs a certificate with basicConstraints CA:FALSE; `openssl req -x509` \
             makes CA:TRUE unless told otherwise",
        );
    }
    refused(text)
}

/// The names that a certificate is for; rustls has them as `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    let mut shown: Vec<_> = presented
        .iter()
        .take(NAMES_SHOWN)
        .map(|name| {
            let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
            inner.unwrap_or(name).trim_matches('"').replace(char::is_control, " ")
        })
        .collect();
    match presented.len() {
        0 => "no name at all".to_owned(),
        count if count > NAMES_SHOWN => {
            shown.push(format!("{} more", count - NAMES_SHOWN));
            shown.join(", ")
        }
        _ => shown.join(", "),
    }
}

fn failure(what: String) -> Failure {
    Failure::new(Stage::Tls, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, PKCS_ECDSA_P256_SHA256,
        date_time_ymd,
    };

    use super::*;
    use crate::tls::{
        load,
        pki::{Ca, Folder, HOST, explained, server},
    };

    /// What is said when the server has such a certificate.
    async fn of_server(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Failure {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let leaf = ca.leaf_of(&PKCS_ECDSA_P256_SHA256, name, change);
        let tls = load(&folder.trusting(&ca)).await.unwrap();
        explained(&tls, server(&leaf, None)).await
    }

    fn hint(failure: &Failure) -> &str {
        assert_eq!(failure.stage(), Stage::Tls);
        failure.next_step().unwrap()
    }

    #[tokio::test]
    async fn an_unknown_issuer_says_whom_we_trust_and_how_to_trust_more() {
        let (folder, [ca, other]) = (Folder::new(), ["ca", "other"].map(Ca::new));
        let tls = load(&folder.trusting(&ca)).await.unwrap();
        let failure = explained(&tls, server(&other.leaf(HOST), None)).await;
        let what = failure.what();
        assert!(
            what.starts_with("we refused the certificate of the upstream upstream.example: no CA")
        );
        assert!(what.contains("ca.pem (--cacert)"), "{what}");
        assert!(hint(&failure).contains("--system-roots"));
    }

    #[tokio::test]
    async fn a_server_certificate_out_of_date_is_told_with_its_dates() {
        let old = of_server(HOST, |params| {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 3);
        });
        let failure = old.await;
        assert!(failure.what().contains("it expired on 2020-02-03, "), "{failure}");
        assert!(hint(&failure).contains("renew"));
        let young = of_server(HOST, |params| params.not_before = date_time_ymd(3000, 1, 1));
        let failure = young.await;
        assert!(failure.what().contains("not valid before 3000-01-01, in "), "{failure}");
    }

    #[tokio::test]
    async fn a_certificate_for_other_names_is_told_with_the_names() {
        let failure = of_server("inside.example", |_| ()).await;
        assert!(
            failure.what().ends_with("it is for inside.example, not for upstream.example"),
            "{failure}"
        );
        assert!(hint(&failure).contains("--server-name"));
        let many: Vec<_> = (0..7).map(|number| format!("DnsName(\"{number}.example\")")).collect();
        assert!(names(&many).ends_with("4.example, 2 more"));
    }

    #[tokio::test]
    async fn a_certificate_that_is_not_for_servers_is_refused() {
        let failure = of_server(HOST, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        assert!(failure.await.what().contains("it is not for servers"));
        let failure =
            of_server(HOST, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
                .await;
        assert!(failure.what().contains("a CA's own certificate"), "{failure}");
        assert!(hint(&failure).contains("openssl req -x509"));
    }

    #[tokio::test]
    async fn a_server_that_speaks_plain_http_is_recognised() {
        use tokio::io::AsyncWriteExt as _;
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let tls = load(&folder.trusting(&ca)).await.unwrap();
        let (near, mut far) = tokio::io::duplex(4096);
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&tls.config));
        let error = connector.connect(HOST.try_into().unwrap(), near).await.unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref().unwrap();
        let failure = tls.explain(inner, HOST);
        assert_eq!(failure.what(), "what the upstream upstream.example sends is not TLS");
        assert!(hint(&failure).contains("plain HTTP"));
    }
}
