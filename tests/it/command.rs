//! The command as people write it: the documented configuration, where the URL comes from, what a
//! configuration that does not hold is told, what is said on standard error; and the commands
//! besides the bridge.

mod configuration;
mod diagnostics;
mod env_file;
mod exec;
mod headers;
mod url;
mod wrapper;
