//! The identity that a SPIFFE agent gives: a new one of a new CA is pushed, and the upstream moves to
//! that CA with both its ends. `tests/spiffe/run` runs this.

use super::Rotation;
use crate::{
    support::{
        agent::Agent,
        pki::Pki,
        process::Countersign,
        upstream::{Seen, Upstream},
    },
    tls::rotation::{KEPT, RELOADED},
};

#[test]
fn an_svid_of_a_new_ca() {
    for http in ["1.1", "2"] {
        let (pki, next) = (Pki::new(), Pki::new());
        let agent = Agent::start(pki.path(), &pki.issue_svid("first"), &[&pki.ca]);
        let upstream = Upstream::mutual(&pki);
        let program = Countersign::to(&upstream.url()).args(["--spiffe", &agent.endpoint()]);
        let mut rotation = Rotation::start(upstream, &program.args(["-v", "--http", http]));
        let second = next.issue_svid("second");
        let both = [&pki.ca, &next.ca];
        let replace = |rotation: &Rotation| {
            rotation.upstream.rotate(&next.server, &next.ca);
            agent.push(&second, &both);
            rotation.client.process.wait_for_stderr(RELOADED);
        };
        let is_new = |seen: &Seen| seen.client.as_deref() == Some("CN=second");
        rotation.survives(401, replace, is_new);
        let half = second.with_key_of(&next.client);
        rotation.keeps_the_last_good_one(KEPT, || agent.push(&half, &both));
        rotation.keeps_the_last_good_one("went away", || drop(agent));
        rotation.finish();
    }
}
