//! What a server says when it ends a handshake, in words.
//!
//! An alert is one byte. Its name is that of the RFCs, since that is what people search for; what
//! to do about it depends on whether the server asked for a client certificate and on ours.

use rustls::{AlertDescription as Alert, Error};

use super::{Minimum, Tls};
use crate::failure::{Failure, Stage};

impl Tls {
    /// True for an error with which a server refuses the client's side of a handshake. When it
    /// comes in place of an answer, the server has not read the request.
    #[must_use]
    pub fn is_identity_refused(error: &Error) -> bool {
        matches!(error, Error::AlertReceived(alert)
            if matches!(meaning(*alert).1, About::Identity | About::Handshake))
    }

    /// The server told us why it stopped.
    pub(super) fn alert(&self, alert: Alert, host: &str) -> Failure {
        let (name, about, why) = meaning(alert);
        let asked = self.was_asked_for_certificate();
        match about {
            About::Identity => self.identity_refused(alert, host),
            // Until TLS 1.2 this is how OpenSSL says certificate_required.
            About::Handshake if asked => self.identity_refused(alert, host),
            About::Handshake => failure(format!(
                "the upstream {host} refused the handshake ({name}): {why}"
            ))
            .hint("TLS 1.2 or 1.3 with AEAD ciphers are offered: look at what the upstream allows"),
            About::Version => {
                failure(format!("the upstream {host} refused the handshake ({name}): {why}"))
                    .hint(self.speak_older())
            }
            About::Name => {
                failure(format!("the upstream {host} refused the name we asked for ({name})"))
                    .hint("give the name that it serves in the URL or with --server-name")
            }
            About::Http => {
                failure(format!("the upstream {host} refused the handshake ({name}): {why}"))
                    .hint("offer both versions with --http auto")
            }
            About::Other => {
                failure(format!("the upstream {host} ended the TLS connection ({name}): {why}"))
            }
        }
    }

    /// The server wants a client certificate, or another one.
    fn identity_refused(&self, alert: Alert, host: &str) -> Failure {
        let (name, about, why) = meaning(alert);
        let got_none = matches!(alert, Alert::CertificateRequired | Alert::NoCertificate);
        if !got_none && !self.was_asked_for_certificate() {
            // It can't be about a certificate that it never asked for.
            return failure(format!("the upstream {host} ended the handshake ({name})"));
        }
        let Some(identity) = &self.identity else {
            return failure(format!(
                "the upstream {host} demands a client certificate and none is configured ({name})"
            ))
            .hint("give it with --cert FILE and --key FILE");
        };
        if got_none {
            // We send none when none of the server's signature schemes is one of our key's.
            return failure(format!(
                "the upstream {host} demands a client certificate and can't use ours \
                 ({identity}): {name}"
            ))
            .hint(format!(
                "give {} one with another kind of key: the upstream takes no signature of this",
                identity.flag
            ));
        }
        let what = match about {
            About::Handshake => format!(
                "the upstream {host} refused the handshake after it asked for our client \
                 certificate ({identity}): {name}"
            ),
            _ => format!(
                "the upstream {host} refused our client certificate ({identity}): {name}, {why}"
            ),
        };
        let place = &identity.place;
        failure(what).hint(match alert {
            _ if identity.expired() => format!("renew the certificate in {place}"),
            _ if identity.not_yet_valid() => {
                format!("the certificate in {place} is not valid yet: look at the clock")
            }
            Alert::CertificateExpired => {
                format!("a CA certificate in {place} may be out of date, or a clock wrong")
            }
            Alert::UnsupportedCertificate => format!(
                "{place} must hold a certificate for clients (extended key usage \
                 clientAuth)"
            ),
            _ => format!(
                "{place} must hold a certificate from a CA that the upstream accepts, and \
                 after it the CAs between the two"
            ),
        })
    }

    /// What to do when there is no version in common.
    pub(super) fn speak_older(&self) -> &'static str {
        match self.minimum {
            Minimum::Tls13 => "if it can do no better than TLS 1.2: --tls-min 1.2",
            Minimum::Tls12 => "TLS 1.1 and older are broken: the upstream must learn a newer one",
        }
    }
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// Our certificate, or that there is none.
    Identity,
    /// The handshake as a whole: often, but not always, that there is no client certificate.
    Handshake,
    /// The versions of TLS.
    Version,
    /// The server's own name.
    Name,
    /// The versions of HTTP.
    Http,
    /// Anything else.
    Other,
}

