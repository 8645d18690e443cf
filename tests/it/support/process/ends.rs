//! Stdin, stdout and stderr as pairs of ends: one for the child, one for us.

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use rustix::{
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketFlags, SocketType},
    pty::OpenptFlags,
    termios::{LocalModes, OptionalActions},
};

use super::Front;

/// Both sides of everything.
pub struct Ends {
    pub theirs: Theirs,
    pub ours: Ours,
}

/// What the child gets.
pub struct Theirs {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// What we keep; no stdin if it is a file.
pub struct Ours {
    pub stdin: Option<OwnedFd>,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

impl Ends {
    pub fn new(front: &Front) -> Self {
        let keep = |(theirs, ours)| (theirs, Some(ours));
        let (stdin, our_stdin) = match front {
            Front::Pipes | Front::Packets => keep(pipe()),
            Front::Sockets => keep(sockets()),
            Front::File(path) => (File::open(path).unwrap().into(), None),
            Front::Given(fd) => (fd.try_clone().unwrap(), None),
            Front::Terminal => keep(terminal()),
        };
        let ((our_stdout, stdout), (our_stderr, stderr)) = match front {
            Front::Sockets => (sockets(), sockets()),
            Front::Packets => (packets(), pipe()),
            Front::Pipes | Front::File(_) | Front::Given(_) | Front::Terminal => (pipe(), pipe()),
        };
        Self {
            theirs: Theirs { stdin, stdout, stderr },
            ours: Ours { stdin: our_stdin, stdout: our_stdout, stderr: our_stderr },
        }
    }
}

/// The reading end, the writing end.
fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), writer.into())
}

fn sockets() -> (OwnedFd, OwnedFd) {
    let (one, other) = UnixStream::pair().unwrap();
    (one.into(), other.into())
}

fn packets() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// The terminal, and what types into it; it does not echo, since no one reads that.
fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let typist = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&typist).unwrap();
    rustix::pty::unlockpt(&typist).unwrap();
    let name = rustix::pty::ptsname(&typist, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(name, flags, Mode::empty()).unwrap();
    let mut modes = rustix::termios::tcgetattr(&terminal).unwrap();
    modes.local_modes.remove(LocalModes::ECHO);
    rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &modes).unwrap();
    (terminal, typist)
}
