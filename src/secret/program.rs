//! The running of a program whose output is a secret, or holds some.
//!
//! The program gets our environment without the variables that hold other secrets, no shell, no
//! stdin (ours carries messages), no terminal. It leads a process group of its own, and nothing of
//! it is left when this is over: not at its end, not at the deadline, not when nobody wants the
//! answer any more. Its stdout is never logged; its stderr is, at debug level, unless it repeats a
//! secret.

mod group;
#[cfg(all(test, unix))]
mod tests;

use std::{io, process::Stdio, sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{Either, select, try_join},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};
use zeroize::Zeroizing;

use self::group::Group;
use super::{Error, environment};

/// How long a program may take: a client that starts a server waits for about as long.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// How long to read on once the program has ended: what it left running may hold its streams.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How much of the program's stderr is kept for the log.
const MAXIMUM_NOISE: usize = 4 * 1024;

/// A part of what a program's stderr may not repeat into the log.
pub type Hidden = Zeroizing<Vec<u8>>;

/// A program, and what it is given with every run.
pub struct Program {
    name: String,
    argv: Vec<String>,
    environment: Vec<(&'static str, String)>,
    maximum: usize,
}

impl Program {
    /// The program `argv`, without a shell, of which at most `maximum` bytes of output are read.
    /// Errors and the log call it `name`, as in "the program of command:vault ...".
    #[must_use]
    pub fn new(name: impl Into<String>, argv: Vec<String>, maximum: usize) -> Self {
        Self { name: name.into(), argv, environment: Vec::new(), maximum }
    }

    /// The same with one variable more in its environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// What errors and the log call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs it to its end, or for ten seconds. `hidden` is given what it printed, all or what
    /// there was when it was killed, and says what the log may not show of its stderr.
    ///
    /// # Errors
    ///
    /// It can't be started, fails, prints too much, or is not done in time.
    pub async fn run(
        &self,
        hidden: impl FnOnce(&[u8]) -> Vec<Hidden>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        tracing::debug!("running {}", self.name);
        let mut group = self.start().map_err(|error| self.broken(error))?;
        let mut output = Output::new(self.maximum);
        let mut noise = Zeroizing::new(Vec::with_capacity(MAXIMUM_NOISE));

        let work = self.listen(&mut group, &mut output, &mut noise);
        let ended = timeout(DEADLINE, work).await.unwrap_or_else(|_elapsed| {
            Err(Error::Deadline { program: self.name.clone(), after: DEADLINE })
        });
        let status = match ended {
            Ok(()) => group.end().await.map_err(|error| self.broken(error)),
            Err(error) => {
                // Killed, and not waited for: not even that may take longer than the deadline.
                drop(group);
                Err(error)
            }
        };
        let output = output.finish();
        self.log(&noise, &hidden(&output));
        match status? {
            status if status.success() => Ok(output),
            status => Err(Error::Exit { program: self.name.clone(), status }),
        }
    }

    fn start(&self) -> io::Result<Group> {
        let mut words = self.argv.iter();
        let program = words.next().ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        environment::strip(&mut command);
        command
            .args(words)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Group::start(&mut command)
    }

    /// Reads what the program writes until it has ended, and then for a moment what is still in
    /// its streams.
    async fn listen(
        &self,
        group: &mut Group,
        output: &mut Output,
        noise: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
        let read = async {
            match output.fill(stdout).await {
                Ok(true) => Ok(()),
                Ok(false) => {
                    Err(Error::Flood { program: self.name.clone(), maximum: self.maximum })
                }
                Err(error) => Err(self.broken(error)),
            }
        };
        let streams = std::pin::pin!(try_join(read, keep_beginning(stderr, noise).map(Ok)));
        let ended = std::pin::pin!(group.leader_ended());
        match select(streams, ended).await {
            Either::Left((streams, ended)) => {
                streams?;
                ended.await.map_err(|error| self.broken(error))
            }
            Either::Right((ended, streams)) => {
                ended.map_err(|error| self.broken(error))?;
                match timeout(LAST_WORDS, streams).await {
                    Ok(streams) => streams.map(drop),
                    Err(_elapsed) => Ok(()),
                }
            }
        }
    }

    fn broken(&self, error: io::Error) -> Error {
        Error::Program { program: self.name.clone(), source: Arc::new(error) }
    }

    /// Logs the whole lines of what the program wrote to stderr; a cut one could end in a part of
    /// a secret that no comparison finds.
    fn log(&self, noise: &[u8], hidden: &[Hidden]) {
        let Some(end) = memchr::memrchr(b'\n', noise) else { return };
        let noise = &noise[..end];
        let plain = unescaped(noise);
        let repeats = |part: &Hidden| {
            let part = unescaped(part);
            !part.is_empty() && memchr::memmem::find(&plain, &part).is_some()
        };
        if hidden.iter().any(repeats) {
            tracing::debug!("{} wrote its secret to stderr; not shown", self.name);
        } else {
            tracing::debug!("{} wrote: {:?}", self.name, String::from_utf8_lossy(noise));
        }
    }
}

/// The text without its backslashes: JSON may have one before a slash, a shell before anything.
fn unescaped(text: &[u8]) -> Hidden {
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    plain.extend(text.iter().filter(|byte| **byte != b'\\'));
    plain
}

/// What a program prints.
struct Output {
    /// Room for all there may be, and a byte that shows that there is more: a buffer that grows
    /// leaves copies behind that nobody wipes.
    bytes: Zeroizing<Vec<u8>>,
    length: usize,
}

impl Output {
    fn new(maximum: usize) -> Self {
        Self { bytes: Zeroizing::new(vec![0; maximum + 1]), length: 0 }
    }

    /// Reads to the end; whether that came before the limit.
    async fn fill(&mut self, stdout: Option<impl AsyncRead + Unpin>) -> io::Result<bool> {
        let Some(mut stdout) = stdout else { return Ok(true) };
        while self.length < self.bytes.len() {
            match stdout.read(&mut self.bytes[self.length..]).await? {
                0 => return Ok(true),
                more => self.length += more,
            }
        }
        Ok(false)
    }

    fn finish(mut self) -> Zeroizing<Vec<u8>> {
        // Shortened in place; what is behind the end was never written to.
        self.bytes.truncate(self.length);
        self.bytes
    }
}

/// Reads to the end, so that the program never waits for a reader, and keeps the beginning.
async fn keep_beginning(stderr: Option<impl AsyncRead + Unpin>, noise: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut part = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut part).await {
        let room = MAXIMUM_NOISE - noise.len();
        noise.extend_from_slice(&part[..length.min(room)]);
    }
}
