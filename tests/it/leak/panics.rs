//! A panic with a secret in its words: a defect, and as such told without them. None can be provoked
//! in the program, so this test panics itself, in a process of its own, under the program's hook.

use std::env;

use super::{Canary, FORMATS};
use crate::support::process::{Countersign, DEADLINE};
use countersign::{log, panic};

/// Tells the process that is to panic how it logs.
const LOG: &str = "PANICS_WITH_LOG";

#[derive(Debug)]
struct Words(#[expect(dead_code, reason = "shown by Debug")] &'static str);

/// Panics in the ways there are, the last of which ends the test.
fn panics(log: &str) {
    panic::install();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if log != "none" {
            log::start(log::Settings { level: log::Level::Trace, json: log == "json" });
        }
        let task = tokio::spawn(async { std::panic::panic_any(Words(Canary::TEXT)) });
        assert!(task.await.is_err());
        let thread = std::thread::spawn(|| panic!("{}", Canary::TEXT.to_owned()));
        assert!(thread.join().is_err());
        Err::<(), _>(Words(Canary::TEXT)).unwrap();
    });
}

#[test]
fn its_words_are_not_shown_and_its_place_is() {
    if let Ok(log) = env::var(LOG) {
        return panics(&log);
    }
    for log in FORMATS.into_iter().chain(["none"]) {
        let this = "leak::panics::its_words_are_not_shown_and_its_place_is";
        let program = Countersign::program(env::current_exe().unwrap());
        let program = program.args([this, "--exact", "--nocapture"]).env(LOG, log);
        let mut process = program.env("RUST_BACKTRACE", "1").start();
        assert!(!process.wait_exit(DEADLINE).success());
        Canary::new().assert_unsaid(&process);
        let said = process.stderr();
        let told = format!("this is a defect: a part of it panicked at {}:", file!());
        assert_eq!(said.matches(&told).count(), 3, "{}", process.transcript());
        assert!(!said.contains("backtrace"), "{said}");
    }
}
