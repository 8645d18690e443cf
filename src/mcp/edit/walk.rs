//! Steps over a JSON text that was checked when it came, many times faster than checking it again.
//!
//! Of a text that is no JSON a step leads to nothing or to the wrong place, and never past the end.

/// How far a string's end is looked for word by word.
const NEAR: usize = 24;

/// Goes from member to member of an object, doubled ones included.
pub(super) struct Members<'a> {
    text: &'a [u8],
    /// Behind the brace, or the last value.
    at: usize,
    first: bool,
}

/// A member, as far as its value's first byte.
pub(super) struct Member<'a> {
    pub(super) name: Name<'a>,
    /// Of its name's first quote.
    pub(super) start: usize,
    pub(super) value: usize,
}

/// A member's name as it is written.
pub(super) struct Name<'a> {
    /// With its quotes.
    token: &'a [u8],
    escaped: bool,
}

impl<'a> Members<'a> {
    /// Of the object that begins at `at`; none where something else does.
    pub(super) fn of(text: &'a [u8], at: usize) -> Option<Self> {
        (text.get(at)? == &b'{').then_some(Self { text, at: at + 1, first: true })
    }

    /// The next member, whose value ends before `end` is told; or where the object itself ends.
    pub(super) fn next(&mut self) -> Option<Result<Member<'a>, usize>> {
        let mut at = blanks(self.text, self.at);
        match self.text.get(at)? {
            b'}' => return Some(Err(at + 1)),
            b',' if !self.first => at = blanks(self.text, at + 1),
            _ if self.first => {}
            _ => return None,
        }
        self.first = false;
        let start = at;
        let (end, escaped) = name(self.text, start)?;
        let colon = blanks(self.text, end);
        if self.text.get(colon)? != &b':' {
            return None;
        }
        let name = Name { token: self.text.get(start..end)?, escaped };
        Some(Ok(Member { name, start, value: blanks(self.text, colon + 1) }))
    }

    /// Says where the last member's value ends.
    pub(super) fn past(&mut self, end: usize) {
        self.at = end;
    }
}

impl Name<'_> {
    /// Whether it says `name`, in whatever spelling.
    #[inline]
    pub(super) fn is(&self, name: &str) -> bool {
        if self.escaped {
            return self.spells(name);
        }
        // The quotes are two more.
        self.token.len() == name.len() + 2 && &self.token[1..=name.len()] == name.as_bytes()
    }

    /// The same where something in it is escaped, which hardly ever is.
    #[cold]
    fn spells(&self, name: &str) -> bool {
        serde_json::from_slice::<String>(self.token).is_ok_and(|it| it == name)
    }
}

/// The first byte of `text` that is no blank.
pub(super) fn begin(text: &[u8]) -> usize {
    blanks(text, 0)
}

/// Behind the value that begins at `at`.
pub(super) fn value(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => string(text, at),
        b'{' | b'[' => nested(text, at),
        _ => {
            let rest = text.get(at..)?;
            let over =
                |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            Some(at + rest.iter().position(over).unwrap_or(rest.len()))
        }
    }
}

/// Behind the object or array at `at`.
fn nested(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match text.get(at)? {
            b'"' => {
                at = string(text, at)?;
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

/// Behind the name at `at`, and whether something in it is escaped.
fn name(text: &[u8], at: usize) -> Option<(usize, bool)> {
    let inside = text.get(at..)?.strip_prefix(b"\"")?;
    let stop = first(inside, [b'"', b'\\'], |far| memchr::memchr2(b'"', b'\\', far))?;
    match inside[stop] {
        b'"' => Some((at + stop + 2, false)),
        _ => string(text, at).map(|end| (end, true)),
    }
}

/// Behind the string at `at`: its end is a quote with an even number of backslashes before it.
fn string(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at)? != &b'"' {
        return None;
    }
    let mut from = at + 1;
    loop {
        let quote = from + first(text.get(from..)?, [b'"'], |far| memchr::memchr(b'"', far))?;
        let escapes = text[from..quote].iter().rev().take_while(|byte| **byte == b'\\').count();
        from = quote + 1;
        if escapes % 2 == 0 {
            return Some(from);
        }
    }
}

/// Finds the first of some bytes in `text`. Most are near, where a search by wide registers, `far`, takes
/// longer to begin than to end.
fn first<const N: usize>(
    text: &[u8],
    bytes: [u8; N],
    far: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    let mut from = 0;
    while let Some(word) = text.get(from..).and_then(<[u8]>::first_chunk).filter(|_| from < NEAR) {
        let word = u64::from_le_bytes(*word);
        let found = bytes.into_iter().fold(0, |found, byte| found | holding(word, byte));
        if found != 0 {
            return Some(from + found.trailing_zeros() as usize / 8);
        }
        from += 8;
    }
    far(text.get(from..)?).map(|at| from + at)
}

/// A word whose lowest bit is the highest one of the first byte in `word` that is `byte`; zero where there
/// is none.
fn holding(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let zero = word ^ u64::from_ne_bytes([byte; 8]);
    zero.wrapping_sub(ONES) & !zero & (ONES << 7)
}

fn blanks(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}
