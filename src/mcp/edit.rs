//! Edits of a JSON text that leave every other byte of it alone.
//!
//! Paths of member names lead from the root object to what is read, set or removed. What an edit does
//! not name is copied as it stands, however large, and never parsed into values.

mod walk;

use std::{borrow::Cow, fmt, ops::Range};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// The member is there no more; nothing, where there is none.
    Remove(&'a [&'a str]),
    /// The member has this raw JSON; objects on the way to it are made where they are missing.
    Set(&'a [&'a str], Cow<'a, str>),
}

/// The raw value at `path`; the last one where a name is doubled, as most readers have it.
#[must_use]
pub fn member<'a>(text: &'a [u8], path: &[&str]) -> Option<&'a RawValue> {
    let root: &RawValue = serde_json::from_slice(text).ok()?;
    path.iter().try_fold(root, |object, name| {
        let Members(members) = serde_json::from_str(object.get()).ok()?;
        members.into_iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    })
}

/// The members of the object `text` in their order, doubled ones included; none where it is no object.
#[must_use]
pub fn members(text: &str) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    serde_json::from_str(text).ok().map(|Members(members)| members)
}

/// The raw values of the members `names` of the object at `path`, the last ones where a name is doubled;
/// none where there is no object. `text` must be JSON that was checked before.
#[must_use]
pub fn picked<'a, const N: usize>(
    text: &'a [u8],
    path: &[&str],
    names: [&str; N],
) -> Option<[Option<&'a str>; N]> {
    let text = std::str::from_utf8(text).ok()?;
    pick(text, walk::begin(text), path, names).and_then(|(found, _)| found)
}

/// What is found, and where the object at `at` ends.
fn pick<'a, const N: usize>(
    text: &'a str,
    at: usize,
    path: &[&str],
    names: [&str; N],
) -> Option<(Option<[Option<&'a str>; N]>, usize)> {
    let mut members = walk::Members::of(text, at)?;
    let mut found = path.is_empty().then_some([None; N]);
    loop {
        let member = match members.next()? {
            Ok(member) => member,
            Err(end) => return Some((found, end)),
        };
        let below = path.split_first().filter(|(step, _)| **step == member.name);
        let inner = below.and_then(|(_, path)| pick(text, member.value, path, names));
        if below.is_some() {
            found = inner.and_then(|(found, _)| found);
        }
        let end = match inner {
            Some((_, end)) => end,
            None => walk::value(text, member.value)?.end,
        };
        if path.is_empty()
            && let Some(found) = &mut found
            && let Some(at) = names.iter().position(|name| *name == member.name)
        {
            found[at] = text.get(member.value..end);
        }
        members.past(end);
    }
}

/// `text` with `edits`, which must not overlap; none where a step of a path is something else than an
/// object. `text` must be JSON that was checked before.
#[must_use]
pub fn edited(text: &Bytes, edits: &[Edit<'_>]) -> Option<Bytes> {
    let document = std::str::from_utf8(text).ok()?;
    let mut changes = Vec::with_capacity(edits.len());
    let whole: Vec<&Edit<'_>> = edits.iter().collect();
    object(document, walk::begin(document), 0, &whole, &mut changes)?;
    changes.sort_by_key(|change| (change.place.start, change.place.end));
    let mut result = BytesMut::with_capacity(
        text.len() + changes.iter().map(|change| change.text.len()).sum::<usize>(),
    );
    let mut done = 0;
    for Change { place, text: new } in changes {
        result.put_slice(text.get(done..place.start)?);
        result.put_slice(new.as_bytes());
        done = place.end;
    }
    result.put_slice(text.get(done..)?);
    Some(result.freeze())
}

struct Change<'a> {
    place: Range<usize>,
    text: Cow<'a, str>,
}

/// The members of an object in their order, doubled ones included.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                    members.push((key, value));
                }
                Ok(members)
            }
        }
        source.deserialize_map(Collect).map(Members)
    }
}

/// Collects the changes to the object at `at`, to which the first `depth` names of every path lead, and
/// says where it ends.
fn object<'e>(
    document: &str,
    at: usize,
    depth: usize,
    edits: &[&'e Edit<'_>],
    changes: &mut Vec<Change<'e>>,
) -> Option<usize> {
    let mut members = walk::Members::of(document, at)?;
    let mut removal = Removal::default();
    // Where the last member stands that each edit is about.
    let mut found: Vec<Option<Range<usize>>> = vec![None; edits.len()];
    let mut no_object = vec![false; edits.len()];
    let end = loop {
        let member = match members.next()? {
            Ok(member) => member,
            Err(end) => break end,
        };
        removal.begins(member.start, changes);
        let named = |it: &&Edit<'_>| it.path().get(depth).is_some_and(|name| *name == member.name);
        let which = edits.iter().position(named);
        let below = which.filter(|which| edits[*which].path().len() > depth + 1).map(|which| {
            // Of doubled members the last one counts.
            if let Some(before) = &found[which] {
                changes.retain(|it| !before.contains(&it.place.start));
            }
            let below: Vec<&Edit<'_>> = edits.iter().copied().filter(named).collect();
            object(document, member.value, depth + 1, &below, changes)
        });
        let end = match below.flatten() {
            Some(end) => end,
            None => walk::value(document, member.value)?.end,
        };
        let mut gone = false;
        if let Some(which) = which {
            no_object[which] = below == Some(None);
            found[which] = Some(member.value..end);
            gone = matches!(edits[which], Edit::Remove(path) if path.len() == depth + 1);
        }
        removal.ends(member.start, end, gone, changes);
        members.past(end);
    };
    if no_object.contains(&true) {
        return None;
    }
    removal.over(changes);
    set(depth, edits, &found, (end - 1, removal.kept), changes)?;
    Some(end)
}

