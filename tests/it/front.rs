//! The front: what an MCP client on the other end of stdin and stdout sees, whatever it does and
//! however it leaves; asserted from both ends, its own and the upstream's.

mod batches;
mod bytes;
mod configuration;
mod dialogue;
mod leaving;
mod limits;
mod malformed;
mod slow;
mod starting;
mod stdin;
mod stream;
mod writes;
