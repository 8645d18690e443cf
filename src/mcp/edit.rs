//! Edits of a JSON text that leave every other byte of it alone.
//!
//! Paths of member names lead from the root object to what is read, set or removed. What an edit does
//! not name is copied as it stands, however large, and never parsed into values.

mod changes;
mod walk;

use std::{borrow::Cow, fmt, ops::Range};

use bytes::Bytes;
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

/// How many members the object `text` has, doubled ones included; none where it is no object. It must be
/// JSON that was checked before.
#[must_use]
pub fn count(text: &str) -> Option<usize> {
    let text = text.as_bytes();
    let mut members = walk::Members::of(text, walk::begin(text))?;
    let mut count = 0;
    while let Ok(member) = members.next()? {
        members.past(walk::value(text, member.value)?);
        count += 1;
    }
    Some(count)
}

/// Whether the object `text` has one of the members `names` more than once. It must be JSON that was checked
/// before.
#[must_use]
pub fn doubled<const N: usize>(text: &[u8], names: [&str; N]) -> bool {
    let Some(mut members) = walk::Members::of(text, walk::begin(text)) else { return false };
    let mut found = [false; N];
    while let Some(Ok(member)) = members.next() {
        let named = names.iter().position(|name| member.name.is(name));
        if named.is_some_and(|at| std::mem::replace(&mut found[at], true)) {
            return true;
        }
        let Some(end) = walk::value(text, member.value) else { return false };
        members.past(end);
    }
    false
}

/// The raw values of the members `names` of the object at `path`, the last ones where a name is doubled;
/// none where there is no object. `text` must be JSON that was checked before.
#[must_use]
pub fn picked<'a, const N: usize>(
    text: &'a [u8],
    path: &[&str],
    names: [&str; N],
) -> Option<[Option<&'a str>; N]> {
    let mut found = None;
    pick(text, walk::begin(text), path, names, &mut found)?;
    let raw = |place: Range<usize>| std::str::from_utf8(text.get(place)?).ok();
    found.map(|found| found.map(|place| place.and_then(raw)))
}

/// Finds where what is picked lies, and says where the object at `at` ends.
fn pick<const N: usize>(
    text: &[u8],
    at: usize,
    path: &[&str],
    names: [&str; N],
    found: &mut Option<[Option<Range<usize>>; N]>,
) -> Option<usize> {
    let mut members = walk::Members::of(text, at)?;
    *found = path.is_empty().then_some([const { None }; N]);
    loop {
        let member = match members.next()? {
            Ok(member) => member,
            Err(end) => return Some(end),
        };
        let below = path.split_first().filter(|(step, _)| member.name.is(step));
        let inner = below.and_then(|(_, path)| {
            *found = None;
            pick(text, member.value, path, names, found)
        });
        let end = match inner {
            Some(end) => end,
            None => walk::value(text, member.value)?,
        };
        if path.is_empty()
            && let Some(found) = found
            && let Some(at) = names.iter().position(|name| member.name.is(name))
        {
            found[at] = Some(member.value..end);
        }
        members.past(end);
    }
}

