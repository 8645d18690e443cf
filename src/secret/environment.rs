//! Variables that hold secrets, which no program that we start inherits.
//!
//! A program that prints one secret has no business with the others, and a list of processes with
//! their environments is easily had. What was read by an `env:` reference is noted here and taken
//! out of every child's environment. A variable that only fills in a template is left alone.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tokio::process::Command;

static WITHHELD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// From now on, no program that we start has the variable `name`.
pub fn withhold(name: &str) {
    let mut withheld = WITHHELD.lock().unwrap_or_else(PoisonError::into_inner);
    if !withheld.contains(name) {
        withheld.insert(name.to_owned());
    }
}

/// Takes the withheld variables out of what `command` inherits. What it is given on purpose is to
/// be set after this.
pub fn strip(command: &mut Command) {
    for name in WITHHELD.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        command.env_remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn what_is_withheld_is_taken_out_and_can_be_given_on_purpose() {
        withhold("COUNTERSIGN_TEST_WITHHELD");
        withhold("COUNTERSIGN_TEST_GIVEN");
        let mut command = Command::new("true");
        strip(&mut command);
        command.env("COUNTERSIGN_TEST_GIVEN", "x");
        let find = |name: &str| {
            let mut variables = command.as_std().get_envs();
            variables.find(|(it, _)| *it == name).map(|(_, value)| value.map(OsStr::to_owned))
        };
        assert_eq!(find("COUNTERSIGN_TEST_WITHHELD"), Some(None));
        assert_eq!(find("COUNTERSIGN_TEST_GIVEN"), Some(Some("x".into())));
        assert_eq!(find("HOME"), None, "all else is inherited");
    }
}