/// The alert's name, what it is about, and what the server means by it.
fn meaning(alert: Alert) -> (&'static str, About, &'static str) {
    use About::{Handshake, Http, Identity, Name, Other, Version};
    match alert {
        Alert::CertificateRequired => ("certificate_required", Identity, "it got none"),
        Alert::NoCertificate => ("no_certificate", Identity, "it got none"),
        Alert::BadCertificate => ("bad_certificate", Identity, "it does not accept it"),
        Alert::UnsupportedCertificate => (
            "unsupported_certificate",
            Identity,
            "it is of a kind or for a purpose it does not accept",
        ),
        Alert::CertificateRevoked => ("certificate_revoked", Identity, "its CA has revoked it"),
        Alert::CertificateExpired => ("certificate_expired", Identity, "it is not in date there"),
        Alert::CertificateUnknown => ("certificate_unknown", Identity, "it does not accept it"),
        Alert::UnknownCA => ("unknown_ca", Identity, "it does not know the CA that issued it"),
        Alert::AccessDenied => ("access_denied", Identity, "it is valid and not allowed in"),
        Alert::DecryptError => {
            ("decrypt_error", Identity, "the signature made with our key does not verify")
        }
        Alert::CertificateUnobtainable => {
            ("certificate_unobtainable", Identity, "it could not fetch it")
        }
        Alert::BadCertificateHashValue => {
            ("bad_certificate_hash_value", Identity, "it is not the announced one")
        }
        Alert::HandshakeFailure => {
            ("handshake_failure", Handshake, "nothing acceptable was offered")
        }
        Alert::InsufficientSecurity => {
            ("insufficient_security", Handshake, "nothing strong enough was offered")
        }
        Alert::ProtocolVersion => ("protocol_version", Version, "no version in common"),
        Alert::InappropriateFallback => {
            ("inappropriate_fallback", Version, "a newer version is in common")
        }
        Alert::UnrecognisedName => ("unrecognized_name", Name, "it does not serve that name"),
        Alert::NoApplicationProtocol => {
            ("no_application_protocol", Http, "no version of HTTP in common")
        }
        Alert::CloseNotify => ("close_notify", Other, "it closed the connection"),
        Alert::UserCanceled => ("user_canceled", Other, "it was cancelled there"),
        Alert::InternalError => ("internal_error", Other, "something broke there"),
        Alert::UnexpectedMessage => ("unexpected_message", Other, "it did not expect what it got"),
        Alert::BadRecordMac => ("bad_record_mac", Other, "what it got was altered on the way"),
        Alert::DecryptionFailed => {
            ("decryption_failed", Other, "what it got was altered on the way")
        }
        Alert::RecordOverflow => ("record_overflow", Other, "a record was too long for it"),
        Alert::DecompressionFailure => ("decompression_failure", Other, "it could not decompress"),
        Alert::IllegalParameter => ("illegal_parameter", Other, "a field was out of range for it"),
        Alert::DecodeError => ("decode_error", Other, "it could not read a message"),
        Alert::ExportRestriction => ("export_restriction", Other, "export rules of long ago"),
        Alert::NoRenegotiation => ("no_renegotiation", Other, "it does not renegotiate"),
        Alert::MissingExtension => ("missing_extension", Other, "it misses an extension"),
        Alert::UnsupportedExtension => {
            ("unsupported_extension", Other, "it does not know an extension")
        }
        Alert::BadCertificateStatusResponse => {
            ("bad_certificate_status_response", Other, "a certificate's status was unreadable")
        }
        Alert::UnknownPSKIdentity => {
            ("unknown_psk_identity", Other, "it does not know the session")
        }
        Alert::EncryptedClientHelloRequired => {
            ("ech_required", Other, "it wants an encrypted hello")
        }
        _ => ("an unknown alert", Other, "no meaning is known"),
    }
}

