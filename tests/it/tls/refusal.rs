//! When one side refuses the other: the client's `initialize` gets an error, within the connect
//! timeout, that names the side and the flag.

use rustls::SupportedProtocolVersion;

use crate::support::{
    pki::{Identity, Pki},
    process::Countersign,
    refusal::Refusal,
    upstream::{Options, Upstream},
};

/// A server refuses a client before the end of the handshake with TLS 1.2, and after it, from the
/// client's side, with TLS 1.3.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// What each version says to a client of this identity, and the upstream was asked nothing.
fn of_client(
    identity: impl Fn(&Pki) -> Option<&Identity>,
    options: impl Fn(Options) -> Options,
) -> [Refusal; 2] {
    VERSIONS.map(|version| {
        let pki = Pki::new();
        let upstream = options(Upstream::options(&pki)).tls(&[version]).start();
        let mut program = Countersign::to(&upstream.url()).cacert(&pki.ca);
        if let Some(identity) = identity(&pki) {
            program = program.identity(identity);
        }
        let refusal = Refusal::of_initialize(&program);
        assert!(upstream.seen().is_empty());
        refusal
    })
}

#[test]
fn a_client_without_a_certificate_is_told_that_one_is_demanded() {
    for refusal in of_client(|_| None, |options| options) {
        let words = ["the upstream 127.0.0.1 demands a client certificate and none is configured"];
        refusal.says("tls", &words, "--cert FILE and --key FILE");
    }
}

#[test]
fn an_expired_certificate_is_told_with_its_date() {
    for refusal in of_client(|pki| Some(&pki.expired), |options| options) {
        let words = [
            "the upstream 127.0.0.1 refused our client certificate",
            "CN=expired, expired on 2021-01-31",
        ];
        refusal.says("tls", &words, "renew the certificate in ");
        assert!(refusal.hint.contains("expired.pem (--cert)"), "{refusal:?}");
    }
}

#[test]
fn a_certificate_that_is_not_yet_valid_is_told_with_its_date() {
    for refusal in of_client(|pki| Some(&pki.early), |options| options) {
        let words = [
            "the upstream 127.0.0.1 refused our client certificate",
            "CN=early, not valid before 2098-01-01",
        ];
        refusal.says("tls", &words, "look at the clock");
        assert!(refusal.hint.contains("early.pem (--cert)"), "{refusal:?}");
    }
}

#[test]
fn a_certificate_of_another_ca_is_told_with_what_the_upstream_wants() {
    for refusal in of_client(|pki| Some(&pki.foreign), |options| options) {
        let words = [
            "the upstream 127.0.0.1 refused our client certificate (CN=foreign, valid until ",
            "it does not know the CA that issued it",
        ];
        refusal.says("tls", &words, "foreign.pem (--cert)");
    }
}

/// The reset may overtake the alert, so the reason is not always known; the flag is.
#[test]
fn an_upstream_that_hangs_up_at_once_still_leaves_a_hint_at_the_certificate() {
    for _ in 0..3 {
        for refusal in of_client(|_| None, Options::refuse_abruptly) {
            refusal.says("tls", &["127.0.0.1"], "--cert");
        }
        for refusal in of_client(|pki| Some(&pki.foreign), Options::refuse_abruptly) {
            refusal.says("tls", &["127.0.0.1"], "--cert");
        }
    }
}

#[test]
fn a_key_that_does_not_fit_is_refused_before_anything_is_sent() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca).identity(&pki.mismatched);
    let words = [
        "mismatched.key (--key) does not fit the certificate in",
        "mismatched.pem (--cert) (CN=client)",
    ];
    Refusal::of_initialize(&program).says("configuration", &words, "--key");
    assert_eq!(upstream.record().connections.len(), 0);
}

#[test]
fn we_refuse_a_server_of_a_ca_that_we_do_not_trust() {
    for version in VERSIONS {
        let pki = Pki::new();
        let upstream = Upstream::options(&pki).tls(&[version]).start();
        let program =
            Countersign::to(&upstream.url()).cacert(&pki.foreign_ca).identity(&pki.client);
        let words = [
            "we refused the certificate of the upstream 127.0.0.1",
            "no CA that we trust issued it",
            "foreign-ca.pem (--cacert)",
        ];
        Refusal::of_initialize(&program).says("tls", &words, "--cacert");
        let refused = upstream.wait("a refusal", |record| record.connections[0].refused.clone());
        assert!(refused.contains("UnknownCA"), "{refused}");
    }
}

#[test]
fn we_refuse_a_server_of_another_name() {
    let pki = Pki::new();
    let server = pki.issue_server("inside", &["inside.example", "gateway.example"]);
    let upstream = Upstream::options(&pki).identity(&server).start();
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca).identity(&pki.client);
    let words = [
        "we refused the certificate of the upstream 127.0.0.1",
        "it is for inside.example, gateway.example, not for 127.0.0.1",
    ];
    Refusal::of_initialize(&program).says("tls", &words, "--server-name");
    assert!(upstream.seen().is_empty());
}

#[test]
fn we_refuse_a_server_whose_key_is_not_pinned() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca).identity(&pki.client);
    let program = program.args(["--pinnedpubkey", &pki.client.pin()]);
    let words = [
        "we refused the certificate of the upstream 127.0.0.1",
        &format!("its key is {}, which is none of the pinned ones", pki.server.pin()),
    ];
    Refusal::of_initialize(&program).says("tls", &words, "--pinnedpubkey");
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_server_of_tls_1_2_is_refused_where_1_3_is_the_least() {
    let pki = Pki::new();
    let upstream = Upstream::options(&pki).tls(&[&rustls::version::TLS12]).start();
    let program = Countersign::to(&upstream.url()).cacert(&pki.ca).identity(&pki.client);
    let words = ["the upstream 127.0.0.1", "version"];
    let strict = program.args(["--tls-min", "1.3"]);
    Refusal::of_initialize(&strict).says("tls", &words, "--tls-min 1.2");
    assert!(upstream.seen().is_empty());
}
