//! What the fuzz targets check, over the inputs that are kept in `fuzz/corpus`: each was found by a
//! fuzzer, or written to show it the way.

use std::{fs, path::Path};

#[path = "../../fuzz/checks/annotations.rs"]
mod annotations;
#[path = "../../fuzz/checks/backward.rs"]
mod backward;
#[path = "../../fuzz/checks/conversation.rs"]
mod conversation;
#[path = "../../fuzz/checks/duplex.rs"]
mod duplex;
#[path = "../../fuzz/checks/edit.rs"]
mod edit;
#[path = "../../fuzz/checks/forward.rs"]
mod forward;
#[path = "../../fuzz/checks/machine.rs"]
mod machine;
#[path = "../../fuzz/checks/message.rs"]
mod message;
#[path = "../../fuzz/checks/metadata.rs"]
mod metadata;
#[path = "../../fuzz/checks/session.rs"]
mod session;
#[path = "../../fuzz/checks/sse.rs"]
mod sse;
#[path = "../../fuzz/checks/stateless.rs"]
mod stateless;
#[path = "../../fuzz/checks/template.rs"]
mod template;
#[path = "../../fuzz/checks/url.rs"]
mod url;
#[path = "../../fuzz/checks/websocket.rs"]
mod websocket;

type Check = fn(&[u8]);

const TARGETS: [(&str, Check); 14] = [
    ("annotations", annotations::run),
    ("backward", backward::run),
    ("conversation", conversation::run),
    ("duplex", duplex::run),
    ("edit", edit::run),
    ("forward", forward::run),
    ("message", message::run),
    ("metadata", metadata::run),
    ("session", session::run),
    ("sse", sse::run),
    ("stateless", stateless::run),
    ("template", template::run),
    ("url", url::run),
    ("websocket", websocket::run),
];

#[test]
fn every_input_of_every_corpus_holds() {
    for (target, check) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut inputs = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            let held = std::panic::catch_unwind(|| check(&input));
            assert!(held.is_ok(), "{}", path.display());
            inputs += 1;
        }
        assert!(inputs > 0, "{} has nothing in it", folder.display());
    }
}

#[test]
fn every_target_has_its_check_and_its_corpus_here() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for folder in ["targets", "corpus"] {
        let mut names: Vec<String> = fs::read_dir(fuzz.join(folder))
            .unwrap()
            .map(|it| it.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        assert_eq!(names, TARGETS.map(|(name, _)| name), "{folder}");
    }
}
