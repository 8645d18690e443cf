//! Edits of a JSON text that leave every other byte of it alone.
//!
//! Paths of member names lead from the root object to what is read, set or removed. What an edit does
//! not name is copied as it stands, however large, and never parsed into values.

mod changes;
#[cfg(test)]
mod tests;
mod walk;

use std::{borrow::Cow, fmt, ops::Range};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use self::changes::Change;

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
    let mut places = [const { None }; N];
    let mut picking = Picking { text, names: &names, places: &mut places, there: false };
    picking.object(walk::begin(text), path)?;
    let raw = |place: Range<usize>| std::str::from_utf8(text.get(place)?).ok();
    let there = picking.there;
    there.then(|| places.map(|place| place.and_then(raw)))
}

/// Takes the members `names` out of the object `text`: their raw values, the last ones where a name is
/// doubled, and the others as they stand, with commas between them. None where it is no object; it must be
/// JSON that was checked before.
#[must_use]
pub fn taken<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Option<([Option<&'a str>; N], String)> {
    let bytes = text.as_bytes();
    let mut members = walk::Members::of(bytes, walk::begin(bytes))?;
    let (mut found, mut others) = ([None; N], String::new());
    while let Ok(member) = members.next()? {
        let end = walk::value(bytes, member.value)?;
        if let Some(at) = names.iter().position(|name| member.name.is(name)) {
            found[at] = text.get(member.value..end);
        } else {
            others.push_str(if others.is_empty() { "" } else { "," });
            others.push_str(text.get(member.start..end)?);
        }
        members.past(end);
    }
    Some((found, others))
}

/// Finds where what is picked lies.
struct Picking<'a> {
    text: &'a [u8],
    names: &'a [&'a str],
    /// Of each name.
    places: &'a mut [Option<Range<usize>>],
    /// There is an object that may have them.
    there: bool,
}

impl Picking<'_> {
    /// Looks through the object at `at`, from which `path` leads on, and says where it ends.
    fn object(&mut self, at: usize, path: &[&str]) -> Option<usize> {
        let mut members = walk::Members::of(self.text, at)?;
        // Of doubled ones the last one counts.
        if path.is_empty() {
            self.there = true;
            self.places.fill(None);
        }
        loop {
            let member = match members.next()? {
                Ok(member) => member,
                Err(end) => return Some(end),
            };
            let below = path.split_first().filter(|(step, _)| member.name.is(step));
            let inner = below.and_then(|(_, path)| {
                self.there = false;
                self.object(member.value, path)
            });
            let end = match inner {
                Some(end) => end,
                None => walk::value(self.text, member.value)?,
            };
            if path.is_empty()
                && let Some(at) = self.names.iter().position(|name| member.name.is(name))
                && let Some(place) = self.places.get_mut(at)
            {
                *place = Some(member.value..end);
            }
            members.past(end);
        }
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
    splice(text, &changes::of(text, edits)?, place)
}

/// `text` with another one at each of two places, neither of them within the other; and where the first has
/// come to lie.
#[must_use]
pub fn replaced(
    text: &Bytes,
    first: (Range<usize>, &str),
    second: (Range<usize>, &str),
) -> Option<(Bytes, Range<usize>)> {
    let place = first.0.clone();
    let mut changes = [first, second].map(|(place, new)| Change::new(place, new));
    changes.sort_by_key(|change| change.place.start);
    splice(text, &changes, place)
}

/// Makes changes, which are in the order of the text.
fn splice(
    text: &Bytes,
    changes: &[Change<'_>],
    place: Range<usize>,
) -> Option<(Bytes, Range<usize>)> {
    let (mut start, mut length, mut room) = (place.start, place.len(), text.len());
    for change in changes {
        let (new, old) = (change.text.len(), change.place.len());
        room = (room + new).checked_sub(old)?;
        if change.place == place {
            length = new;
        } else if change.place.start <= place.start {
            start = (start + new).checked_sub(old)?;
        }
    }
    let mut result = Vec::with_capacity(room);
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
