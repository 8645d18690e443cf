//! What edits come to, by examples and against a document that is parsed and written.

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
        (r#"{"a":1,"b":2,"c":3}"#, vec![Edit::Remove(&["a"]), Edit::Remove(&["b"])], r#"{"c":3}"#),
        (r#"{"a":1,"b":2,"c":3}"#, vec![Edit::Remove(&["c"]), Edit::Remove(&["b"])], r#"{"a":1}"#),
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
fn two_places_have_other_texts_whichever_comes_first() {
    let text = Bytes::from_static(b"a bc d");
    for (first, second) in [((2..4, "BC!"), (0..1, "")), ((0..1, ""), (2..4, "BC!"))] {
        let (place, length) = (first.0.start, first.1.len());
        let (replaced, at) = replaced(&text, first, second).unwrap();
        assert_eq!(replaced, " BC! d");
        assert_eq!((at.start, at.len()), (place.saturating_sub(1), length));
    }
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
    assert_eq!([count("[]"), count("{}"), count(r#"{"a":[1],"a":{}}"#)], [None, Some(0), Some(2)]);
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

/// Those of them of which none is within another.
fn apart(all: Vec<(Vec<&str>, bool)>) -> Vec<(Vec<&str>, bool)> {
    let mut apart: Vec<(Vec<&str>, bool)> = Vec::new();
    for (path, set) in all {
        if !apart.iter().any(|(it, _)| it.starts_with(&path) || path.starts_with(it)) {
            apart.push((path, set));
        }
    }
    apart
}

/// Edits by what is left of the paths behind so many names.
fn edits<'a>(all: &'a [(Vec<&'a str>, bool)], from: usize) -> Vec<Edit<'a>> {
    let edits = all.iter().map(|(path, set)| match set {
        true => Edit::Set(&path[from..], "[7]".into()),
        false => Edit::Remove(&path[from..]),
    });
    edits.collect()
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
        let apart = apart(all);
        let edits = edits(&apart, 0);
        let mut expected: Value = serde_json::from_str(&text).unwrap();
        let fits = apart.iter().try_for_each(|(path, set)| changed(&mut expected, path, *set));
        let edited = edited(&Bytes::from(text), &edits);
        let edited = edited.map(|text| serde_json::from_slice::<Value>(&text).unwrap());
        prop_assert_eq!(edited, fits.map(|()| expected));
    }

    /// What is taken out is what is picked, and the others are what is left when it is removed.
    #[test]
    fn what_is_taken_and_what_is_left_are_all_there_is(
        text in object().prop_filter("an object", |text| text.starts_with('{')),
        names in prop::sample::select(vec![["a", "c"], ["b", "\\\""], ["c", "x"]]),
    ) {
        let (found, others) = taken(&text, names).unwrap();
        prop_assert_eq!(Some(found), picked(text.as_bytes(), &[], names));
        let paths = names.map(|name| [name]);
        let edits = paths.each_ref().map(|path| Edit::Remove(path));
        let left = edited(&Bytes::from(text), &edits).unwrap();
        let others: Value = serde_json::from_str(&format!("{{{others}}}")).unwrap();
        prop_assert_eq!(others, serde_json::from_slice::<Value>(&left).unwrap());
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