/// Sets what is there already, and adds what is not, at the object's `end`.
fn set<'e>(
    depth: usize,
    edits: &[&'e Edit<'_>],
    found: &[Option<Range<usize>>],
    (end, mut kept): (usize, bool),
    changes: &mut Vec<Change<'e>>,
) -> Option<()> {
    let mut added = String::new();
    for (at, edit) in edits.iter().enumerate() {
        let path = edit.path();
        let name = *path.get(depth)?;
        let same = |it: &&Edit<'_>| it.path().get(depth) == Some(&name);
        if edits[..at].iter().any(same) {
            continue;
        }
        match (edit, &found[at]) {
            (Edit::Set(path, new), Some(place)) if path.len() == depth + 1 => {
                changes.push(Change { place: place.clone(), text: Cow::Borrowed(new) });
            }
            (_, Some(_)) => {}
            (_, None) => {
                let below: Vec<&Edit<'_>> = edits.iter().copied().filter(same).collect();
                if let Some(new) = made(&below, depth + 1) {
                    if std::mem::replace(&mut kept, true) {
                        added.push(',');
                    }
                    added.push_str(&quoted(name)?);
                    added.push(':');
                    added.push_str(&new);
                }
            }
        }
    }
    if !added.is_empty() {
        changes.push(Change { place: end..end, text: Cow::Owned(added) });
    }
    Some(())
}

/// Takes out whole members, each with one comma beside it.
#[derive(Default)]
struct Removal {
    /// Some member before has stayed.
    kept: bool,
    /// Where the member before ended.
    before: usize,
    /// Those before the first one that stays go up to where the next begins.
    open: Option<Range<usize>>,
}

impl Removal {
    /// A member begins.
    fn begins(&mut self, at: usize, changes: &mut Vec<Change<'_>>) {
        if let Some(open) = self.open.take() {
            changes.push(Change { place: open.start..at, text: Cow::Borrowed("") });
        }
    }

    /// It has ended, and is to be `gone` or not.
    fn ends(&mut self, start: usize, end: usize, gone: bool, changes: &mut Vec<Change<'_>>) {
        match (gone, self.kept) {
            (true, true) => {
                changes.push(Change { place: self.before..end, text: Cow::Borrowed("") });
            }
            (true, false) => self.open = Some(start..end),
            (false, _) => self.kept = true,
        }
        self.before = end;
    }

    /// There are no more.
    fn over(&mut self, changes: &mut Vec<Change<'_>>) {
        if let Some(place) = self.open.take() {
            changes.push(Change { place, text: Cow::Borrowed("") });
        }
    }
}

/// The value that `edits` make where there is nothing; none where they only remove.
fn made(edits: &[&Edit<'_>], depth: usize) -> Option<String> {
    let mut members = Vec::new();
    for edit in edits {
        let Edit::Set(path, new) = edit else { continue };
        let Some(name) = path.get(depth) else { return Some(new.to_string()) };
        let key = quoted(name)?;
        if members.iter().any(|(it, _)| *it == key) {
            continue;
        }
        let below: Vec<&Edit<'_>> =
            edits.iter().copied().filter(|it| it.path().get(depth) == Some(name)).collect();
        members.push((key, made(&below, depth + 1)?));
    }
    let all: Vec<String> = members.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    (!all.is_empty()).then(|| format!("{{{}}}", all.join(",")))
}

/// A name as a JSON string.
fn quoted(name: &str) -> Option<String> {
    if name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..b' ')) {
        return serde_json::to_string(name).ok();
    }
    Some(format!("\"{name}\""))
}

