//! Whom we take for the upstream: the roots, the name, the pinned keys.

use serde_json::Value;

use crate::support::{
    jsonrpc::Client, pki::Pki, process::Countersign, refusal::Refusal, upstream::Upstream,
};

/// A session can be had.
#[track_caller]
fn trusts(program: &Countersign) {
    let mut client = Client::start(program);
    client.handshake();
    assert_eq!(client.finish(), [] as [Value; 0]);
}

/// The bridge, trusting no one in particular yet.
fn bridge(pki: &Pki, upstream: &Upstream) -> Countersign {
    Countersign::to(&upstream.url()).identity(&pki.client)
}

#[test]
fn cacert_is_these_roots_and_no_others() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let other =
        || bridge(&pki, &upstream).cacert(&pki.foreign_ca).env("SSL_CERT_FILE", &pki.ca.cert);
    let refusal = Refusal::of_initialize(&other());
    refusal.says("tls", &["we trust", "foreign-ca.pem (--cacert)"], "--system-roots");
    trusts(&other().arg("--system-roots"));
    trusts(&other().cacert(&pki.ca));
}

#[test]
fn the_variables_of_openssl_name_the_systems_roots() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    trusts(&bridge(&pki, &upstream).env("SSL_CERT_FILE", &pki.ca.cert));
    let folder = pki.path().join("certs");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(&pki.ca.cert, folder.join("0c1d2e3f.0")).unwrap();
    trusts(&bridge(&pki, &upstream).env("SSL_CERT_DIR", &folder));

    let other = bridge(&pki, &upstream).env("SSL_CERT_FILE", &pki.foreign_ca.cert);
    let words = ["we refused the certificate of the upstream", "SSL_CERT_FILE or SSL_CERT_DIR"];
    Refusal::of_initialize(&other).says("tls", &words, "--cacert FILE");
}

#[test]
fn a_private_ca_is_unknown_to_the_systems_roots() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let refusal = Refusal::of_initialize(&bridge(&pki, &upstream));
    refusal.says("tls", &["no CA that we trust issued it", "roots"], "--cacert FILE");
}

#[test]
fn roots_that_can_not_be_read_are_refused_before_anything_is_sent() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let missing = bridge(&pki, &upstream).args(["--cacert", "/no/such/ca.pem"]);
    let words = ["/no/such/ca.pem (--cacert)", "there is no such file"];
    Refusal::of_initialize(&missing).says("configuration", &words, "");
    let key = bridge(&pki, &upstream).arg("--cacert").arg(&pki.client.key);
    let words = ["expected certificates in PEM", "client.key (--cacert)", "a private key"];
    Refusal::of_initialize(&key).says("configuration", &words, "");
    assert_eq!(upstream.record().connections.len(), 0);
}

#[test]
fn a_name_replaces_that_of_the_url() {
    let pki = Pki::new();
    let server = pki.issue_server("inside", &["inside.example"]);
    let upstream = Upstream::options(&pki).identity(&server).start();
    let program = bridge(&pki, &upstream).cacert(&pki.ca);
    trusts(&program.args(["--server-name", "inside.example"]));
}

#[test]
fn a_pin_is_one_of_several() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let pins = format!("{};{}", pki.client.pin(), pki.server.pin());
    trusts(&bridge(&pki, &upstream).cacert(&pki.ca).args(["--pinnedpubkey", &pins]));
}

#[test]
fn a_pin_replaces_no_ca() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = bridge(&pki, &upstream).cacert(&pki.foreign_ca);
    let program = program.args(["--pinnedpubkey", &pki.server.pin()]);
    Refusal::of_initialize(&program).says("tls", &["no CA that we trust issued it"], "--cacert");
}
