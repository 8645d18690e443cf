//! The Model Context Protocol as the bridge needs it: envelopes, event streams, sessions.
//!
//! Nothing here does IO: bytes and events come in, decisions go out, so every clause of the
//! specification can be tested as a table.

pub mod annotations;
pub mod conversation;
pub mod duplex;
pub mod edit;
pub mod era;
pub mod exchange;
pub mod fault;
mod handshake;
pub mod message;
pub mod metadata;
mod notification;
mod outcome;
pub mod refusal;
pub mod session;
pub mod sse;
pub mod stateless;
pub mod subject;
pub mod translate;
