//! The standard streams where there is no readiness for them (Windows): reading on a pool
//! thread, writing in place.

use std::io::{self, IoSlice, Write as _};

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;

use super::CHUNK;

/// Standard input.
#[derive(Debug)]
pub struct Input(tokio::io::Stdin);

impl Input {
    /// Standard input through a pool thread.
    #[must_use]
    pub fn stdin() -> Self {
        Self(tokio::io::stdin())
    }

    /// Appends what is there to `buffer`; 0 at the end.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        buffer.reserve(CHUNK);
        self.0.read_buf(buffer).await
    }
}

/// Standard output or standard error.
#[derive(Debug)]
pub struct Output {
    error: bool,
}

/// Writes a few words to standard error.
pub fn last_words(text: &str) {
    // Nobody is left to be told if this fails.
    let _ = io::stderr().write_all(text.as_bytes());
}

impl Output {
    /// Standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self { error: false }
    }

    /// Standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self { error: true }
    }

    /// Writes what can be written, blocking where the reader is slow.
    ///
    /// # Errors
    /// Those of writing.
    pub fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.error {
            io::stderr().write_vectored(parts)
        } else {
            let mut stdout = io::stdout();
            let written = stdout.write_vectored(parts)?;
            stdout.flush()?;
            Ok(written)
        }
    }

    /// Ready at once: writing blocks here.
    ///
    /// # Errors
    /// Never.
    pub async fn writable(&self) -> io::Result<()> {
        std::future::ready(Ok(())).await
    }

    /// Unknown here.
    #[must_use]
    pub fn unread(&self) -> Option<bool> {
        None
    }
}
