//! A secret in a file, read again when it changes.
//!
//! The content is compared, at most once a second and only when someone asks: a time stamp can
//! be too coarse and an event can miss the swapped symbolic link with which Kubernetes replaces
//! a secret. A file that can't be read keeps the last good value, and is complained of once.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Error, READ_AT_MOST, Reference, Secret};

/// How long a value is handed out before the file is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file's last good value.
pub(super) struct Tracked {
    path: PathBuf,
    value: Arc<Secret>,
    generation: u64,
    looked: Instant,
    failing: bool,
    /// A pipe, as `<(command)` makes one, gives its content once.
    once: bool,
}

impl Tracked {
    /// Reads the file for the first time, and says so when other users can read it as well.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let kind = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
        warn_of_others(path, &kind);
        Ok(Self {
            path: path.to_owned(),
            value: Arc::new(read(path)?),
            generation: 1,
            looked: Instant::now(),
            failing: false,
            once: !kind.is_file(),
        })
    }

    /// The value and its generation, after a look at the file when one is due.
    pub(super) fn current(&mut self) -> (Arc<Secret>, u64) {
        if self.looked.elapsed() >= LOOK_EVERY {
            // What went wrong has been said, and the last good value is the answer.
            let _ = self.look();
        }
        (Arc::clone(&self.value), self.generation)
    }

    /// Looks again because the value of `generation` was refused; whether another is there now.
    pub(super) fn refresh(&mut self, generation: u64) -> Result<bool, Error> {
        if self.generation == generation {
            self.look()?;
        }
        Ok(self.generation != generation)
    }

    fn look(&mut self) -> Result<(), Error> {
        self.looked = Instant::now();
        if self.once {
            return Ok(());
        }
        match read_again(&self.path) {
            Ok(value) => {
                self.failing = false;
                if value != *self.value {
                    tracing::info!(target: "figures", refresh = true);
                    self.value = Arc::new(value);
                    self.generation += 1;
                    tracing::info!("the secret in {} was read again", self.path.display());
                }
                Ok(())
            }
            Err(error) => {
                tracing::info!(target: "figures", refresh = false);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!("{error}; the last value stays in use");
                }
                Err(error)
            }
        }
    }
}

/// Opening a pipe that has taken the file's place would wait for a writer, and with it everyone.
fn read_again(path: &Path) -> Result<Secret, Error> {
    if !std::fs::metadata(path).map_err(|error| unreadable(path, error))?.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    read(path)
}

fn read(path: &Path) -> Result<Secret, Error> {
    let text = contents(path, READ_AT_MOST).map_err(|error| unreadable(path, error))?;
    Secret::from_text(&text, &Reference::File(path.to_owned()))
}

/// What a file with secrets in it holds, its first `at_most` bytes, wiped from memory when dropped.
///
/// # Errors
///
/// What the system says.
pub fn contents(path: &Path, at_most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all there may be: a buffer that grows leaves copies behind that nobody wipes.
    let mut buffer = Zeroizing::new(vec![0; at_most]);
    let mut length = 0;
    let mut file = File::open(path)?;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(length);
    Ok(buffer)
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::File { path: path.to_owned(), source: Arc::new(error) }
}

/// Says so where other users of the machine can read a secret's file.
#[cfg(unix)]
pub fn warn_of_others(path: &Path, kind: &std::fs::Metadata) {
    use std::os::unix::fs::PermissionsExt;

    // The group is left alone: systemd and Kubernetes give secrets to one on purpose.
    let mode = kind.permissions().mode() & 0o7777;
    if kind.is_file() && mode & 0o007 != 0 {
        tracing::warn!(
            "the secret in {} is open to all users of this machine (mode {mode:04o}): chmod o= it",
            path.display()
        );
    }
}

/// Says so where other users of the machine can read a secret's file: not known here.
#[cfg(not(unix))]
pub fn warn_of_others(_path: &Path, _kind: &std::fs::Metadata) {}
