//! TLS, seen from both ends: who the upstream takes us for, whom we take for the upstream, what is
//! said when one of the two refuses, and what a rotation changes under a session that goes on.

mod connection;
mod identity;
mod keys;
mod refusal;
mod renewal;
mod rotation;
mod trust;
