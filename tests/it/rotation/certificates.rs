//! The client certificate: the upstream trusts another CA from a moment on, and ends the connections
//! that were made before.

use std::fs;

use super::Rotation;
use crate::{
    support::{jsonrpc::Client, pki::Pki, upstream::Upstream},
    tls::pkcs12,
};

#[test]
fn a_certificate_and_its_key() {
    for http in ["1.1", "2"] {
        let (pki, next) = (Pki::new(), Pki::new());
        let upstream = Upstream::mutual(&pki);
        let second = next.issue_client("second");
        let program = Client::bridge(&pki, &upstream).args(["-v", "--http", http]);
        let mut rotation = Rotation::start(upstream, &program);
        let replace = |rotation: &Rotation| {
            pki.client.overwrite(&second);
            rotation.upstream.rotate(&pki.server, &next.ca);
        };
        rotation.survives(401, replace, |seen| seen.client.as_deref() == Some("CN=second"));
        rotation.keeps_the_last_good_one("the ones before stay", || {
            fs::write(&pki.client.key, "no key").unwrap();
        });
        rotation.finish();
    }
}

#[test]
fn a_pkcs12_file() {
    for http in ["1.1", "2"] {
        let (pki, next) = (Pki::new(), Pki::new());
        let upstream = Upstream::mutual(&pki);
        let file = pkcs12::pack(&pki, &pki.client, pkcs12::PASSPHRASE, &[]);
        let second = pkcs12::pack(&next, &next.issue_client("second"), pkcs12::PASSPHRASE, &[]);
        let second = fs::read(second).unwrap();
        let program = pkcs12::with(&pki, &upstream, &file).args(["-v", "--http", http]);
        let mut rotation = Rotation::start(upstream, &program);
        let replace = |rotation: &Rotation| {
            fs::write(&file, &second).unwrap();
            rotation.upstream.rotate(&pki.server, &next.ca);
        };
        rotation.survives(401, replace, |seen| seen.client.as_deref() == Some("CN=second"));
        rotation.keeps_the_last_good_one("the ones before stay", || {
            fs::write(&file, &second[..second.len() / 2]).unwrap();
        });
        rotation.finish();
    }
}
