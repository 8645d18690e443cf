//! Handshakes in memory: who is let in, and who it is then.
#![allow(clippy::unwrap_used)]

use rcgen::{CertificateParams, DistinguishedName, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd};
use rustls::{HandshakeKind, NamedGroup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::tls::{
    Settings as ClientSettings, Tls,
    pki::{Ca, Folder, HOST, Leaf},
};

fn settings(folder: &Folder, ca: &Ca, clients: &[&Ca]) -> Settings {
    let ours = ca.leaf(HOST);
    let pem: String = clients.iter().map(|ca| ca.pem.as_str()).collect();
    let client_ca = folder.write("clients.pem", pem);
    Settings {
        cert: folder.write("listen.pem", &ours.pem),
        key: folder.write("listen.key", ours.key.serialize_pem()),
        client_ca: (!clients.is_empty()).then_some(client_ca),
    }
}

async fn load(settings: &Settings) -> Result<Inbound, Failure> {
    super::load(settings, Files::default()).await
}

async fn client(folder: &Folder, ca: &Ca, leaf: Option<&Leaf>) -> Tls {
    let identity = leaf.map(|leaf| folder.identity(leaf));
    crate::tls::load(&ClientSettings { identity, ..folder.trusting(ca) }).await.unwrap()
}

/// What the two sides know of each other after a byte each way.
async fn meet(
    inbound: &Inbound,
    tls: &Tls,
) -> std::io::Result<(Option<Caller>, NamedGroup, HandshakeKind)> {
    let (near, far) = tokio::io::duplex(64 << 10);
    let serve = async {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&inbound.config));
        let mut stream = acceptor.accept(far).await?;
        let caller = inbound.caller(stream.get_ref().1).map_err(std::io::Error::other)?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.shutdown().await?;
        std::io::Result::Ok(caller)
    };
    let connect = async {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&tls.config));
        let mut stream = connector.connect(HOST.try_into().unwrap(), near).await?;
        stream.write_u8(1).await?;
        stream.read_u8().await?;
        let connection = stream.get_ref().1;
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        std::io::Result::Ok((group, connection.handshake_kind().unwrap()))
    };
    let (caller, agreed) = tokio::join!(serve, connect);
    let (caller, (group, kind)) = (caller?, agreed?);
    Ok((caller, group, kind))
}

fn sans(params: &mut CertificateParams, dns: &[&str], uris: &[&str]) {
    let dns = dns.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
    let uris = uris.iter().map(|name| SanType::URI((*name).try_into().unwrap()));
    params.subject_alt_names = dns.chain(uris).collect();
}

fn named(dns: &[&str], uris: &[&str]) -> Result<Vec<String>, Unnamed> {
    let leaf = Ca::new("ca").leaf_of(&PKCS_ECDSA_P256_SHA256, "agent", |params| {
        sans(params, dns, uris);
    });
    super::names(&X509Certificate::from_der(&leaf.der).unwrap().1)
}

