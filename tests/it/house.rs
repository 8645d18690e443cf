//! The house itself: who may know whom, how big a file may be, and that what the documents say
//! can be done.

mod generated;
mod layering;
mod readme;
mod references;
mod tree;

use std::path::{Path, PathBuf};

/// The crate's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder`, if there is one, sorted, without what is installed or hidden.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with('.') || name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text between the line `open` and the next closing fence, for each such block; with the
/// line it starts in.
fn blocks<'a>(text: &'a str, open: &str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    let mut inside: Option<(usize, usize, bool)> = None;
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let fence = line.trim();
        match inside {
            None if fence.starts_with("```") => {
                inside = Some((index + 2, offset + line.len(), fence == open));
            }
            Some((first, from, wanted)) if fence == "```" => {
                if wanted {
                    found.push((first, &text[from..offset]));
                }
                inside = None;
            }
            _ => {}
        }
        offset += line.len();
    }
    assert!(inside.is_none(), "a fenced block is never closed");
    found
}
