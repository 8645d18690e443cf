//! What a panic has in its message is not said: its place is.

use std::process::Command;

use super::Canary;

/// Set in the process that is to panic.
const MARK: &str = "COUNTERSIGN_TEST_PANICS";

/// No panic of the program can be provoked from outside. So this test starts itself once more, with
/// the hook that the program sets, and panics there: in the main thread, in another, and in a task.
#[test]
fn what_was_at_hand_is_not_said() {
    #[expect(clippy::disallowed_methods, reason = "how the other process knows that it is one")]
    if std::env::var_os(MARK).is_some() {
        panics();
        return;
    }
    let own = std::env::current_exe().unwrap();
    let output = Command::new(own)
        .args(["--exact", "leak::panics::what_was_at_hand_is_not_said", "--nocapture"])
        .env(MARK, "1")
        .env("RUST_BACKTRACE", "full")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(Canary::new().find(&said), None, "{}", String::from_utf8_lossy(&said));
    let places = String::from_utf8(said).unwrap().matches("at tests/it/leak/panics.rs:").count();
    assert_eq!(places, 3);
}

fn panics() {
    countersign::panic::conceal();
    let fail = || assert_eq!(Canary::TEXT, "another");
    assert!(std::panic::catch_unwind(fail).is_err());
    assert!(std::thread::spawn(fail).join().is_err());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(runtime.block_on(async { tokio::spawn(async move { fail() }).await }).is_err());
}