impl Edit<'_> {
    fn path(&self) -> &[&str] {
        match self {
            Self::Remove(path) | Self::Set(path, _) => path,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn edit(text: &str, edits: &[Edit<'_>]) -> Option<String> {
        let edited = edited(&Bytes::copy_from_slice(text.as_bytes()), edits)?;
        Some(String::from_utf8(edited.to_vec()).unwrap())
    }

    #[test]
    fn only_what_is_named_changes() {
        let set = |path, new| Edit::Set(path, Cow::Borrowed(new));
        for (text, edits, expected) in [
            (r#"{"a" : 1.0 , "b":[ 2 ]}"#, vec![Edit::Remove(&["a"])], r#"{"b":[ 2 ]}"#),
            (r#"{"a" : 1.0 , "b":[ 2 ] }"#, vec![Edit::Remove(&["b"])], r#"{"a" : 1.0 }"#),
            (r#"{"a":1,"b":2,"c":3}"#, vec![Edit::Remove(&["b"])], r#"{"a":1,"c":3}"#),
            (
                r#"{"a":1,"b":2,"c":3}"#,
                vec![Edit::Remove(&["a"]), Edit::Remove(&["b"])],
                r#"{"c":3}"#,
            ),
            (
                r#"{"a":1,"b":2,"c":3}"#,
                vec![Edit::Remove(&["c"]), Edit::Remove(&["b"])],
                r#"{"a":1}"#,
            ),
            (r#"{ "a":1 }"#, vec![Edit::Remove(&["a"])], "{  }"),
            (r#"{"a":1,"a":2,"b":3}"#, vec![Edit::Remove(&["a"])], r#"{"b":3}"#),
            (r#"{"a":1}"#, vec![Edit::Remove(&["x"]), Edit::Remove(&["y", "z"])], r#"{"a":1}"#),
            (
                r#"{"a\/b":{"c":1e3}, "d":"}"}"#,
                vec![set(&["d"], "null")],
                r#"{"a\/b":{"c":1e3}, "d":null}"#,
            ),
            (
                r#"{"a":{"b":{"x":1}}}"#,
                vec![set(&["a", "b", "y"], "2")],
                r#"{"a":{"b":{"x":1,"y":2}}}"#,
            ),
            (r#"{"a":{}}"#, vec![set(&["a", "b"], "2")], r#"{"a":{"b":2}}"#),
            (
                r#"{"a":{"c":1}}"#,
                vec![Edit::Remove(&["a", "c"]), set(&["a", "b"], "2")],
                r#"{"a":{"b":2}}"#,
            ),
            ("{}", vec![set(&["a", "b"], "1"), set(&["a", "c"], "2")], r#"{"a":{"b":1,"c":2}}"#),
            (
                r#"{"result":{"content":[],"resultType":"complete","ttlMs":5},"id":1}"#,
                vec![Edit::Remove(&["result", "resultType"]), Edit::Remove(&["result", "ttlMs"])],
                r#"{"result":{"content":[]},"id":1}"#,
            ),
        ] {
            assert_eq!(edit(text, &edits).as_deref(), Some(expected), "{text} {edits:?}");
        }
    }

    #[test]
    fn what_is_no_object_is_not_edited() {
        assert_eq!(edit(r#"{"a":7}"#, &[Edit::Remove(&["a", "b"])]), None);
        assert_eq!(edit("[1]", &[Edit::Remove(&["a"])]), None);
        assert_eq!(edit("{", &[]), None);
    }

    #[test]
    fn members_are_read_by_their_path() {
        let text = br#"{"a":{"b\u0063":[ 1 ], "d":null},"a":{"bc":2}}"#;
        assert_eq!(member(text, &["a", "bc"]).unwrap().get(), "2");
        assert!(member(text, &["a", "d"]).is_none());
        assert!(member(text, &["a", "bc", "x"]).is_none());
        assert_eq!(member(br#"{"a" : [ 1 ] }"#, &["a"]).unwrap().get(), "[ 1 ]");
    }

    fn object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(1)), Just(json!("}\",{")), Just(json!([{"a": 1}]))];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop::collection::btree_map("[abc\"\\\\]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        })
        .prop_map(|value| if value.is_object() { value } else { json!({"a": value}) })
    }

    proptest! {
        /// As if the document had been parsed, changed and written.
        #[test]
        fn an_edit_is_what_its_name_says(before in object(), first in "[abc]", second in "[abc]", set in any::<bool>()) {
            let path = [first.as_str(), second.as_str()];
            let edit = if set { Edit::Set(&path, "[7]".into()) } else { Edit::Remove(&path) };
            let text = Bytes::from(serde_json::to_string_pretty(&before).unwrap());
            let mut after = before.clone();
            let outer = after.get_mut(&first);
            let expected = match outer {
                Some(Value::Object(inner)) if set => { inner.insert(second.clone(), json!([7])); Some(after) }
                Some(Value::Object(inner)) => { inner.remove(&second); Some(after) }
                Some(_) => None,
                None if set => { after[&first] = json!({&second: [7]}); Some(after) }
                None => Some(after),
            };
            let edited = edited(&text, &[edit]).map(|text| serde_json::from_slice::<Value>(&text).unwrap());
            prop_assert_eq!(edited, expected);
        }
    }
}
