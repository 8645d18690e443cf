//! A child process driven over its standard streams: one writer, one reader, nothing blocking.

use std::process::Stdio;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::Outcome;

/// More than a pipe holds.
const READ: usize = 256 * 1024;
/// What is looked at of a line.
const HEAD: usize = 240;

/// Waits, in a child, until its parent has closed its stdin or is gone.
pub(crate) async fn released() {
    let mut nothing = [0];
    let _ = tokio::io::stdin().read(&mut nothing).await;
}

/// A child, killed when it is dropped.
pub(crate) struct Pipe {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    buffer: Box<[u8]>,
    /// The start of the line that is being read.
    head: Vec<u8>,
}

impl Pipe {
    /// Starts `command`.
    pub(crate) fn spawn(mut command: Command) -> Outcome<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{command:?} did not start: {error}"))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the child has no pipes".into());
        };
        let buffer = vec![0; READ].into_boxed_slice();
        Ok(Self { child, stdin, stdout, buffer, head: Vec::with_capacity(HEAD) })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> Outcome<u32> {
        self.child.id().ok_or_else(|| "the child has ended".into())
    }

    /// Writes one message, in one write.
    pub(crate) async fn send(&mut self, mut message: String) -> Outcome<()> {
        message.push('\n');
        Ok(self.stdin.write_all(message.as_bytes()).await?)
    }

    /// Reads once, and says how many responses ended in that. May be dropped and called again.
    pub(crate) async fn responses(&mut self) -> Outcome<usize> {
        let read = self.stdout.read(&mut self.buffer).await?;
        if read == 0 {
            return Err("the child closed its output".into());
        }
        let mut rest = &self.buffer[..read];
        let mut responses = 0;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            keep(&mut self.head, &rest[..end]);
            responses += usize::from(is_response(&self.head)?);
            self.head.clear();
            rest = &rest[end + 1..];
        }
        keep(&mut self.head, rest);
        Ok(responses)
    }

    /// Reads until a response has ended.
    pub(crate) async fn response(&mut self) -> Outcome<()> {
        while self.responses().await? == 0 {}
        Ok(())
    }

    /// The first line, of a child that says no more.
    pub(crate) async fn first_line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        while !line.ends_with('\n') {
            let read = self.stdout.read(&mut self.buffer).await?;
            if read == 0 {
                return Err("the child ended before its first line".into());
            }
            line.push_str(std::str::from_utf8(&self.buffer[..read])?);
        }
        Ok(line.trim().to_owned())
    }

    /// Closes its input and waits for its end.
    pub(crate) async fn close(self) -> Outcome<()> {
        let Self { mut child, stdin, stdout, .. } = self;
        drop((stdin, stdout));
        child.wait().await?;
        Ok(())
    }
}

fn keep(head: &mut Vec<u8>, line: &[u8]) {
    let room = HEAD.saturating_sub(head.len());
    head.extend_from_slice(&line[..line.len().min(room)]);
}

/// A figure made of errors would be a fine one: they end the run.
fn is_response(head: &[u8]) -> Outcome<bool> {
    if memchr::memmem::find(head, br#""error":"#).is_some() {
        return Err(format!("an error came back: {}", String::from_utf8_lossy(head)).into());
    }
    Ok(memchr::memmem::find(head, br#""method":"#).is_none())
}
