//! Where a text changes: edits become places and what is put there, in the order of the text.
//!
//! One walk finds all of them, and nothing is allocated but what is written anew.

use std::{borrow::Cow, ops::Range};

use super::{Edit, walk};

/// Something that is put in the place of something else.
pub(super) struct Change<'e> {
    pub(super) place: Range<usize>,
    pub(super) text: Cow<'e, str>,
    /// Those that it is for; some of them are enough, as they are told apart by where they lead.
    edits: Which,
}

impl<'e> Change<'e> {
    /// Of no edit.
    pub(super) fn new(place: Range<usize>, text: &'e str) -> Self {
        Self { place, text: Cow::Borrowed(text), edits: Which::NONE }
    }
}

/// The changes that `edits` make to `text`; see [`super::edited`].
pub(super) fn of<'e>(text: &[u8], edits: &'e [Edit<'_>]) -> Option<Vec<Change<'e>>> {
    let mut editing = Editing { text, edits, changes: Vec::with_capacity(edits.len()) };
    editing.object(walk::begin(text), 0, Which::all(edits)?)?;
    debug_assert!(editing.changes.is_sorted_by_key(|change| change.place.start));
    Some(editing.changes)
}

struct Editing<'t, 'e> {
    text: &'t [u8],
    edits: &'e [Edit<'e>],
    changes: Vec<Change<'e>>,
}

impl<'e> Editing<'_, 'e> {
    /// Collects the changes to the object at `at`, to which the first `depth` names of the paths of
    /// `which` lead, and says where it ends.
    fn object(&mut self, at: usize, depth: usize, which: Which) -> Option<usize> {
        let mut members = walk::Members::of(self.text, at)?;
        let mut removal = Removal::default();
        let (mut found, mut no_object) = (Which::NONE, Which::NONE);
        let end = loop {
            let member = match members.next()? {
                Ok(member) => member,
                Err(end) => break end,
            };
            removal.begins(member.start, &mut self.changes);
            let named = self.named(which, depth, |step| member.name.is(step));
            let mut gone = None;
            let end = if named == Which::NONE {
                walk::value(self.text, member.value)?
            } else if let Some(Edit::Remove(_)) = self.leaf(named, depth) {
                gone = Some(named);
                walk::value(self.text, member.value)?
            } else {
                // Of doubled members the last one counts.
                if found.meets(named) {
                    self.changes.retain(|change| !change.edits.meets(named));
                }
                let (end, changed) = self.member(member.value, depth, named)?;
                no_object = if changed { no_object.less(named) } else { no_object.and(named) };
                end
            };
            found = found.and(named);
            removal.ends(member.start..end, gone, &mut self.changes);
            members.past(end);
        };
        if no_object != Which::NONE {
            return None;
        }
        removal.over(&mut self.changes);
        self.add(depth, which.less(found), end - 1, removal.kept);
        Some(end)
    }

    /// Collects the changes to the value at `at`, which stays; where it ends, and whether it is what
    /// they need.
    fn member(&mut self, at: usize, depth: usize, named: Which) -> Option<(usize, bool)> {
        if let Some(Edit::Set(_, new)) = self.leaf(named, depth) {
            let end = walk::value(self.text, at)?;
            let text = Cow::Borrowed(&**new);
            self.changes.push(Change { place: at..end, text, edits: named });
            return Some((end, true));
        }
        match self.object(at, depth + 1, named) {
            Some(end) => Some((end, true)),
            None => walk::value(self.text, at).map(|end| (end, false)),
        }
    }

    /// Adds what is `missing` before the end of an object, which is at `end`.
    fn add(&mut self, depth: usize, missing: Which, end: usize, comma: bool) {
        let mut added = String::with_capacity(missing.room(self.edits));
        self.write(depth, missing, comma, &mut added);
        if !added.is_empty() {
            let text = Cow::Owned(added);
            self.changes.push(Change { place: end..end, text, edits: missing });
        }
    }

    /// Writes members that are not there, the first one behind a `comma` where something else is.
    fn write(&self, depth: usize, missing: Which, mut comma: bool, text: &mut String) {
        let mut left = missing;
        while let Some(edit) = left.first(self.edits) {
            let Edit::Set(path, new) = edit else {
                left = left.less(left.lowest());
                continue;
            };
            let Some(name) = path.get(depth) else { return };
            if std::mem::replace(&mut comma, true) {
                text.push(',');
            }
            quote(name, text);
            text.push(':');
            let same = self.named(left, depth, |step| step == *name);
            if path.len() == depth + 1 {
                text.push_str(new);
            } else {
                text.push('{');
                self.write(depth + 1, same, false, text);
                text.push('}');
            }
            left = left.less(same);
        }
    }

    /// Those of `which` whose step at `depth` has the name.
    fn named(&self, which: Which, depth: usize, name: impl Fn(&str) -> bool) -> Which {
        let (mut named, mut left) = (Which::NONE, which);
        let mut before: Option<(&str, bool)> = None;
        while let Some(edit) = left.first(self.edits) {
            if let Some(step) = edit.path().get(depth) {
                // Edits that stand together mostly lead the same way.
                let same = before.filter(|(before, _)| std::ptr::eq(*step, *before));
                let (_, is) = *before.insert(same.unwrap_or_else(|| (step, name(step))));
                if is {
                    named = named.and(left.lowest());
                }
            }
            left = left.less(left.lowest());
        }
        named
    }

    /// The edit that ends at this depth, of those that have the same name there.
    fn leaf(&self, named: Which, depth: usize) -> Option<&'e Edit<'e>> {
        named.first(self.edits).filter(|edit| edit.path().len() == depth + 1)
    }
}

