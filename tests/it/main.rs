//! One test crate: the real binary against a real TLS upstream that can be told to misbehave.
//! A folder a stage of the flow, a file a behaviour; `support` is what they stand on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on panics")]
#![allow(clippy::disallowed_methods, reason = "the bans are for the program")]

mod chaos;
mod command;
mod corpora;
mod credentials;
mod demo;
mod eras;
mod front;
mod house;
mod inbound_tls;
mod leak;
mod operation;
mod packages;
mod rotation;
mod session;
mod sidecar;
mod stateless;
mod streams;
mod support;
mod tls;
mod transports;
