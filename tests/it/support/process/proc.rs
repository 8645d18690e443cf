//! What the kernel says of a process, from /proc.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::Pid;

/// A number of `/proc/PID/status`.
pub fn status(pid: Pid, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

/// What it has read by `read` and its kin.
pub fn bytes_read(pid: Pid) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", pid.as_raw_nonzero())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap()
}

/// Its arguments, each ended by a null; nothing of one that is gone.
pub fn command_line(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default()
}

/// The file that it runs.
pub fn program(pid: Pid) -> Option<std::path::PathBuf> {
    fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).ok()
}

/// The variables it was started with, each ended by a null; nothing of one that is gone.
pub fn environment(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default()
}

/// The fields of `/proc/PID/stat` after the name, which may hold anything: state, parent...
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(String::from).collect())
}

/// Whether it runs: neither gone nor a zombie that no one has waited for.
pub fn is_running(pid: Pid) -> bool {
    stat(pid.as_raw_nonzero().get()).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X")
}

/// Processor time of all its threads, in the kernel's ticks of 10 ms.
pub fn cpu_time(pid: Pid) -> Duration {
    let fields = stat(pid.as_raw_nonzero().get()).unwrap();
    let ticks: u64 = fields[11..=12].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// The processes whose parent it is.
pub fn children(parent: Pid) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = parent.as_raw_nonzero().to_string();
    pids.filter(|&pid| stat(pid).is_some_and(|fields| fields[1] == parent))
        .filter_map(Pid::from_raw)
        .collect()
}

/// Waits until `look` finds something; the kernel tells no one when it would.
#[track_caller]
pub fn wait_for<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let until = Instant::now() + super::DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} never came");
        thread::sleep(Duration::from_millis(1));
    }
}
