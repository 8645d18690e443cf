//! The Model Context Protocol as the bridge needs it: envelopes, event streams, sessions.
//!
//! Nothing here does IO: bytes and events come in, decisions go out, so every clause of the
//! specification can be tested as a table.

pub mod fault;
pub mod message;
pub mod refusal;
pub mod session;
pub mod sse;
pub mod subject;