#[tokio::test]
async fn who_shows_a_certificate_of_the_authority_is_let_in_by_its_names() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let inbound = load(&settings(&folder, &ca, &[&ca])).await.unwrap();
    let leaf = ca.leaf_of(&PKCS_ECDSA_P256_SHA256, "agent", |params| {
        sans(params, &["Agent.Example"], &["spiffe://prod/agent"]);
    });
    let (caller, group, _) =
        meet(&inbound, &client(&folder, &ca, Some(&leaf)).await).await.unwrap();
    let caller = caller.unwrap();
    assert_eq!(*caller.names, ["agent.example", "spiffe://prod/agent"]);
    assert!(inbound.admits(&caller) && caller.remaining() > Duration::from_secs(60));
    assert_eq!(group, NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn nobody_else_is() {
    let (folder, ca, foreign) = (Folder::new(), Ca::new("ca"), Ca::new("foreign"));
    let inbound = load(&settings(&folder, &ca, &[&ca])).await.unwrap();
    let old = ca.leaf_of(&PKCS_ECDSA_P256_SHA256, "agent", |params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    for (leaf, words) in [
        (None, "peer sent no certificates"),
        (Some(&foreign.leaf("agent")), "UnknownIssuer"),
        (Some(&old), "expired"),
    ] {
        let error = meet(&inbound, &client(&folder, &ca, leaf).await).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn without_an_authority_nobody_is_asked() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let inbound = load(&settings(&folder, &ca, &[])).await.unwrap();
    let tls = client(&folder, &ca, Some(&ca.leaf("agent"))).await;
    assert!(meet(&inbound, &tls).await.unwrap().0.is_none());
    assert!(!tls.was_asked_for_certificate());
    // There is nothing in a session that could outlive its proof.
    assert_eq!(meet(&inbound, &tls).await.unwrap().2, HandshakeKind::Resumed);
}

#[tokio::test]
async fn a_proof_is_given_anew_in_each_handshake() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let inbound = load(&settings(&folder, &ca, &[&ca])).await.unwrap();
    let tls = client(&folder, &ca, Some(&ca.leaf("agent"))).await;
    for _ in 0..2 {
        assert_eq!(meet(&inbound, &tls).await.unwrap().2, HandshakeKind::Full);
    }
}

#[tokio::test]
async fn a_caller_belongs_here_as_long_as_its_authority_does() {
    let (folder, ca, next) = (Folder::new(), Ca::new("ca"), Ca::new("next"));
    let before = load(&settings(&folder, &ca, &[&ca])).await.unwrap();
    let tls = client(&folder, &ca, Some(&ca.leaf("agent"))).await;
    let caller = meet(&before, &tls).await.unwrap().0.unwrap();
    for (clients, stays) in [(&[&ca, &next][..], true), (&[&next], false), (&[], false)] {
        let after = load(&settings(&folder, &ca, clients)).await.unwrap();
        assert_eq!(after.admits(&caller), stays);
        assert!(after.fingerprint != before.fingerprint);
    }
}

#[test]
fn names_are_in_order_and_the_subject_is_for_want_of_any() {
    let found = named(&["b.example", "a.example", "B.example"], &["spiffe://p/A"]).unwrap();
    assert_eq!(found, ["a.example", "b.example", "spiffe://p/A"]);
    assert_eq!(named(&[], &[]).unwrap(), ["CN=agent"]);
    let nobody = Ca::new("ca").leaf_of(&PKCS_ECDSA_P256_SHA256, "agent", |params| {
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = Vec::new();
    });
    let nobody = X509Certificate::from_der(&nobody.der).unwrap().1;
    assert!(matches!(super::names(&nobody), Err(Unnamed::None)));
}

#[test]
fn one_kind_of_name_is_not_taken_for_the_other() {
    for (dns, uris) in [
        (&["spiffe://prod/admin"][..], &[][..]),
        (&["good.example"], &["admin.example"]),
        (&["two words.example"], &[]),
        (&[], &["spiffe://prod/a\nb"]),
    ] {
        assert!(matches!(named(dns, uris), Err(Unnamed::Broken)), "{dns:?} {uris:?}");
    }
}

#[tokio::test]
async fn what_does_not_hold_is_told_with_the_flags_of_the_listeners() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let good = settings(&folder, &ca, &[&ca]);
    let broken = |name: &str, content: &str| folder.write(name, content);
    let key = std::fs::read_to_string(&good.key).unwrap();
    let sealed = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
    for (settings, what, hint) in [
        (
            Settings { cert: broken("1", &key), ..good.clone() },
            "1 (--listen-cert), found none; this looks like a private key",
            "--listen-cert takes the certificate and --listen-key the key: are they swapped",
        ),
        (
            Settings { key: good.cert.clone(), ..good.clone() },
            "listen.pem (--listen-cert), and no --listen-key is given",
            "name the key's file with --listen-key",
        ),
        (
            Settings { key: broken("2", &ca.leaf("other").key.serialize_pem()), ..good.clone() },
            "2 (--listen-key) does not fit the certificate in",
            "give the --listen-key that --listen-cert was made from",
        ),
        (
            Settings { key: broken("3", sealed), ..good.clone() },
            "3 (--listen-key) is encrypted",
            "openssl pkey -in",
        ),
        (
            Settings { cert: broken("4", "0\u{3}\u{2}\u{1}\u{3}"), ..good.clone() },
            "4 (--listen-cert), found none; this looks like PKCS#12",
            "openssl pkcs12 -in",
        ),
        (
            Settings { client_ca: Some(broken("5", &key)), ..good.clone() },
            "5 (--client-ca), found none",
            "",
        ),
    ] {
        let failure = load(&settings).await.err().unwrap();
        assert!(failure.what().contains(what), "{failure}");
        let said = failure.next_step().unwrap_or_default();
        assert!(said.contains(hint) && !said.contains("--pkcs12"), "{said}");
    }
}
