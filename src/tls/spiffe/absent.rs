//! A build without the client of the Workload API: to ask for it is an error that says so.

use super::Settings;
use crate::{
    failure::{Failure, Stage},
    tls::{files::Contents, server_id::SpiffeId},
};

/// There is none in this build.
pub(in crate::tls) enum Agent {}

impl Agent {
    pub(in crate::tls) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let what =
            format!("this build has no SPIFFE Workload API, for {} (--spiffe)", settings.endpoint);
        Err(Failure::new(Stage::Configuration, what).hint(
            "build it with cargo install --features spiffe, or let spiffe-helper write the files \
             and name them with --cert, --key and --cacert",
        ))
    }

    pub(in crate::tls) fn contents(&self, _: Option<&SpiffeId>) -> Result<Contents, Failure> {
        match *self {}
    }

    pub(in crate::tls) async fn changed(&mut self) {
        match *self {}
    }
}
