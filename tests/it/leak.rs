//! No secret leaves but to its upstream. A canary in each kind of secret, every failure provoked
//! with the canary echoed back at us, everything logged: it is found upstream and nowhere else.
//!
//! Out of scope: what the server itself says under the request's own id, result or error, which
//! passes byte for byte.

mod canary;
mod credentials;
mod failures;
mod passphrase;
mod proxy;
mod references;

use self::canary::Canary;
use crate::support::process::Countersign;

/// Both ways of writing the log.
const FORMATS: [&str; 2] = ["text", "json"];

/// The program with all that can be logged.
fn loud(program: Countersign, format: &str) -> Countersign {
    program.args(["-vvv", "--debug", "--log-format", format])
}