/// `text` with `edits`, of which there are at most 32, none of them within another; none where a step of
/// a path is something else than an object. `text` must be JSON that was checked before.
#[must_use]
pub fn edited(text: &Bytes, edits: &[Edit<'_>]) -> Option<Bytes> {
    edited_around(text, edits, 0..0).map(|(edited, _)| edited)
}

/// The same, and where what is at `place` has come to lie, which no edit may change but as a whole.
#[must_use]
pub fn edited_around(
    text: &Bytes,
    edits: &[Edit<'_>],
    place: Range<usize>,
) -> Option<(Bytes, Range<usize>)> {
    let changes = changes::of(text, edits)?;
    let (mut start, mut length) = (place.start, place.len());
    for change in changes.iter().rev().filter(|change| change.place.start <= place.start) {
        if change.place == place {
            length = change.text.len();
        } else {
            start = (start + change.text.len()).checked_sub(change.place.len())?;
        }
    }
    let added: usize = changes.iter().map(|change| change.text.len()).sum();
    let mut result = Vec::with_capacity(text.len() + added);
    let mut done = 0;
    for change in changes {
        result.extend_from_slice(text.get(done..change.place.start)?);
        result.extend_from_slice(change.text.as_bytes());
        done = change.place.end;
    }
    result.extend_from_slice(text.get(done..)?);
    Some((Bytes::from(result), start..start + length))
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
    fn doubled_members_are_seen() {
        for (text, expected) in [
            (r#"{"a":1,"b":2,"a":3}"#, true),
            (r#"{"a":1, "\u0061" : 3}"#, true),
            (r#"{"c":1,"c":2,"b":{"b":1},"a":{"a":2}}"#, false),
            ("{}", false),
            ("[1]", false),
        ] {
            assert_eq!(doubled(text.as_bytes(), ["a", "b"]), expected, "{text}");
        }
        assert_eq!(
            [count("[]"), count("{}"), count(r#"{"a":[1],"a":{}}"#)],
            [None, Some(0), Some(2)]
        );
    }

    #[test]
    fn members_are_read_by_their_path() {
        let text = br#"{"a":{"b\u0063":[ 1 ], "d":null},"a":{"bc":2}}"#;
        assert_eq!(member(text, &["a", "bc"]).unwrap().get(), "2");
        assert!(member(text, &["a", "d"]).is_none());
        assert!(member(text, &["a", "bc", "x"]).is_none());
        assert_eq!(member(br#"{"a" : [ 1 ] }"#, &["a"]).unwrap().get(), "[ 1 ]");
    }

    /// The text of an object in which names may be doubled and spelled in other ways.
    fn object() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![Just("1"), Just(r#""}\",{""#), Just(r#"[{"a": 1}]"#), Just("{ }")];
        leaf.prop_map(str::to_owned).prop_recursive(3, 12, 4, |inner| {
            let name = prop::sample::select(vec!["a", "b", "c", r"\u0061", "\\\""]);
            prop::collection::vec((name, inner), 0..5).prop_map(|members| {
                let members = members.iter().map(|(name, value)| format!(r#" "{name}" :{value}"#));
                format!("{{{} }}", members.collect::<Vec<_>>().join(","))
            })
        })
    }

    /// A path of one or two names, and whether something is set there.
    fn change() -> impl Strategy<Value = (Vec<&'static str>, bool)> {
        let name = prop::sample::select(vec!["a", "b", "c", "\\\"", "d"]);
        (prop::collection::vec(name, 1..3), any::<bool>())
    }

    /// The same to a value that was parsed; none where a step is something else than an object.
    fn changed(value: &mut Value, path: &[&str], set: bool) -> Option<()> {
        let members = value.as_object_mut()?;
        match path {
            [name] if set => drop(members.insert((*name).to_owned(), json!([7]))),
            [name] => drop(members.remove(*name)),
            [name, rest @ ..] => match members.get_mut(*name) {
                Some(inner) => changed(inner, rest, set)?,
                None if set => {
                    let inner = members.entry(*name).or_insert_with(|| json!({}));
                    changed(inner, rest, set)?;
                }
                None => {}
            },
            [] => {}
        }
        Some(())
    }

    proptest! {
        /// As if the document had been parsed, changed and written.
        #[test]
        fn edits_are_what_their_names_say(text in object(), all in prop::collection::vec(change(), 1..5)) {
            let mut apart: Vec<(Vec<&str>, bool)> = Vec::new();
            for (path, set) in all {
                if !apart.iter().any(|(it, _)| it.starts_with(&path) || path.starts_with(it)) {
                    apart.push((path, set));
                }
            }
            let edits = apart.iter().map(|(path, set)| match set {
                true => Edit::Set(path.as_slice(), "[7]".into()),
                false => Edit::Remove(path.as_slice()),
            });
            let edits: Vec<Edit<'_>> = edits.collect();
            let mut expected: Value = serde_json::from_str(&text).unwrap();
            let fits = apart.iter().try_for_each(|(path, set)| changed(&mut expected, path, *set));
            let edited = edited(&Bytes::from(text), &edits);
            let edited = edited.map(|text| serde_json::from_slice::<Value>(&text).unwrap());
            prop_assert_eq!(edited, fits.map(|()| expected));
        }

        /// As if the document had been parsed and read.
        #[test]
        fn picked_is_what_is_there(text in object(), outer in "[abc]", within in any::<bool>()) {
            let whole: Value = serde_json::from_str(&text).unwrap();
            let path: &[&str] = if within { &[&outer] } else { &[] };
            let object = if within { whole.get(&outer) } else { Some(&whole) };
            let names = ["a", "c"];
            let expected = object.and_then(Value::as_object).map(|it| names.map(|name| it.get(name).cloned()));
            let found = picked(text.as_bytes(), path, names);
            let found = found.map(|all| all.map(|raw| raw.map(|raw| serde_json::from_str(raw).unwrap())));
            prop_assert_eq!(found, expected);
        }
    }
}
