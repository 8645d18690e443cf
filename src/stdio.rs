//! The three standard streams, without blocking and without a thread.
//!
//! The streams are shared with the process that started us, so their flags are left alone where
//! the system allows it: a pipe is opened anew through `/proc`, a socket is written with
//! `MSG_DONTWAIT`, and reading asks `poll` first. Reading by readiness on the one thread saves
//! two wake-ups a call against a reading thread (docs/BENCHMARKS.md).

#[cfg(not(unix))]
mod portable;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub use self::portable::{Input, Output, last_words};
#[cfg(unix)]
pub use self::unix::{Input, Output, give_back, last_words};

/// How much is read at a time.
const CHUNK: usize = 64 * 1024;
