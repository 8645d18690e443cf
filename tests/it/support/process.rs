//! The real binary as a client starts it: a cleared environment, stdin and stdout of a chosen
//! kind, everything it says captured, killed when the test is over. Writing never blocks a test;
//! reading has a deadline, and what fails shows what the process had said.

mod captured;
mod ends;
mod proc;

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::Write,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

pub use self::captured::Stream;
use self::{captured::Captured, ends::Ends};
use super::pki::{Authority, Identity};

/// How long any wait for the process lasts.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What stdin and stdout are.
#[derive(Clone, Debug, Default)]
pub enum Front {
    /// Pipes.
    #[default]
    Pipes,
    /// Stream sockets, as Node makes them, stderr too.
    Sockets,
    /// Stdout is a socket that keeps records: `Process::writes` are the writes as they were.
    Packets,
    /// Stdin is this file.
    File(PathBuf),
    /// Stdin is this descriptor, whatever it is of.
    Given(Arc<OwnedFd>),
    /// Stdin is a terminal, line by line of at most 4 KiB: `write("\x04")` is its end, while
    /// `close_stdin` hangs up.
    Terminal,
}

/// The program to start.
pub struct Countersign {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    front: Front,
    parent: bool,
    held: Option<Stream>,
}

impl Countersign {
    /// The binary of this crate, without an argument.
    pub fn new() -> Self {
        Self::program(env!("CARGO_BIN_EXE_countersign"))
    }

    /// Another program, or the binary by another name.
    pub fn program(program: impl AsRef<Path>) -> Self {
        Self {
            program: program.as_ref().into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            front: Front::default(),
            parent: false,
            held: None,
        }
    }

    /// The bridge to this URL.
    pub fn to(url: &str) -> Self {
        Self::new().arg(url)
    }

    /// `--cert` and `--key` of this identity.
    pub fn identity(self, identity: &Identity) -> Self {
        self.arg("--cert").arg(&identity.cert).arg("--key").arg(&identity.key)
    }

    /// `--cacert` of this CA.
    pub fn cacert(self, ca: &Authority) -> Self {
        self.arg("--cacert").arg(&ca.cert)
    }

    /// One argument more.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().into());
        self
    }

    /// Arguments more.
    pub fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// One variable in its environment, which holds nothing else.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Stdin and stdout of this kind.
    pub fn front(self, front: Front) -> Self {
        Self { front, ..self }
    }

    /// Starts it under a shell that can be killed alone: `Process::kill_parent`.
    pub fn under_a_parent(self) -> Self {
        Self { parent: true, ..self }
    }

    /// Reads nothing of this stream until `Process::read`.
    pub fn unread(self, stream: Stream) -> Self {
        Self { held: Some(stream), ..self }
    }

    /// Starts it.
    pub fn start(&self) -> Process {
        Process::start(self)
    }

    fn command(&self, pid_file: &Path) -> Command {
        let mut command =
            Command::new(if self.parent { "/bin/sh".as_ref() } else { &*self.program });
        if self.parent {
            // A background command's stdin is /dev/null, so the pipe goes by another number.
            let script = "exec 3<&0; \"$@\" <&3 3<&- & echo $! > \"$PID_FILE\"; wait";
            command.args(["-c", script, "sh"]).arg(&self.program);
        }
        command.args(&self.arguments).env_clear().envs(self.environment.iter().cloned());
        if self.parent {
            command.env("PID_FILE", pid_file);
        }
        command
    }
}

/// The started program.
pub struct Process {
    child: Child,
    pid: Pid,
    started: Instant,
    stdin: Option<mpsc::Sender<Vec<u8>>>,
    captured: Captured,
    taken: usize,
}

impl Process {
    fn start(what: &Countersign) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        let Ends { theirs, ours } = Ends::new(&what.front);
        let mut command = what.command(&pid_file);
        command.stdin(theirs.stdin).stdout(theirs.stdout).stderr(theirs.stderr);
        let started = Instant::now();
        let child = command.spawn().unwrap();
        // The ends that were passed on are closed with it; else no one would ever see the end.
        drop(command);
        let pid = if what.parent {
            proc::wait_for("the parent's child", || {
                fs::read_to_string(&pid_file).ok()?.strip_suffix('\n')?.parse().ok()
            })
        } else {
            i32::try_from(child.id()).unwrap()
        };
        let records = matches!(what.front, Front::Packets);
        Self {
            child,
            pid: Pid::from_raw(pid).unwrap(),
            started,
            stdin: ours.stdin.map(writer),
            captured: Captured::start(ours.stdout, ours.stderr, records, what.held),
            taken: 0,
        }
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Writes to its stdin, sooner or later; bytes for one that is gone are dropped.
    pub fn write(&self, bytes: impl Into<Vec<u8>>) {
        let _ = self.stdin.as_ref().expect("stdin is closed").send(bytes.into());
    }

