//! The command as people write it: the documented configuration, where the URL comes from, what a
//! configuration that does not hold is told, and what is said on standard error.

mod configuration;
mod diagnostics;
mod url;
mod wrapper;
