//! A key on a token: its objects are deleted and others take their labels. `tests/pkcs11/run` runs
//! these.

use std::fs;

use rustix::process::Signal;

use super::Rotation;
use crate::{
    support::{
        pki::Pki,
        upstream::{Seen, Upstream},
    },
    tls::{
        pkcs11::{Token, with_key},
        rotation::{KEPT, RELOADED},
    },
};

fn is_second(seen: &Seen) -> bool {
    seen.client.as_deref() == Some("CN=second")
}

#[test]
fn a_key_on_a_token_and_its_certificate_in_a_file() {
    for http in ["1.1", "2"] {
        let (pki, next) = (Pki::new(), Pki::new());
        let (token, upstream) = (Token::new(&pki), Upstream::mutual(&pki));
        token.import(&pki.client, "agent", "01");
        let second = next.issue_client("second");
        let program = with_key(&token, &pki, &upstream, &pki.client.cert, "pkcs11:object=agent");
        let mut rotation = Rotation::start(upstream, &program.args(["-v", "--http", http]));
        let replace = |rotation: &Rotation| {
            token.remove("agent");
            token.import(&second, "agent", "02");
            fs::write(&pki.client.cert, second.cert_pem()).unwrap();
            rotation.upstream.rotate(&pki.server, &next.ca);
        };
        rotation.survives(401, replace, is_second);
        // One look at the token for all.
        rotation.says(RELOADED, 1);
        rotation.keeps_the_last_good_one(KEPT, || {
            fs::write(&pki.client.cert, pki.foreign.cert_pem()).unwrap();
        });
        rotation.finish();
    }
}

#[test]
fn a_token_that_has_both() {
    for http in ["1.1", "2"] {
        let (pki, next) = (Pki::new(), Pki::new());
        let (token, upstream) = (Token::new(&pki), Upstream::mutual(&pki));
        token.import(&pki.client, "agent", "01");
        let second = next.issue_client("second");
        let program = token.bridge(&pki, &upstream).args(["--cert", "pkcs11:object=agent"]);
        let mut rotation = Rotation::start(upstream, &program.args(["-v", "--http", http]));
        let replace = |rotation: &Rotation| {
            token.remove("agent");
            token.import(&second, "agent", "02");
            rotation.upstream.rotate(&pki.server, &next.ca);
            // The only sign that there is, so nobody who is refused has it looked at.
            rotation.client.process.signal(Signal::HUP);
            rotation.client.process.wait_for_stderr(RELOADED);
        };
        rotation.survives(401, replace, is_second);
        let pid = rotation.client.process.pid();
        rotation.keeps_the_last_good_one(KEPT, || {
            token.remove("agent");
            rustix::process::kill_process(pid, Signal::HUP).unwrap();
        });
        rotation.finish();
    }
}
