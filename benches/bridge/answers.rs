//! The other end of the limit's pipe: a line in, the prepared answer out, each message in a
//! write of its own, as a server over stdio does it.

use std::{
    fs::File,
    io::{self, BufRead as _, Write as _},
    os::fd::AsFd as _,
};

use crate::{
    Outcome,
    call::{Asked, Call, Era, Prepared},
};

/// Answers the lines of stdin until there are no more.
pub(crate) fn run() -> Outcome<()> {
    let prepared = Prepared::new();
    // Not through the standard library's line buffer.
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut stdin = io::stdin().lock();
    let mut line = String::new();
    while stdin.read_line(&mut line)? > 0 {
        let asked: Asked<'_> = serde_json::from_str(&line)?;
        let id = asked.id().unwrap_or("null");
        let (notices, size) = match asked.call() {
            Call::Progress(n) => (n, 0),
            Call::Json(n) | Call::Event(n) => (0, n),
        };
        for i in 0..notices {
            stdout.write_all(&Prepared::progress(id, (i, notices), ("", "\n")))?;
        }
        for piece in prepared.result(id, size, Era::Legacy, ("", "\n")) {
            stdout.write_all(&piece)?;
        }
        line.clear();
    }
    Ok(())
}
