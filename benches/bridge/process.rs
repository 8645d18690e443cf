//! What the system says of a process, and on which cores it runs.

use std::{fs, str::FromStr};

use crate::Outcome;

/// KiB in memory now.
pub(crate) fn resident(pid: u32) -> Outcome<u64> {
    status(pid, "VmRSS:")
}

/// KiB in memory at most, since it was started.
pub(crate) fn peak(pid: u32) -> Outcome<u64> {
    status(pid, "VmHWM:")
}

/// Its threads.
pub(crate) fn threads(pid: u32) -> Outcome<u64> {
    status(pid, "Threads:")
}

/// Seconds of CPU it has used, its own and the kernel's for it (proc(5), `utime` and `stime`).
pub(crate) fn cpu_seconds(pid: u32) -> Outcome<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold blanks.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2).map(u32::from_str);
    let ticks = ticks.sum::<Result<u32, _>>()?;
    Ok(f64::from(ticks) / 100.0)
}

/// The machine, in a line.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = cpus.lines().filter_map(|line| line.strip_prefix("model name"));
    let models: Vec<&str> = models.map(|rest| rest.trim_start_matches([' ', '\t', ':'])).collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = models.first().unwrap_or(&"an unknown processor");
    format!("{} x {model}, Linux {}", models.len(), kernel.trim())
}

fn status(pid: u32, field: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.ok_or("the system does not say")?.parse()?)
}

/// Everything on one core, this thread and the children it starts, until it is dropped.
pub(crate) struct OneCore(#[cfg(target_os = "linux")] rustix::thread::CpuSet);

#[cfg(target_os = "linux")]
impl OneCore {
    pub(crate) fn pin() -> Outcome<Self> {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let before = sched_getaffinity(None)?;
        let mut one = CpuSet::new();
        one.set((0..CpuSet::MAX_CPU).rfind(|cpu| before.is_set(*cpu)).unwrap_or(0));
        sched_setaffinity(None, &one)?;
        Ok(Self(before))
    }
}

#[cfg(target_os = "linux")]
impl Drop for OneCore {
    fn drop(&mut self) {
        // What was allowed before is allowed again.
        let _ = rustix::thread::sched_setaffinity(None, &self.0);
    }
}

#[cfg(not(target_os = "linux"))]
impl OneCore {
    pub(crate) fn pin() -> Outcome<Self> {
        Err("processes are pinned to a core on Linux only".into())
    }
}
