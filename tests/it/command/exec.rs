//! `countersign exec`: a local server gets its secrets in its environment, and everything else as
//! if countersign had not been there.

use std::{
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::process::{Countersign, DEADLINE, Process};

/// A folder with a profile whose `env` has these lines, and a secret in the file `token`.
struct Given(tempfile::TempDir);

impl Given {
    fn env(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let given = Self(folder);
        given.write("corp.toml", &format!("[profile.corp.env]\n{lines}\n"));
        given.write("token", "s3cret\n");
        given
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command of this profile.
    fn exec(&self, command: &[&str]) -> Countersign {
        Countersign::new()
            .args(["exec", "--config"])
            .arg(self.path("corp.toml"))
            .arg("--")
            .args(command)
            .env("PATH", "/usr/bin:/bin")
    }

    fn shell(&self, script: &str) -> Countersign {
        self.exec(&["sh", "-c", script])
    }
}

/// What a command that ends well says.
#[track_caller]
fn output(program: &Countersign) -> String {
    let mut process = program.start();
    process.close_stdin();
    let status = process.wait_exit(DEADLINE);
    assert!(status.success(), "{status}\n{}", process.transcript());
    assert_eq!(process.stderr(), "");
    process.stdout()
}

/// The error of one that does not start its command, which would have left a mark.
#[track_caller]
fn refusal(given: &Given, code: i32) -> String {
    let mark = given.path("mark");
    let mut process = given.shell(&format!("echo >'{}'", mark.display())).start();
    process.close_stdin();
    let status = process.wait_exit(DEADLINE);
    assert_eq!(status.code(), Some(code), "{}", process.transcript());
    assert_eq!(process.stdout(), "");
    assert!(!mark.exists(), "it was started");
    let said = process.stderr();
    assert!(said.starts_with("countersign: error: ") && !said.contains("canary"), "{said}");
    said
}

fn wait_for(path: &Path, process: &Process) {
    while !path.exists() {
        assert!(process.is_running(), "{}", process.transcript());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_command_gets_its_variables_from_every_source() {
    let given = Given::env(
        "A = { file = 'token' }\nB = 'env:SOURCE'\nC = { command = ['echo', 'printed'] }\n\
         D = { value = 'for ${TENANT}' }\nE = 'env:OF_FILE'",
    );
    let env_file = given.write("mcp.env", "OF_FILE=of-the-file\nTENANT=no\n");
    let program = Countersign::new()
        .args(["exec", "--profile", "corp", "--config"])
        .arg(given.path("corp.toml"))
        .arg("--env-file")
        .arg(&env_file)
        .args(["sh", "-c", "printf '%s|' \"$A\" \"$B\" \"$C\" \"$D\" \"$E\" \"$OF_FILE\""])
        .env("SOURCE", "of-the-process")
        .env("TENANT", "acme")
        .env("PATH", "/usr/bin:/bin");
    let expected = "s3cret|of-the-process|printed|for acme|of-the-file||";
    assert_eq!(output(&program), expected);
    let named =
        format!("env_file = '{}'\n[profile.corp.env]\nA = 'env:OF_FILE'", env_file.display());
    given.write("corp.toml", &format!("[profile.corp]\n{named}\n"));
    assert_eq!(output(&given.shell("echo $A-$OF_FILE")), "of-the-file-\n");
}

#[test]
fn variables_that_hold_secrets_are_not_passed_on_by_their_own_names() {
    let given = Given::env("PASSWORD = 'env:CORP_PASSWORD'\nKEPT = 'env:KEPT'\nX = 'env:KEPT'");
    let program = given.exec(&["env"]).env("CORP_PASSWORD", "s3cret").env("KEPT", "kept");
    let said = output(&program.env("OTHER", "other"));
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["KEPT=kept", "OTHER=other", "PASSWORD=s3cret", "PATH=/usr/bin:/bin", "X=kept"]
    );
}

#[test]
fn bytes_pass_as_they_are() {
    let given = Given::env("A = { file = 'token' }");
    let bytes: Vec<u8> = (0..=255_u8).cycle().take(1 << 20).collect();
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["exec", "--config"])
        .arg(given.path("corp.toml"))
        .args(["--", "/bin/sh", "-c", "echo noise >&2; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, sent) = (child.stdin.take().unwrap(), bytes.clone());
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(status.success());
    assert!(stdout == bytes, "{} bytes of {} came back", stdout.len(), bytes.len());
    assert_eq!(stderr, b"noise\n");
}

#[test]
fn the_exit_status_is_the_commands() {
    let given = Given::env("A = { file = 'token' }");
    for code in [0, 1, 3, 78, 255] {
        let mut process = given.shell(&format!("exit {code}")).start();
        assert_eq!(process.wait_exit(DEADLINE).code(), Some(code));
        assert_eq!(process.stderr(), "");
    }
    let missing = ["no-such-program", "/no/such/program"];
    for program in missing {
        let mut process = given.exec(&[program]).start();
        assert_eq!(process.wait_exit(DEADLINE).code(), Some(127));
        let said = process.stderr();
        assert!(said.contains(program) && said.contains("full path"), "{said}");
    }
    let plain = given.write("plain", "no program");
    let mut process = given.exec(&[plain.to_str().unwrap()]).start();
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(126));
    assert!(process.stderr().contains("can be executed"), "{}", process.stderr());
}

const SIGNALS: [Signal; 7] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];

/// Those of [`SIGNALS`] that this process was not told to ignore, as a job in the background is:
/// the command inherits that, as it should, and no shell can take it back.
fn signals() -> impl Iterator<Item = Signal> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    SIGNALS.into_iter().filter(move |signal| ignored >> (signal.as_raw() - 1) & 1 == 0)
}

#[test]
fn signals_reach_the_command() {
    let given = Given::env("A = { file = 'token' }");
    for signal in signals() {
        let number = signal.as_raw();
        let script =
            format!("trap 'echo heard; exit 7' {number}; echo ready; while :; do sleep 0.01; done");
        let mut process = given.shell(&script).start();
        assert_eq!(process.next_line().as_deref(), Some("ready"));
        process.signal(signal);
        assert_eq!(process.next_line().as_deref(), Some("heard"), "{signal:?}");
        assert_eq!(process.wait_exit(DEADLINE).code(), Some(7), "{signal:?}");
    }
}

#[test]
fn death_by_a_signal_is_told_as_such() {
    let given = Given::env("A = { file = 'token' }");
    for signal in signals().filter(|it| *it != Signal::WINCH).chain([Signal::KILL]) {
        let mut process = given.shell("ulimit -c 0; echo ready; exec sleep 600").start();
        assert_eq!(process.next_line().as_deref(), Some("ready"));
        process.signal(signal);
        assert_eq!(process.wait_exit(DEADLINE).signal(), Some(signal.as_raw()));
    }
}

/// Nothing of ours is inherited: signals that are ignored or blocked, open files, a process.
#[test]
fn the_command_runs_as_if_it_had_been_started_directly() {
    let given = Given::env("A = { file = 'token' }");
    let script = "grep -E '^(SigBlk|SigIgn|PPid|NoNewPrivs)' /proc/self/status; ls /proc/self/fd";
    let plain = |said: String| {
        let lines = said.lines().filter(|line| !line.starts_with("PPid"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    // A shell that ignores some signals, as it does for jobs in the background.
    let under = |command: &[&str]| {
        let shell =
            Countersign::program("/bin/sh").args(["-c", "trap '' INT HUP USR1; exec \"$@\"", "sh"]);
        plain(output(&shell.args(command).env("PATH", "/usr/bin:/bin")))
    };
    let (program, profile) = (env!("CARGO_BIN_EXE_countersign"), given.path("corp.toml"));
    let profile = profile.to_str().unwrap();
    let direct = under(&["sh", "-c", script]);
    assert_eq!(direct, under(&[program, "exec", "--config", profile, "--", "sh", "-c", script]));
    // Whoever started the tests may ignore more.
    let ignored = direct.iter().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    assert_eq!(ignored & 0x203, 0x203, "HUP, INT and USR1: {direct:?}");
}

#[test]
fn secrets_are_in_the_environment_and_not_on_the_command_line() {
    let given = Given::env("A = { file = 'token' }\nB = { command = ['echo', 'printed-s3cret'] }");
    let mut process = given.exec(&["sh", "-c", "echo ready; read line", "--stdio"]).start();
    assert_eq!(process.next_line().as_deref(), Some("ready"));
    let line = String::from_utf8_lossy(&process.command_lines()).into_owned();
    assert!(line.starts_with("sh\0-c\0") && line.contains("--stdio"), "{line}");
    assert!(!line.contains("s3cret"), "{line}");
    // It has our process id: nobody stands between it and the client.
    let environment = fs::read(format!("/proc/{}/environ", process.pid())).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    assert!(environment.contains("A=s3cret\0") && environment.contains("B=printed-s3cret\0"));
    process.write("end\n");
    assert!(process.wait_exit(DEADLINE).success());
}

#[test]
fn when_a_secret_cannot_be_had_nothing_is_started() {
    for (lines, code, what) in [
        ("A = { file = 'none' }", 78, "corp.toml:2: A: the file"),
        ("A = 'env:NONE'", 78, "corp.toml:2: A: the variable NONE is not set"),
        ("A = 'canary'", 78, "corp.toml:2: A: expected a reference"),
        ("A = { value = '${NONE}' }", 78, "corp.toml:2: A: the variable NONE is not set"),
        (
            "A = { file = 'token' }\nB = { command = ['sh', '-c', 'echo canary; exit 3'] }",
            1,
            "corp.toml:3: B: the program of command:sh ... failed with exit status: 3",
        ),
        ("A = { command = ['printf', 'can\\0ary'] }", 1, "can't be held by a variable"),
    ] {
        let said = refusal(&Given::env(lines), code);
        assert!(said.contains(what), "{said}");
    }
    let bare = Given::env("");
    bare.write("corp.toml", "[profile.corp]\nurl = 'https://a.example'\n");
    assert!(refusal(&bare, 78).contains("expected variables in the profile, found none"));
}

#[test]
fn when_it_is_stopped_before_the_command_nothing_is_left_running() {
    let given = Given::env("");
    let started = given.path("started");
    let wait = format!("echo $$ >{0}.new; mv {0}.new {0}; exec sleep 600", started.display());
    given.write(
        "corp.toml",
        &format!("[profile.corp.env]\nA = {{ command = ['sh', '-c', '{wait}'] }}"),
    );
    let mut process = given.shell("echo started").start();
    wait_for(&started, &process);
    process.signal(Signal::TERM);
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(1));
    assert_eq!(process.stdout(), "");
    let stat = format!("/proc/{}/stat", fs::read_to_string(&started).unwrap().trim());
    let runs =
        || fs::read_to_string(&stat).is_ok_and(|it| it.contains("sleep") && !it.contains(") Z"));
    let until = Instant::now() + DEADLINE;
    while runs() {
        assert!(Instant::now() < until, "the program was left running");
        std::thread::sleep(Duration::from_millis(2));
    }
}
