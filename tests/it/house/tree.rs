//! What can be said of each file without understanding it: its size, its name, its head.

use std::{fs, path::Path};

use super::{files, root};

/// The longest a file may be; most are a third of it.
const MOST_LINES: usize = 500;

/// Names that say nothing, and collect what has no place.
const BAGS: [&str; 8] = ["auth", "common", "core", "helper", "helpers", "misc", "types", "utils"];

/// What people write: sources and scripts, not what tools lock or measure.
fn written(path: &Path) -> bool {
    let name = path.extension().and_then(|extension| extension.to_str());
    matches!(name, None | Some("rs" | "mjs" | "py" | "sh" | "in"))
}

#[test]
fn no_file_is_longer_than_a_reader_has_patience_for() {
    for folder in ["src", "tests", "benches"] {
        let folder = root().join(folder);
        for path in files(&folder).iter().filter(|path| written(path)) {
            let lines = fs::read_to_string(path).unwrap().lines().count();
            assert!(lines <= MOST_LINES, "{} has {lines} lines: split it", path.display());
        }
    }
}

#[test]
fn no_name_is_a_bag() {
    for folder in ["src", "tests", "benches"] {
        for path in files(&root().join(folder)) {
            for part in path.strip_prefix(root()).unwrap().components() {
                let part = Path::new(part.as_os_str()).file_stem().unwrap().to_str().unwrap();
                assert!(!BAGS.contains(&part), "{}: {part} says nothing", path.display());
            }
        }
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    for folder in ["src", "tests", "benches"] {
        for path in files(&root().join(folder)) {
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.starts_with("//! "), "{} has no head", path.display());
            }
        }
    }
}
