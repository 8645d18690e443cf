//! countersign: the credential sidecar for the Model Context Protocol.
//!
//! The modules stand in the order in which a message meets them.

pub mod cli;
pub mod config;

pub mod app;
pub mod bridge;
pub mod credentials;
pub mod demo;
pub mod exec;
pub mod headers;
pub mod mcp;
pub mod outbound;
pub mod sidecar;
pub mod tls;
pub mod upstream;

pub mod failure;
pub mod log;
pub mod panic;
pub mod redaction;
pub mod secret;
pub mod service;
pub mod shutdown;
pub mod stdio;
pub mod template;
