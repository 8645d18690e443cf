//! An entry of the keyring: stored again under the same name. `tests/keyring/run` starts this within
//! a session that has one.

use super::Rotation;
use crate::{
    credentials::keyring::{bearer, store},
    support::{
        jsonrpc::Client,
        pki::Pki,
        upstream::{Seen, Upstream},
    },
};

#[test]
fn a_token_in_the_keyring() {
    let pki = Pki::new();
    for http in ["1.1", "2"] {
        let upstream = Upstream::mutual(&pki);
        store("loaded", "first");
        let program = Client::bridge(&pki, &upstream).args(["-vv", "--http", http]);
        let mut rotation = Rotation::start(upstream, &bearer(program, "loaded"));
        let is_new = |seen: &Seen| seen.header("authorization") == Some("Bearer second");
        rotation.survives(401, |_| store("loaded", "second"), is_new);
        // Once at the start, and once for all who were refused.
        rotation.says("asking the keyring for", 2);
        rotation.finish();
    }
}
