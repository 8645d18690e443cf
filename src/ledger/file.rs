//! One log: a file that lines are added to, or standard output.
//!
//! A line is one call of write(2). A file that stands elsewhere in the meantime is opened again by
//! its name when it is asked for, never by itself: until then lines follow the moved file.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, IoSlice, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    failure::{Failure, Stage},
    stdio::Output,
};

/// Who may read a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Its owner, and the group: those who ship logs.
    Access,
    /// Its owner alone, whatever it was before.
    Audit,
}

/// Where the lines of one log go.
#[derive(Debug)]
pub(super) struct Sink {
    /// Its flag.
    flag: &'static str,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    target: Target,
    /// The last line was not written, and that was said.
    failing: bool,
    /// The last line is there in part.
    torn: bool,
}

enum Target {
    Stdout(Output),
    File { file: File, path: PathBuf, mode: Mode },
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout(_) => f.write_str("Stdout"),
            Self::File { path, .. } => write!(f, "File({})", path.display()),
        }
    }
}

impl Sink {
    /// Standard output: what its reader leaves no room for is lost.
    pub(super) fn stdout() -> Self {
        Self::new("--access-log", Target::Stdout(Output::stdout()))
    }

    /// The end of a file, which is made if it is not there.
    pub(super) fn open(flag: &'static str, path: &Path, mode: Mode) -> Result<Self, Failure> {
        let file = opened(path, mode).map_err(|error| {
            let what = format!("{flag}: {} can't be written to: {error}", path.display());
            Failure::new(Stage::Configuration, what)
                .hint("its folder must be there, and the file must be ours to write")
        })?;
        Ok(Self::new(flag, Target::File { file, path: path.to_owned(), mode }))
    }

    fn new(flag: &'static str, target: Target) -> Self {
        Self { flag, state: Mutex::new(State { target, failing: false, torn: false }) }
    }

    /// Adds a line, its line feed included.
    pub(super) fn write(&self, line: &[u8]) {
        let mut state = self.lock();
        let torn = state.torn;
        let written = match &mut state.target {
            Target::Stdout(output) => output.try_write(&[IoSlice::new(line)]),
            Target::File { file, .. } if torn => {
                // What is there of the line before must not run into this one.
                file.write(b"\n").and_then(|_| file.write(line))
            }
            Target::File { file, .. } => file.write(line),
        };
        state.torn = written.as_ref().is_ok_and(|written| *written < line.len());
        match written {
            Ok(written) if written == line.len() => state.failing = false,
            Ok(_) => self.failed(&mut state, "only a part of it was taken"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.failed(&mut state, "its reader is too slow");
            }
            Err(error) => self.failed(&mut state, &error.to_string()),
        }
    }

    /// Once for each time that it begins to fail.
    fn failed(&self, state: &mut State, why: &str) {
        if !std::mem::replace(&mut state.failing, true) {
            tracing::warn!("{}: a line was lost, and others may be: {why}", self.flag);
        }
    }

    /// Opens the file by its name again; what can't be opened is written to as before.
    pub(super) fn reopen(&self) {
        let mut state = self.lock();
        let Target::File { file, path, mode } = &mut state.target else { return };
        match opened(path, *mode) {
            Ok(opened) => {
                *file = opened;
                state.torn = false;
            }
            Err(error) => tracing::warn!(
                "{}: {} can't be opened again, the file before stays in use: {error}",
                self.flag,
                path.display()
            ),
        }
    }

    /// Nothing that holds the lock panics.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn opened(path: &Path, mode: Mode) -> io::Result<File> {
    let bits = match mode {
        Mode::Access => 0o640,
        Mode::Audit => 0o600,
    };
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(bits)
        // A pipe that nobody reads is an error now, and one that is full must not stop us later.
        .custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default())
        .open(path)?;
    let kind = file.metadata()?;
    if mode == Mode::Audit && kind.is_file() && kind.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(bits))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_opened_again_when_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let sink = Sink::open("--access-log", &path, Mode::Access).unwrap();
        sink.write(b"1\n");
        fs::rename(&path, &moved).unwrap();
        sink.write(b"2\n");
        sink.reopen();
        sink.write(b"3\n");
        assert_eq!(fs::read_to_string(&moved).unwrap(), "1\n2\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
        fs::remove_dir_all(folder.path()).unwrap();
        sink.reopen();
        sink.write(b"4\n");
    }

    #[test]
    fn an_audit_log_that_others_could_read_is_for_its_owner_from_now_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "before\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Sink::open("--audit-log", &path, Mode::Audit).unwrap().write(b"after\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nafter\n");
    }

    #[test]
    fn what_can_not_be_opened_is_said_with_its_flag() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("log");
        let failure = Sink::open("--audit-log", &path, Mode::Audit).unwrap_err();
        assert_eq!(failure.stage(), Stage::Configuration);
        assert!(failure.what().contains("--audit-log: ") && failure.what().contains("none/log"));
        assert!(Sink::open("--audit-log", folder.path(), Mode::Audit).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_ends_nothing() {
        let sink = Sink::open("--access-log", Path::new("/dev/full"), Mode::Access).unwrap();
        sink.write(b"1\n");
        assert!(sink.lock().failing);
        sink.write(b"2\n");
    }
}
