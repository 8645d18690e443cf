//! Between the eras: machines that stand on the client side of another era's machine.
//!
//! What the client says is rewritten into the era of the upstream, and what the upstream says back into
//! the client's. What neither era defines passes as it is, and large results are spliced, not read.

pub mod backward;
pub mod forward;
#[cfg(test)]
mod odd;
