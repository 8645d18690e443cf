//! Programs that behave and such that do not: what they gave, and that nothing is left of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{path::Path, time::Instant};

use super::*;

fn shell(script: &str) -> Program {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    Program::new("the program", argv, 64 * 1024)
}

/// A program that gets the file for its ids as `$0`.
fn with_file(script: &str, file: &Path) -> Program {
    let argv = ["sh".into(), "-c".into(), script.into(), file.display().to_string()];
    Program::new("the program", argv.to_vec(), 64 * 1024)
}

async fn print(program: &Program) -> Result<String, Error> {
    let output = program.run(|_| Vec::new()).await?;
    Ok(String::from_utf8(output.to_vec()).unwrap())
}

/// The ids a script wrote, one a line, once there are `count`.
async fn pids(file: &Path, count: usize) -> Vec<u32> {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.lines().count() == count && text.ends_with('\n') {
            return text.lines().map(|line| line.parse().unwrap()).collect();
        }
        assert!(Instant::now() < patience, "the script has not started: {text:?}");
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until none of the processes runs; one that nobody has waited for yet is gone too.
fn assert_gone(pids: &[u32]) {
    let patience = Instant::now() + Duration::from_secs(20);
    for pid in pids {
        while runs(*pid) {
            assert!(Instant::now() < patience, "process {pid} was left behind");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn runs(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit_once(") ").unwrap().1.starts_with('Z'),
        Err(_) if Path::new("/proc/self/stat").exists() => false,
        Err(_) => {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            rustix::process::test_kill_process(pid).is_ok()
        }
    }
}

const SLEEPERS: &str = "sleep 600 & echo $! >>\"$0\"; echo $$ >>\"$0\"; sleep 600";

#[tokio::test]
async fn it_is_given_no_stdin_and_its_own_variables() {
    assert_eq!(print(&shell("cat")).await.unwrap(), "");
    let given = shell("printf %s \"$COUNTERSIGN_GIVEN $HOME\"").env("COUNTERSIGN_GIVEN", "x");
    assert!(print(&given).await.unwrap().starts_with("x /"), "and those that we have");
    environment::withhold("CARGO_PKG_DESCRIPTION");
    assert_eq!(print(&shell("printf %s \"$CARGO_PKG_DESCRIPTION\"")).await.unwrap(), "");
}

#[tokio::test]
async fn one_that_is_not_there_says_where_it_was_looked_for() {
    let missing = Program::new("the program", vec!["/no/such".to_owned()], 1);
    let error = print(&missing).await.unwrap_err();
    assert!(error.hint().unwrap().contains("full path"), "{error}");
}

#[tokio::test]
async fn what_it_leaves_running_is_killed_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in [
        ("all", "sleep 600 & echo $! >\"$0\"; printf canary"),
        ("stderr", "sleep 600 >&- & echo $! >\"$0\"; printf canary"),
        ("none", "sleep 600 >&- 2>&- & echo $! >\"$0\"; printf canary"),
        ("ignoring", "trap '' TERM HUP; sleep 600 & echo $! >\"$0\"; printf canary"),
    ] {
        let file = folder.path().join(name);
        let started = Instant::now();
        assert_eq!(print(&with_file(script, &file)).await.unwrap(), "canary", "{name}");
        assert!(started.elapsed() < DEADLINE / 2, "{name}");
        assert_gone(&pids(&file, 1).await);
    }
}

#[tokio::test]
async fn what_floods_its_output_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let flooding = with_file("echo $$ >\"$0\"; while :; do echo canary; done", &file);
    let error = print(&flooding).await.unwrap_err();
    assert_eq!(error.to_string(), "the program printed more than 64 KiB and was killed");
    assert_gone(&pids(&file, 1).await);
}

#[tokio::test]
async fn a_program_that_talks_on_stderr_is_not_held_up() {
    let program = shell("head -c 1000000 /dev/zero >&2; printf canary");
    assert_eq!(print(&program).await.unwrap(), "canary");
}

#[tokio::test]
async fn at_the_deadline_nothing_is_left_of_it_but_its_words() {
    let (log, lines) = crate::secret::tests::capture();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let program = with_file(&format!("echo waiting for a person >&2; {SLEEPERS}"), &file);
    let running = tokio::spawn(async move { print(&program).await });
    let pids = pids(&file, 2).await;
    assert!(pids.iter().all(|pid| runs(*pid)));
    tokio::time::pause();
    tokio::time::advance(DEADLINE).await;
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the program was not done after 10 s and was killed");
    assert_gone(&pids);
    drop(log);
    let lines = lines.lock().unwrap();
    let lines = std::str::from_utf8(&lines).unwrap();
    assert!(lines.contains("waiting for a person"), "{lines}");
}

#[tokio::test]
async fn when_nobody_waits_any_more_nothing_is_left_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let program = with_file(SLEEPERS, &file);
    let running = tokio::spawn(async move { print(&program).await });
    let pids = pids(&file, 2).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_gone(&pids);
}
