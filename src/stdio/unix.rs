//! The standard streams by readiness. See the parent module.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::BytesMut;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, open},
    io::{Errno, fcntl_dupfd_cloexec, ioctl_fionread, writev},
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};
use tokio::io::{AsyncReadExt as _, Interest, unix::AsyncFd};

use super::CHUNK;

/// The pause before a descriptor without readiness is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// Standard input.
#[derive(Debug)]
pub struct Input(Source);

#[derive(Debug)]
enum Source {
    Ready { fd: AsyncFd<OwnedFd>, kind: FileType, chunk: Vec<u8> },
    Blocking(tokio::io::Stdin),
}

impl Input {
    /// Standard input: pipe, socket or terminal by readiness; a file through a pool thread.
    ///
    /// Must be called within the runtime.
    #[must_use]
    pub fn stdin() -> Self {
        let ready = duplicate(&io::stdin()).and_then(Self::of);
        ready.unwrap_or_else(|_| Self(Source::Blocking(tokio::io::stdin())))
    }

    /// The reading end of a pipe or socket. Must be called within the runtime.
    ///
    /// # Errors
    /// When it has no readiness, as a regular file.
    pub fn of(fd: OwnedFd) -> io::Result<Self> {
        let kind = kind_of(&fd);
        let fd = watched(fd, Interest::READABLE)?;
        Ok(Self(Source::Ready { fd, kind, chunk: Vec::with_capacity(CHUNK) }))
    }

    /// Appends what is there to `buffer`, at most 64 KiB at a time; 0 at the end.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match &mut self.0 {
            Source::Blocking(stdin) => {
                buffer.reserve(CHUNK);
                stdin.read_buf(buffer).await
            }
            Source::Ready { fd, kind, chunk } => {
                read_ready(fd, *kind, chunk).await?;
                buffer.extend_from_slice(chunk);
                Ok(chunk.len())
            }
        }
    }
}

async fn read_ready(fd: &AsyncFd<OwnedFd>, kind: FileType, chunk: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut guard = fd.readable().await?;
        // Readiness may be stale, and the descriptor is a blocking one.
        if !readable_now(fd.get_ref())? {
            guard.clear_ready();
            continue;
        }
        chunk.clear();
        match rustix::io::read(fd.get_ref(), rustix::buffer::spare_capacity(chunk)) {
            Ok(_) => {}
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(error) => return Err(error.into()),
        }
        // A short read has emptied a pipe or a socket; a terminal gives a line at a time.
        let emptied = matches!(kind, FileType::Fifo | FileType::Socket);
        if emptied && !chunk.is_empty() && chunk.len() < chunk.capacity() {
            guard.clear_ready();
        }
        return Ok(());
    }
}

