//! The files of one generation, each read once.
//!
//! Every byte that goes into a generation passes through here, so that its fingerprint covers
//! them all, and the watch that follows compares with what was really loaded. Contents live in
//! memory that is wiped. Nothing here knows what a file means.

use std::{
    collections::HashMap,
    fmt,
    fs::{File, Metadata},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::failure::{Failure, Stage};

/// Enough for every bundle of roots there is; a path such as /dev/zero must not fill the memory.
const LIMIT: u64 = 16 << 20;

/// A file and the flag or variable that named it: `client.pem (--cert)`.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    pub(super) flag: &'static str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.flag)
    }
}

/// What a file held.
pub(super) struct Content {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// The permission bits of what was read, on systems that have them.
    pub(super) mode: Option<u32>,
}

/// What one generation was made of; equal for equal contents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

/// What stands in for files, by the paths that the settings name.
pub type Contents = HashMap<PathBuf, Zeroizing<Vec<u8>>>;

/// Reads the files of one generation and remembers what they were.
#[derive(Default)]
pub(super) struct Files {
    hash: Sha256,
    seen: Vec<Seen>,
    memory: Contents,
    /// Whether there are no files but those in memory.
    memory_alone: bool,
    /// Whether this is not the first time: a pipe has been read, and to open it again would stop the
    /// whole program until someone writes to it.
    again: bool,
}

impl Files {
    /// Files that are not on any disk, and no others.
    pub(super) fn in_memory(contents: Contents) -> Self {
        Self { memory: contents, memory_alone: true, ..Self::default() }
    }

    /// Files on disk, but for those that someone else gives.
    pub(super) fn beside(contents: Contents) -> Self {
        Self { memory: contents, ..Self::default() }
    }

    /// The content of a file; `what` names it in the error ("the client certificate").
    ///
    /// # Errors
    /// At the configuration stage, when it cannot be read or is beyond all measure.
    pub(super) fn read(&mut self, place: Place<'_>, what: &str) -> Result<Content, Failure> {
        if let Some(bytes) = self.memory.get(place.path).cloned() {
            self.add(&bytes);
            return Ok(Content { bytes, mode: None });
        }
        if self.memory_alone {
            return Err(unreadable(place, what, &io::ErrorKind::NotFound.into()));
        }
        if self.again && std::fs::metadata(place.path).is_ok_and(|it| !it.is_file()) {
            return Err(unreadable(place, what, &io::Error::other("a pipe can be read once")));
        }
        let (bytes, metadata) =
            contents(place.path).map_err(|error| unreadable(place, what, &error))?;
        self.add(&bytes);
        // A pipe (`--cert <(command)`) can be read once, so there is nothing to look at later.
        if metadata.is_file() && self.seen.iter().all(|seen| seen.path != place.path) {
            self.seen.push(Seen {
                path: place.path.to_owned(),
                stamp: Stamp::of(&metadata),
                digest: Some(Sha256::digest(&*bytes).into()),
            });
        }
        Ok(Content { bytes, mode: mode(&metadata) })
    }

    /// The same for a generation after the first.
    pub(super) fn again(self) -> Self {
        Self { again: true, ..self }
    }

    /// Takes into the fingerprint what came from elsewhere: the system's roots.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        // The length first, so that no two lists of contents run together.
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }

    /// The fingerprint of all that was read, and the regular files among it.
    pub(super) fn finish(self) -> (Fingerprint, Vec<Seen>) {
        (Fingerprint(self.hash.finalize().into()), self.seen)
    }
}

/// A file as it was last seen.
#[derive(Clone)]
pub(super) struct Seen {
    path: PathBuf,
    stamp: Option<Stamp>,
    /// `None`: it could not be read.
    digest: Option<[u8; 32]>,
}

impl Seen {
    /// True when the file's content is another than when last seen. A file whose metadata stayed
    /// is opened only if `thorough`.
    pub(super) fn changed(&mut self, thorough: bool) -> bool {
        // `metadata` follows links: Kubernetes publishes a rotation by swapping a link to the
        // directory above the file.
        let metadata = std::fs::metadata(&self.path).ok();
        let stamp = metadata.as_ref().and_then(Stamp::of);
        if stamp == self.stamp && !thorough {
            return false;
        }
        // To open what became a pipe would stop the whole program until someone writes to it.
        let digest = metadata
            .filter(Metadata::is_file)
            .and_then(|_| contents(&self.path).ok())
            .map(|(bytes, _)| Sha256::digest(&*bytes).into());
        self.stamp = stamp;
        std::mem::replace(&mut self.digest, digest) != digest
    }
}

