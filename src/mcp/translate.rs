//! Between the eras: each translator stands on the client side of a machine of the other era, and
//! speaks that of the client.
//!
//! What passes through is edited in its place and never written anew; what it does not understand
//! passes unchanged.

pub mod backward;
