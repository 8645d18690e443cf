//! A secret that a program prints.
//!
//! The program gets our environment and nothing else: no shell, no stdin (ours carries messages),
//! no terminal. It is the leader of a process group of its own, which is killed as a whole at the
//! deadline and when nobody wants the answer any more. Its stdout is the secret and is never
//! logged; its stderr is, at debug level, unless it repeats the secret.

use std::{
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::{Error, MAXIMUM_LENGTH, READ_AT_MOST, Reference, Secret};

/// How long a program may take: a client that starts a server waits for about as long.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// How much of the program's stderr is kept for the log.
const MAXIMUM_NOISE: usize = 4 * 1024;

/// How long to read on stderr once the program is gone; what it left running may hold it open.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// What the program printed the last time: one that fails may name the token that it could not
/// renew.
pub(super) type Last = Arc<Mutex<Option<Secret>>>;

/// Runs the program of a `command:` reference to its end.
///
/// Errors when it can't be started, fails, prints nothing or too much, or is not done in time.
pub(super) async fn run(
    reference: Reference,
    argv: Arc<[String]>,
    last: Last,
) -> Result<Secret, Error> {
    tracing::debug!("running the program of {reference}");
    match timeout(DEADLINE, run_to_end(&reference, &argv, &last)).await {
        Ok(done) => done,
        Err(_elapsed) => Err(Error::Deadline { reference: reference.to_string(), after: DEADLINE }),
    }
}

async fn run_to_end(reference: &Reference, argv: &[String], last: &Last) -> Result<Secret, Error> {
    let mut group = Group::start(reference, argv)?;
    let stderr = group.child.stderr.take();

    // Room for all there may be: a buffer that grows leaves copies behind that nobody wipes.
    let mut output = Zeroizing::new(vec![0; READ_AT_MOST]);
    let mut noise = Zeroizing::new(Vec::with_capacity(MAXIMUM_NOISE));
    let ended = {
        let work = std::pin::pin!(group.output(reference, &mut output));
        let listen = std::pin::pin!(listen(stderr, &mut noise));
        match select(work, listen).await {
            Either::Left((ended, listen)) => {
                // Only the log is the poorer for what is said later.
                let _ = timeout(LAST_WORDS, listen).await;
                ended
            }
            Either::Right(((), work)) => work.await,
        }
    };
    let (length, status) = ended?;
    let output = &output[..length];
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    log_noise(reference, &noise, [output, last.as_ref().map_or(b"", Secret::expose)]);
    if !status.success() {
        return Err(Error::Exit { reference: reference.to_string(), status });
    }
    let secret = Secret::from_text(output, reference)?;
    *last = Some(Secret::new(secret.expose()));
    Ok(secret)
}

/// A program and the process group it leads, killed as a whole unless the program has ended.
struct Group {
    child: Child,
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

impl Group {
    fn start(reference: &Reference, argv: &[String]) -> Result<Self, Error> {
        let (program, arguments) =
            argv.split_first().ok_or(Error::Incomplete { form: "command:PROGRAM" })?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let child = command.spawn().map_err(|error| broken(reference, error))?;
        Ok(Self {
            #[cfg(unix)]
            leader: child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())),
            child,
        })
    }

    /// Reads stdout to its end into `output`, then waits for the program's.
    ///
    /// In this order: until it has been waited for, its id is not given to another process, and
    /// the group that would be killed is surely its own.
    async fn output(
        &mut self,
        reference: &Reference,
        output: &mut [u8],
    ) -> Result<(usize, ExitStatus), Error> {
        let mut length = 0;
        if let Some(mut stdout) = self.child.stdout.take() {
            loop {
                let more = stdout.read(&mut output[length..]).await;
                match more.map_err(|error| broken(reference, error))? {
                    0 => break,
                    more => length += more,
                }
                if length == output.len() {
                    let reference = reference.to_string();
                    return Err(Error::TooLong { reference, maximum: MAXIMUM_LENGTH });
                }
            }
        }
        let status = self.child.wait().await.map_err(|error| broken(reference, error))?;
        #[cfg(unix)]
        {
            self.leader = None;
        }
        Ok((length, status))
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // It fails when nobody is left, which is what is wanted.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

fn broken(reference: &Reference, error: std::io::Error) -> Error {
    Error::Program { reference: reference.to_string(), source: Arc::new(error) }
}

/// Reads to the end, so that the program never waits for a reader, and keeps the beginning.
async fn listen(stderr: Option<impl AsyncRead + Unpin>, noise: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut part = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut part).await {
        let room = MAXIMUM_NOISE - noise.len();
        noise.extend_from_slice(&part[..length.min(room)]);
    }
}

/// Logs the whole lines of what a program wrote to stderr; a cut one could end in a part of the
/// secret that no comparison finds.
fn log_noise(reference: &Reference, noise: &[u8], secrets: [&[u8]; 2]) {
    let Some(end) = memchr::memrchr(b'\n', noise) else { return };
    let noise = &noise[..end];
    let repeats = secrets
        .into_iter()
        .flat_map(|secret| secret.split(|&byte| byte == b'\n'))
        .map(<[u8]>::trim_ascii)
        .any(|line| !line.is_empty() && memchr::memmem::find(noise, line).is_some());
    if repeats {
        tracing::debug!("the program of {reference} wrote its secret to stderr; not shown");
    } else {
        tracing::debug!("the program of {reference} wrote: {:?}", String::from_utf8_lossy(noise));
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::{path::Path, time::Instant};

    use super::*;

    fn shell(script: &str) -> (Reference, Arc<[String]>) {
        let argv = ["sh", "-c", script].map(str::to_owned);
        (Reference::Command { argv: argv.to_vec(), ttl: None }, argv.into())
    }

    async fn print(script: &str) -> Result<String, Error> {
        let (reference, argv) = shell(script);
        let secret = run(reference, argv, Last::default()).await?;
        Ok(String::from_utf8(secret.expose().to_vec()).unwrap())
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

    /// The script's arguments with the file for its ids.
    fn sleepers(file: &Path) -> (Reference, Arc<[String]>) {
        let (reference, argv) = shell(SLEEPERS);
        let mut argv = argv.to_vec();
        argv.push(file.display().to_string());
        (reference, argv.into())
    }

    #[tokio::test]
    async fn what_it_prints_is_the_secret() {
        assert_eq!(print("echo canary").await.unwrap(), "canary");
        assert_eq!(print("printf 'a b\\r\\n'").await.unwrap(), "a b");
    }

    #[tokio::test]
    async fn what_is_no_secret_is_an_error_that_shows_no_output() {
        let error = print("echo canary; exit 3").await.unwrap_err();
        assert_eq!(error.to_string(), "the program of command:sh ... failed with exit status: 3");
        assert!(matches!(print("true").await, Err(Error::Empty { .. })));
        assert!(matches!(print("echo ' canary'").await, Err(Error::Blank { .. })));
        let endless = print("while :; do echo canary; done").await;
        assert!(matches!(endless, Err(Error::TooLong { .. })), "{endless:?}");
        let reference = Reference::Command { argv: vec!["/no/such".to_owned()], ttl: None };
        let missing =
            run(reference, ["/no/such".to_owned()].into(), Last::default()).await.unwrap_err();
        assert!(missing.hint().unwrap().contains("full path"), "{missing}");
    }

    #[tokio::test]
    async fn stdin_is_not_ours() {
        assert!(matches!(print("cat").await, Err(Error::Empty { .. })));
    }

    #[tokio::test]
    async fn something_left_running_with_stderr_open_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pids");
        let script = format!("sleep 600 >&- & echo $! >'{}'; echo canary", file.display());
        assert_eq!(print(&script).await.unwrap(), "canary");
        let left = pids(&file, 1).await;
        assert!(runs(left[0]), "a program that ended well may leave an agent behind");
        let left = rustix::process::Pid::from_raw(left[0].cast_signed()).unwrap();
        rustix::process::kill_process(left, rustix::process::Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn at_the_deadline_nothing_is_left_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pids");
        let (reference, argv) = sleepers(&file);
        let running = tokio::spawn(run(reference, argv, Last::default()));
        let pids = pids(&file, 2).await;
        assert!(pids.iter().all(|pid| runs(*pid)));
        tokio::time::pause();
        tokio::time::advance(DEADLINE).await;
        let error = running.await.unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the program of command:sh ... was not done after 10 s and was killed"
        );
        assert_gone(&pids);
    }

    #[tokio::test]
    async fn when_nobody_waits_any_more_nothing_is_left_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pids");
        let (reference, argv) = sleepers(&file);
        let running = tokio::spawn(run(reference, argv, Last::default()));
        let pids = pids(&file, 2).await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        assert_gone(&pids);
    }

    #[tokio::test]
    async fn stderr_is_logged_unless_it_repeats_the_secret() {
        let (log, lines) = crate::secret::tests::capture();
        print("echo 'asking the vault' >&2; echo canary").await.unwrap();
        print("printf 'got canary\\nmore: can' >&2; echo canary").await.unwrap();
        let (reference, argv) = shell("echo 'canary is expired' >&2; exit 1");
        let last = Arc::new(Mutex::new(Some(Secret::new("canary"))));
        run(reference, argv, last).await.unwrap_err();
        drop(log);
        let lines = lines.lock().unwrap();
        let lines = std::str::from_utf8(&lines).unwrap();
        assert!(lines.contains("asking the vault"), "{lines}");
        assert!(lines.contains("not shown"), "{lines}");
        assert!(!lines.contains("can\""), "{lines}");
        assert!(!lines.contains("canary"), "{lines}");
    }
}
