//! An edit does to a document what it would do to the parsed one. The first line is a path, with dots.

use bytes::Bytes;
use countersign::mcp::edit::{Edit, edited, member};
use serde_json::{Map, Value};

pub(super) fn run(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (Ok(path), Ok(text)) =
        (std::str::from_utf8(&input[..end]), std::str::from_utf8(&input[end..]))
    else {
        return;
    };
    // A member that serde_json, which is compared with, takes for a raw value of its own making.
    if path.contains("$serde_json::private") || text.contains("$serde_json::private") {
        return;
    }
    let path: Vec<&str> = path.split('.').take(5).collect();
    let document = Bytes::copy_from_slice(text.as_bytes());
    let Ok(before) = serde_json::from_str::<Value>(text) else {
        // Not JSON to one reader may be JSON to a laxer one; it must only not end the process.
        drop(edited(&document, &[Edit::Remove(&path)]));
        return;
    };
    let found =
        member(&document, &path).and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
    assert_eq!(found.as_ref(), path.iter().try_fold(&before, |at, name| at.get(name)));
    for set in [false, true] {
        let edit = if set { Edit::Set(&path, "[7]".into()) } else { Edit::Remove(&path) };
        let after = edited(&document, &[edit])
            .map(|it| serde_json::from_slice::<Value>(&it).expect("JSON"));
        let mut expected = before.clone();
        let expected = change(&mut expected, &path, set).then_some(expected);
        assert_eq!(after, expected, "{path:?} {set}");
    }
}

/// False where a step is no object.
fn change(at: &mut Value, path: &[&str], set: bool) -> bool {
    let Value::Object(members) = at else { return false };
    let (name, rest) = (path[0], &path[1..]);
    if rest.is_empty() {
        if set {
            members.insert(name.to_owned(), serde_json::json!([7]));
        } else {
            members.remove(name);
        }
        return true;
    }
    match members.get_mut(name) {
        Some(next) => change(next, rest, set),
        None if set => {
            let mut next = Value::Object(Map::new());
            change(&mut next, rest, set);
            members.insert(name.to_owned(), next);
            true
        }
        None => true,
    }
}