fn readable_now(fd: &impl AsFd) -> io::Result<bool> {
    let mut asked = [PollFd::new(fd, PollFlags::IN)];
    match poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn kind_of(fd: &impl AsFd) -> FileType {
    fstat(fd).map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}

/// Standard output or standard error.
#[derive(Debug)]
pub struct Output {
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    /// A pipe, opened anew as non-blocking.
    Pipe(AsyncFd<OwnedFd>),
    /// A terminal, likewise.
    Terminal(AsyncFd<OwnedFd>),
    Socket(AsyncFd<OwnedFd>),
    /// A file: written in place.
    Plain(OwnedFd),
    /// Nothing was inherited.
    Closed,
}

impl Output {
    /// Standard output. Must be called within the runtime.
    #[must_use]
    pub fn stdout() -> Self {
        Self { sink: Sink::new(&io::stdout(), 1) }
    }

    /// Standard error. Must be called within the runtime.
    #[must_use]
    pub fn stderr() -> Self {
        Self { sink: Sink::new(&io::stderr(), 2) }
    }

    /// The writing end of a socket. Must be called within the runtime.
    ///
    /// # Errors
    /// When it can't be watched.
    pub fn socket(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { sink: Sink::Socket(writable(fd)?) })
    }

    /// Writes as much of `parts` as there is room for.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `BrokenPipe` when the reader is gone.
    pub fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let result = match &self.sink {
                Sink::Pipe(fd) | Sink::Terminal(fd) => writev(fd, parts),
                Sink::Plain(fd) => writev(fd, parts),
                Sink::Socket(fd) => {
                    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                    sendmsg(fd, parts, &mut SendAncillaryBuffer::default(), flags)
                }
                Sink::Closed => Err(Errno::PIPE),
            };
            match result {
                Err(Errno::INTR) => {}
                // A peer that reset its socket has gone like one that closed its pipe.
                Err(Errno::CONNRESET | Errno::NOTCONN) => return Err(Errno::PIPE.into()),
                other => return Ok(other?),
            }
        }
    }

    /// Waits until there may be room again.
    ///
    /// # Errors
    /// Those of the runtime's driver.
    pub async fn writable(&self) -> io::Result<()> {
        match &self.sink {
            Sink::Pipe(fd) | Sink::Terminal(fd) | Sink::Socket(fd) => {
                let mut guard = fd.writable().await?;
                // The next attempt decides; edges that come from here on are news.
                guard.clear_ready();
                Ok(())
            }
            Sink::Plain(_) | Sink::Closed => {
                // Without readiness there is only time.
                tokio::time::sleep(RETRY).await;
                Ok(())
            }
        }
    }

    /// Whether the reader has yet to read some of what was written; none where that can't be
    /// known.
    #[must_use]
    pub fn unread(&self) -> Option<bool> {
        match &self.sink {
            Sink::Pipe(fd) => ioctl_fionread(fd).ok().map(|bytes| bytes > 0),
            Sink::Terminal(_) | Sink::Socket(_) | Sink::Plain(_) | Sink::Closed => None,
        }
    }
}

impl Sink {
    fn new(stream: &impl AsFd, number: i32) -> Self {
        let sink = match kind_of(stream) {
            FileType::Fifo => reopened(stream, number).and_then(writable).map(Self::Pipe),
            FileType::Socket => duplicate(stream).and_then(writable).map(Self::Socket),
            FileType::CharacterDevice => reopened(stream, number)
                .and_then(writable)
                .map(Self::Terminal)
                // /dev/null has no readiness.
                .or_else(|_| duplicate(stream).map(Self::Plain)),
            _ => duplicate(stream).map(Self::Plain),
        };
        sink.unwrap_or(Self::Closed)
    }
}

/// A descriptor of its own for the same pipe, so that the flags of the shared one stay. Where
/// there is no `/proc`, the flag is set on the shared one after all.
fn reopened(stream: &impl AsFd, number: i32) -> io::Result<OwnedFd> {
    let path = PathBuf::from(format!("/proc/self/fd/{number}"));
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    if let Ok(fd) = open(path, flags, Mode::empty()) {
        return Ok(fd);
    }
    fcntl_setfl(stream, fcntl_getfl(stream)? | OFlags::NONBLOCK)?;
    duplicate(stream)
}

/// Takes back what [`Output::stderr`] had to change in the descriptor that we share, for a program
/// that takes this process's place.
pub fn give_back() {
    if !Path::new("/proc/self/fd").exists()
        && let Ok(flags) = fcntl_getfl(io::stderr())
    {
        // It fails where it is closed, and then nobody misses it.
        let _ = fcntl_setfl(io::stderr(), flags - OFlags::NONBLOCK);
    }
}

/// Writes a few words to standard error if there is room for them now; from any thread, runtime or
/// not.
pub fn last_words(text: &str) {
    let stderr = io::stderr();
    let mut asked = [PollFd::new(&stderr, PollFlags::OUT)];
    // A pipe that is ready takes as much as PIPE_BUF (pipe(7)) without waiting.
    if poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
        // Nobody is left to be told if this fails.
        let _ = rustix::io::write(&stderr, text.as_bytes());
    }
}

fn duplicate(stream: &impl AsFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(stream, 3)?)
}

fn writable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    watched(fd, Interest::WRITABLE)
}

#[expect(
    deprecated,
    reason = "its unsafe successor asks that the descriptor stay open and the same while it is \
              watched; it is owned"
)]
fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
