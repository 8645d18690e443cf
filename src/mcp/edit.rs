//! Edits of a JSON text that leave every other byte of it alone.
//!
//! Paths of member names lead from the root object to what is read, set or removed. What an edit does
//! not name is copied as it stands, however large, and never parsed into values.

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

/// `text` with `edits`, which must not overlap; none where it is no JSON, or a step of a path is
/// something else than an object.
#[must_use]
pub fn edited(text: &Bytes, edits: &[Edit<'_>]) -> Option<Bytes> {
    let document = std::str::from_utf8(text).ok()?;
    let mut changes = Vec::new();
    let whole: Vec<&Edit<'_>> = edits.iter().collect();
    object(document, document.trim_ascii(), 0, &whole, &mut changes)?;
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

struct Change {
    place: Range<usize>,
    text: String,
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

/// Where a member stands in the document.
struct Span {
    /// From its name's first quote to its value's end.
    whole: Range<usize>,
    value: Range<usize>,
}

/// Collects the changes to the object `text`, to which the first `depth` names of every path lead.
fn object<'a>(
    document: &str,
    text: &'a str,
    depth: usize,
    edits: &[&Edit<'_>],
    changes: &mut Vec<Change>,
) -> Option<()> {
    let Members(members) = serde_json::from_str::<Members<'a>>(text).ok()?;
    let spans = spans(document, text, &members)?;
    let mut removed = vec![false; members.len()];
    let mut added = String::new();
    let mut done: Vec<&str> = Vec::new();
    for edit in edits {
        let path = edit.path();
        let name = *path.get(depth)?;
        if done.contains(&name) {
            continue;
        }
        done.push(name);
        let below: Vec<&Edit<'_>> =
            edits.iter().copied().filter(|it| it.path().get(depth) == Some(&name)).collect();
        let at = members.iter().rposition(|(key, _)| *key == name);
        match (edit, at) {
            (Edit::Remove(path), _) if path.len() == depth + 1 => {
                for (gone, (key, _)) in removed.iter_mut().zip(&members) {
                    *gone |= *key == name;
                }
            }
            (Edit::Set(path, new), Some(at)) if path.len() == depth + 1 => {
                let (place, text) = (spans[at].value.clone(), new.to_string());
                changes.push(Change { place, text });
            }
            (_, Some(at)) => object(document, members[at].1.get(), depth + 1, &below, changes)?,
            (_, None) => {
                if let Some(new) = made(&below, depth + 1) {
                    let key = serde_json::to_string(name).ok()?;
                    added.push_str(&format!(",{key}:{new}"));
                }
            }
        }
    }
    remove(&spans, &removed, changes);
    if !added.is_empty() {
        let end = document_offset(document, text)? + text.len() - 1;
        let empty = removed.iter().all(|gone| *gone);
        let text = if empty { added[1..].to_owned() } else { added };
        changes.push(Change { place: end..end, text });
    }
    Some(())
}

/// The value that `edits` make where there is nothing; none where they only remove.
fn made(edits: &[&Edit<'_>], depth: usize) -> Option<String> {
    let mut members = Vec::new();
    for edit in edits {
        let Edit::Set(path, new) = edit else { continue };
        let Some(name) = path.get(depth) else { return Some(new.to_string()) };
        let key = serde_json::to_string(name).ok()?;
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

/// Takes out whole members, each with one comma beside it.
fn remove(spans: &[Span], removed: &[bool], changes: &mut Vec<Change>) {
    let kept_before = |at: usize| removed[..at].iter().any(|gone| !gone);
    for (at, span) in spans.iter().enumerate().filter(|(at, _)| removed[*at]) {
        let place = if kept_before(at) {
            spans[at - 1].whole.end..span.whole.end
        } else {
            let next = spans.get(at + 1).map_or(span.whole.end, |next| next.whole.start);
            span.whole.start..next
        };
        changes.push(Change { place, text: String::new() });
    }
}

fn spans(document: &str, text: &str, members: &[(Cow<'_, str>, &RawValue)]) -> Option<Vec<Span>> {
    // Past the brace; then past each value.
    let mut from = document_offset(document, text)? + 1;
    let mut spans = Vec::with_capacity(members.len());
    for (_, value) in members {
        let start = document_offset(document, value.get())?;
        let end = start + value.get().len();
        // Between two values stand blanks, a comma, the name and a colon.
        let quote = document.get(from..start)?.find('"')?;
        spans.push(Span { whole: from + quote..end, value: start..end });
        from = end;
    }
    Some(spans)
}

/// Where `part`, which was cut from `document`, begins in it.
fn document_offset(document: &str, part: &str) -> Option<usize> {
    (part.as_ptr() as usize).checked_sub(document.as_ptr() as usize)
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