/// Some of the edits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Which(u32);

impl Which {
    const NONE: Self = Self(0);

    /// All of them; none where they are too many, or one leads nowhere.
    fn all(edits: &[Edit<'_>]) -> Option<Self> {
        if edits.iter().any(|edit| edit.path().is_empty()) {
            return None;
        }
        let count = u32::try_from(edits.len()).ok().filter(|count| *count <= u32::BITS)?;
        Some(Self(u32::MAX.checked_shr(u32::BITS - count).unwrap_or(0)))
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn less(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn lowest(self) -> Self {
        Self(self.0 & self.0.wrapping_neg())
    }

    /// What the paths and the values of some take when they are written, at most and about.
    fn room(self, edits: &[Edit<'_>]) -> usize {
        let (mut left, mut room) = (self, 0);
        while let Some(edit) = left.first(edits) {
            if let Edit::Set(path, new) = edit {
                room += new.len() + path.iter().map(|name| name.len() + 6).sum::<usize>();
            }
            left = left.less(left.lowest());
        }
        room
    }

    fn first<'e>(self, edits: &'e [Edit<'e>]) -> Option<&'e Edit<'e>> {
        edits.get(usize::try_from(self.0.trailing_zeros()).ok()?)
    }
}

/// Takes out whole members, each with one comma beside it.
#[derive(Default)]
struct Removal {
    /// Some member before has stayed.
    kept: bool,
    /// Where the member before ended.
    before: usize,
    /// Those before the first one that stays go up to where the next begins.
    open: Option<(Range<usize>, Which)>,
}

impl Removal {
    /// A member begins.
    fn begins(&mut self, at: usize, changes: &mut Vec<Change<'_>>) {
        if let Some((open, edits)) = self.open.take() {
            changes.push(Change { place: open.start..at, text: Cow::Borrowed(""), edits });
        }
    }

    /// It lies at `place`, and is to be gone for some edits.
    fn ends(&mut self, place: Range<usize>, gone: Option<Which>, changes: &mut Vec<Change<'_>>) {
        let end = place.end;
        match gone {
            Some(edits) if self.kept => {
                changes.push(Change { place: self.before..end, text: Cow::Borrowed(""), edits });
            }
            Some(edits) => self.open = Some((place, edits)),
            None => self.kept = true,
        }
        self.before = end;
    }

    /// There are no more.
    fn over(&mut self, changes: &mut Vec<Change<'_>>) {
        if let Some((place, edits)) = self.open.take() {
            changes.push(Change { place, text: Cow::Borrowed(""), edits });
        }
    }
}

/// Writes a name as a JSON string.
fn quote(name: &str, text: &mut String) {
    if name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..b' ')) {
        return text.push_str(&serde_json::Value::from(name).to_string());
    }
    text.push('"');
    text.push_str(name);
    text.push('"');
}