/// What changes, in nearly every case, when a file's content does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    #[cfg(unix)]
    inode: (u64, u64),
    length: u64,
    modified: SystemTime,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Option<Self> {
        Some(Self {
            #[cfg(unix)]
            inode: {
                use std::os::unix::fs::MetadataExt as _;
                (metadata.dev(), metadata.ino())
            },
            length: metadata.len(),
            modified: metadata.modified().ok()?,
        })
    }
}

fn contents(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, Metadata)> {
    let file = File::open(path)?;
    // Before the reading: what is written meanwhile is then seen as a change.
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // Room for all of it, so that no half of a key stays behind in a buffer that grew.
    let room = usize::try_from(metadata.len().min(LIMIT)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room.max(64 << 10)));
    if file.take(LIMIT + 1).read_to_end(&mut bytes)? as u64 > LIMIT {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok((bytes, metadata))
}

#[cfg(unix)]
fn mode(metadata: &Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.is_file().then(|| metadata.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn mode(_: &Metadata) -> Option<u32> {
    None
}

fn unreadable(place: Place<'_>, what: &str, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::FileTooLarge => format!("it is larger than {} MiB", LIMIT >> 20),
        _ => error.to_string(),
    };
    let failure = Failure::new(Stage::Configuration, format!("cannot read {what} {place}: {why}"));
    if place.path.starts_with("~") {
        failure.hint("nothing expands ~ here: write the whole path")
    } else if error.kind() == io::ErrorKind::NotFound && place.path.is_relative() {
        failure.hint(format!(
            "a relative path begins at the working directory, which the MCP client chose: \
             give {} the whole path",
            place.flag
        ))
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn seen(path: &Path) -> Seen {
        let mut files = Files::default();
        files.read(Place { path, flag: "--cert" }, "the file").map(drop).unwrap();
        files.finish().1.remove(0)
    }

    #[test]
    fn the_fingerprint_is_that_of_the_contents_in_their_order() {
        let of = |parts: &[&[u8]]| {
            let mut files = Files::default();
            parts.iter().for_each(|part| files.add(part));
            files.finish().0
        };
        assert!(of(&[b"a", b"b"]) == of(&[b"a", b"b"]));
        assert!(of(&[b"a", b"b"]) != of(&[b"ab"]));
        assert!(of(&[b"a", b"b"]) != of(&[b"b", b"a"]));
    }

    #[test]
    fn a_change_is_one_of_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        let mut seen = seen(&path);
        assert!(!seen.changed(true));

        // Written anew, the same: no change, though the metadata says so.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "one").unwrap();
        assert!(!seen.changed(false));

        fs::write(&path, "two").unwrap();
        assert!(seen.changed(true));
        assert!(!seen.changed(true));

        fs::remove_file(&path).unwrap();
        assert!(seen.changed(false));
        assert!(!seen.changed(true));
    }

    #[test]
    #[cfg(unix)]
    fn the_swap_of_a_link_above_the_file_is_a_change() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["1", "2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("tls.crt"), version).unwrap();
        }
        symlink("1", at("..data")).unwrap();
        symlink("..data/tls.crt", at("tls.crt")).unwrap();
        let mut seen = seen(&at("tls.crt"));
        assert!(!seen.changed(false));

        symlink("2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(seen.changed(false));
    }

    #[test]
    fn an_unreadable_file_is_named_with_its_flag() {
        let place = Place { path: Path::new("no/such.pem"), flag: "--cert" };
        let failure = Files::default().read(place, "the client certificate").err().unwrap();
        assert_eq!(
            failure.to_string(),
            "cannot read the client certificate no/such.pem (--cert): there is no such file"
        );
        assert!(failure.next_step().unwrap().contains("--cert the whole path"));
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_read_once_and_not_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        let place = Place { path: &path, flag: "--cert" };
        let failure = Files::default().again().read(place, "the certificate").err().unwrap();
        assert!(failure.what().contains("a pipe can be read once"), "{failure}");
    }
}
