//! What a process says: read by one thread a stream as it comes, kept whole, waited for.

use std::{
    fmt::Write as _,
    fs::File,
    io::{Read, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, poll};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// What was said so far.
#[derive(Default)]
pub struct Said {
    lines: Vec<String>,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    pub stderr: Vec<u8>,
    writes: Option<Vec<Vec<u8>>>,
    stdout_ended: bool,
    stderr_ended: bool,
}

type Shared = Arc<(Mutex<Said>, Condvar)>;

/// The two threads and what they hear.
pub struct Captured {
    said: Shared,
    /// Dropping one makes its thread close its stream; a byte makes one that was held read.
    reading: Mutex<[Option<UnixStream>; 2]>,
}

impl Captured {
    /// Reads both, but `held` only when it is told to; with `records`, every read of stdout is
    /// kept by itself too.
    pub fn start(stdout: OwnedFd, stderr: OwnedFd, records: bool, held: Option<Stream>) -> Self {
        let said = Said { writes: records.then(Vec::new), ..Said::default() };
        let said: Shared = Arc::new((Mutex::new(said), Condvar::new()));
        let reading = [(stdout, Stream::Stdout), (stderr, Stream::Stderr)].map(|(fd, stream)| {
            let (ours, quit) = UnixStream::pair().unwrap();
            let said = Arc::clone(&said);
            let held = held == Some(stream);
            thread::spawn(move || {
                // No byte: it is to be closed, and the loop sees that.
                let _ = held.then(|| (&quit).read(&mut [0]));
                listen(fd, &quit, stream, &said);
            });
            Some(ours)
        });
        Self { said, reading: Mutex::new(reading) }
    }

    /// Reads the stream that was held.
    pub fn read(&self, stream: Stream) {
        let mut reading = self.reading.lock().unwrap();
        reading[usize::from(stream == Stream::Stderr)].as_mut().unwrap().write_all(b".").unwrap();
    }

    /// Closes our end of this stream, and returns when it is closed.
    pub fn close(&self, stream: Stream) {
        self.reading.lock().unwrap()[usize::from(stream == Stream::Stderr)] = None;
        let _ = self.wait(super::DEADLINE, |said| said.ended(stream).then_some(()));
    }

    /// Line number `at` of stdout, none if it ended before; an error at the deadline.
    pub fn line(&self, at: usize, deadline: Duration) -> Result<Option<String>, ()> {
        let line = self.wait(deadline, |said| match said.lines.get(at) {
            Some(line) => Some(Some(line.clone())),
            None => said.stdout_ended.then_some(None),
        });
        line.ok_or(())
    }

    /// Waits until `look` finds something, so long at most.
    pub fn wait<T>(&self, deadline: Duration, look: impl Fn(&Said) -> Option<T>) -> Option<T> {
        let until = Instant::now() + deadline;
        let mut said = self.said.0.lock().unwrap();
        loop {
            if let Some(found) = look(&said) {
                return Some(found);
            }
            let left = until.checked_duration_since(Instant::now())?;
            said = self.said.1.wait_timeout(said, left).unwrap().0;
        }
    }

    /// Waits for the end of both streams: a child that holds one keeps it open.
    pub fn wait_for_ends(&self, deadline: Duration) {
        let _ = self.wait(deadline, |said| (said.stdout_ended && said.stderr_ended).then_some(()));
    }

    /// All of a stream so far.
    pub fn text(&self, stream: Stream) -> String {
        let said = self.said.0.lock().unwrap();
        match stream {
            Stream::Stderr => String::from_utf8_lossy(&said.stderr).into(),
            Stream::Stdout => {
                let mut text: String = said.lines.iter().map(|line| format!("{line}\n")).collect();
                text.push_str(&String::from_utf8_lossy(&said.rest));
                text
            }
        }
    }

    /// Each write to stdout by itself, if they were to be kept.
    pub fn writes(&self) -> Vec<Vec<u8>> {
        self.said.0.lock().unwrap().writes.clone().expect("Front::Packets")
    }

    /// Both streams, long lines cut.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let _ = writeln!(text, "--- {stream:?}");
            for line in self.text(stream).lines() {
                let start: String = line.chars().take(400).collect();
                let more = if start.len() < line.len() { "..." } else { "" };
                let _ = writeln!(text, "{start}{more}");
            }
        }
        text
    }
}

impl Said {
    fn ended(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.stdout_ended,
            Stream::Stderr => self.stderr_ended,
        }
    }

    fn hear(&mut self, stream: Stream, bytes: &[u8]) {
        if stream == Stream::Stderr {
            return self.stderr.extend_from_slice(bytes);
        }
        if let Some(writes) = &mut self.writes {
            writes.push(bytes.to_vec());
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if self.rest.last() == Some(&b'\n') {
                self.rest.pop();
                self.lines.push(String::from_utf8_lossy(&self.rest).into());
                self.rest.clear();
            }
        }
    }
}

/// Reads until the stream ends, or until we are to close it.
fn listen(fd: OwnedFd, quit: &UnixStream, stream: Stream, said: &Shared) {
    let mut file = File::from(fd);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let mut ready =
            [file.as_fd(), quit.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        if poll(&mut ready, None).is_err() || !ready[1].revents().is_empty() {
            break;
        }
        match file.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => said.0.lock().unwrap().hear(stream, &buffer[..read]),
        }
        said.1.notify_all();
    }
    drop(file);
    let mut ended = said.0.lock().unwrap();
    match stream {
        Stream::Stdout => ended.stdout_ended = true,
        Stream::Stderr => ended.stderr_ended = true,
    }
    drop(ended);
    said.1.notify_all();
}