    /// Closes its stdin, after all that was written.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Reads the stream that was `unread` from now on.
    pub fn read(&self, stream: Stream) {
        self.captured.read(stream);
    }

    /// Closes our end of its stdout: its next write fails.
    pub fn close_stdout(&self) {
        self.captured.close(Stream::Stdout);
    }

    /// Closes our end of its stderr.
    pub fn close_stderr(&self) {
        self.captured.close(Stream::Stderr);
    }

    /// The next line of stdout; none if it ended instead. Panics at the deadline.
    #[track_caller]
    pub fn next_line(&mut self) -> Option<String> {
        match self.captured.line(self.taken, DEADLINE) {
            Ok(line) => {
                self.taken += usize::from(line.is_some());
                line
            }
            Err(()) => panic!("no line within {DEADLINE:?}\n{}", self.transcript()),
        }
    }

    /// The next line, if it is there already.
    pub fn ready_line(&mut self) -> Option<String> {
        let line = self.captured.line(self.taken, Duration::ZERO).ok().flatten();
        self.taken += usize::from(line.is_some());
        line
    }

    /// All of stdout so far.
    pub fn stdout(&self) -> String {
        self.captured.text(Stream::Stdout)
    }

    /// All of stderr so far.
    pub fn stderr(&self) -> String {
        self.captured.text(Stream::Stderr)
    }

    /// Waits until stderr holds this.
    #[track_caller]
    pub fn wait_for_stderr(&self, part: &str) {
        let found = self.captured.wait(DEADLINE, |said| {
            String::from_utf8_lossy(&said.stderr).contains(part).then_some(())
        });
        assert!(found.is_some(), "stderr never said {part:?}\n{}", self.transcript());
    }

    /// With `Front::Packets`: each write to stdout by itself.
    pub fn writes(&self) -> Vec<Vec<u8>> {
        self.captured.writes()
    }

    /// Waits until it ended by itself, and for the rest of what it said.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let until = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.captured.wait_for_ends(DEADLINE);
                return status;
            }
            if Instant::now() > until {
                panic!("still running after {deadline:?}\n{}", self.transcript());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether it still runs, whoever its parent is.
    pub fn is_running(&self) -> bool {
        proc::is_running(self.pid)
    }

    /// Waits until it runs no more, whoever its parent is.
    #[track_caller]
    pub fn wait_gone(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        while self.is_running() {
            assert!(
                Instant::now() < until,
                "still there after {deadline:?}\n{}",
                self.transcript()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid, signal).unwrap();
    }

    /// `kill -9` of the parent it was started under; stdin stays open.
    pub fn kill_parent(&mut self) {
        assert_ne!(i32::try_from(self.child.id()).ok(), Some(self.pid.as_raw_nonzero().get()));
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its memory: resident KiB now.
    pub fn rss(&self) -> u64 {
        proc::status(self.pid, "VmRSS")
    }

    /// Its memory: resident KiB at its peak.
    pub fn peak_rss(&self) -> u64 {
        proc::status(self.pid, "VmHWM")
    }

    /// Its threads.
    pub fn threads(&self) -> u64 {
        proc::status(self.pid, "Threads")
    }

    /// The processor time it has used, to a hundredth of a second.
    pub fn cpu_time(&self) -> Duration {
        proc::cpu_time(self.pid)
    }

    /// The bytes it has read so far, from whatever it reads.
    pub fn bytes_read(&self) -> u64 {
        proc::bytes_read(self.pid)
    }

    /// The command line by which everyone on the machine can see it, as the children it has now.
    pub fn command_lines(&self) -> Vec<u8> {
        let pids = std::iter::once(self.pid).chain(self.children());
        pids.flat_map(proc::command_line).collect()
    }

    /// The variables that the children it has now were started with.
    pub fn environments(&self) -> Vec<u8> {
        self.children().into_iter().flat_map(proc::environment).collect()
    }

    /// The processes whose parent it is.
    pub fn children(&self) -> Vec<Pid> {
        proc::children(self.pid)
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What it said, for a test that failed.
    pub fn transcript(&self) -> String {
        self.captured.transcript()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A pid of someone else's child may be taken by now; its own is until it is waited for.
        let own = i32::try_from(self.child.id()).ok() == Some(self.pid.as_raw_nonzero().get());
        if !own && self.is_running() {
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A thread that writes, so that a full pipe never holds a test.
fn writer(fd: OwnedFd) -> mpsc::Sender<Vec<u8>> {
    let (sender, bytes) = mpsc::channel::<Vec<u8>>();
    thread::spawn(move || {
        let mut file = File::from(fd);
        while let Ok(bytes) = bytes.recv() {
            if file.write_all(&bytes).is_err() {
                break;
            }
        }
    });
    sender
}