fn failure(what: String) -> Failure {
    Failure::new(Stage::Tls, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use rcgen::{PKCS_ECDSA_P256_SHA256, date_time_ymd};
    use rustls::ServerConfig;

    use super::*;
    use crate::tls::{
        Settings, load,
        pki::{Ca, Folder, HOST, Leaf, explained, server},
    };

    /// What is said when a server that demands certificates of `clients` gets this one.
    async fn of_client(leaf: Option<&Leaf>, clients: &Ca) -> Failure {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let identity = leaf.map(|leaf| folder.identity(leaf));
        let tls = load(&Settings { identity, ..folder.trusting(&ca) }).await.unwrap();
        explained(&tls, server(&ca.leaf(HOST), Some(clients))).await
    }

    /// The same server with TLS 1.2 alone.
    fn old(config: ServerConfig) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(Arc::clone(config.crypto_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap();
        builder.with_no_client_auth().with_cert_resolver(config.cert_resolver)
    }

    fn hint(failure: &Failure) -> &str {
        assert_eq!(failure.stage(), Stage::Tls);
        failure.next_step().unwrap()
    }

    #[tokio::test]
    async fn a_missing_client_certificate_is_demanded_by_the_upstream() {
        let failure = of_client(None, &Ca::new("clients")).await;
        assert_eq!(
            failure.what(),
            "the upstream upstream.example demands a client certificate and none is configured \
             (certificate_required)"
        );
        assert!(hint(&failure).contains("--cert FILE and --key FILE"));
    }

    #[tokio::test]
    async fn a_refused_client_certificate_is_named_with_the_reason() {
        let [clients, other] = ["clients", "other"].map(Ca::new);
        let failure = of_client(Some(&other.leaf("agent")), &clients).await;
        let what = failure.what();
        assert!(
            what.starts_with(
                "the upstream upstream.example refused our client certificate (CN=agent, valid \
                 until "
            ),
            "{what}"
        );
        assert!(what.ends_with("unknown_ca, it does not know the CA that issued it"), "{what}");
        assert!(hint(&failure).contains("client.pem (--cert)"));

        let expired = clients.leaf_of(&PKCS_ECDSA_P256_SHA256, "agent", |params| {
            params.not_after = date_time_ymd(2020, 2, 3);
        });
        let failure = of_client(Some(&expired), &clients).await;
        assert!(failure.what().contains("(CN=agent, expired on 2020-02-03, "), "{failure}");
        assert!(hint(&failure).starts_with("renew the certificate in "));
    }

    #[tokio::test]
    async fn no_version_in_common_names_the_flag() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let settings = Settings { minimum: Minimum::Tls13, ..folder.trusting(&ca) };
        let tls = load(&settings).await.unwrap();
        let failure = explained(&tls, old(server(&ca.leaf(HOST), None))).await;
        assert!(failure.what().contains("(protocol_version): no version in common"), "{failure}");
        assert!(hint(&failure).contains("--tls-min 1.2"));
    }

    #[tokio::test]
    async fn only_refusals_of_the_handshake_prove_that_nothing_was_read() {
        let refused = |alert| Tls::is_identity_refused(&Error::AlertReceived(alert));
        assert!(refused(Alert::CertificateRequired));
        assert!(refused(Alert::UnknownCA));
        assert!(refused(Alert::HandshakeFailure));
        assert!(!refused(Alert::InternalError));
        assert!(!refused(Alert::BadRecordMac));
        assert!(!Tls::is_identity_refused(&Error::DecryptError));
    }

    #[tokio::test]
    async fn every_alert_names_the_upstream_and_itself() {
        let (folder, ca) = (Folder::new(), Ca::new("ca"));
        let identity = Some(folder.identity(&ca.leaf("agent")));
        let with = Settings { identity, ..folder.trusting(&ca) };
        for settings in [with, folder.trusting(&ca)] {
            let tls = load(&settings).await.unwrap();
            for code in 0..=u8::MAX {
                let alert = Alert::from(code);
                let failure = tls.explain(&Error::AlertReceived(alert), HOST);
                assert!(failure.what().contains("the upstream upstream.example "), "{failure}");
                assert!(failure.what().contains(meaning(alert).0), "{failure}");
            }
        }
    }
}
