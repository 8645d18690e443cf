//! Steps over a JSON text that was checked when it came, many times faster than checking it again.
//!
//! Of a text that is no JSON a step leads to nothing or to the wrong place, and never past the end.

use std::{borrow::Cow, ops::Range};

/// Goes from member to member of an object, doubled ones included.
pub(super) struct Members<'a> {
    text: &'a str,
    /// Behind the brace, or the last value.
    at: usize,
    first: bool,
}

/// A member, as far as its value's first byte.
pub(super) struct Member<'a> {
    pub(super) name: Cow<'a, str>,
    /// Of its name's first quote.
    pub(super) start: usize,
    pub(super) value: usize,
}

impl<'a> Members<'a> {
    /// Of the object that begins at `at`; none where something else does.
    pub(super) fn of(text: &'a str, at: usize) -> Option<Self> {
        (text.as_bytes().get(at)? == &b'{').then_some(Self { text, at: at + 1, first: true })
    }

    /// The next member, whose value ends before `end` is told; or where the object itself ends.
    pub(super) fn next(&mut self) -> Option<Result<Member<'a>, usize>> {
        let bytes = self.text.as_bytes();
        let mut at = blanks(bytes, self.at);
        match bytes.get(at)? {
            b'}' => return Some(Err(at + 1)),
            b',' if !self.first => at = blanks(bytes, at + 1),
            _ if self.first => {}
            _ => return None,
        }
        self.first = false;
        let start = at;
        let end = string(bytes, start)?;
        let colon = blanks(bytes, end);
        if bytes.get(colon)? != &b':' {
            return None;
        }
        let value = blanks(bytes, colon + 1);
        Some(Ok(Member { name: unescaped(self.text.get(start..end)?)?, start, value }))
    }

    /// Says where the last member's value ends.
    pub(super) fn past(&mut self, end: usize) {
        self.at = end;
    }
}

/// The first byte of `text` that is no blank.
pub(super) fn begin(text: &str) -> usize {
    blanks(text.as_bytes(), 0)
}

/// The value that begins at `at`.
pub(super) fn value(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let end = match bytes.get(at)? {
        b'"' => string(bytes, at)?,
        b'{' | b'[' => nested(bytes, at)?,
        _ => {
            let rest = bytes.get(at..)?;
            let over =
                |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            at + rest.iter().position(over).unwrap_or(rest.len())
        }
    };
    Some(at..end)
}

/// Behind the object or array at `at`.
fn nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return Some(at + 1),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// Behind the string at `at`: its end is a quote with an even number of backslashes before it.
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at)? != &b'"' {
        return None;
    }
    let mut from = at + 1;
    loop {
        let quote = from + memchr::memchr(b'"', bytes.get(from..)?)?;
        let escapes = bytes[from..quote].iter().rev().take_while(|byte| **byte == b'\\').count();
        from = quote + 1;
        if escapes % 2 == 0 {
            return Some(from);
        }
    }
}

fn blanks(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    at + rest.iter().take_while(blank).count()
}

/// The text of a string with its quotes.
fn unescaped(token: &str) -> Option<Cow<'_, str>> {
    if token.contains('\\') {
        return serde_json::from_str(token).ok().map(Cow::Owned);
    }
    token.get(1..token.len() - 1).map(Cow::Borrowed)
}
