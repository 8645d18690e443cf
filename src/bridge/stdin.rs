//! Standard input as lines: one JSON-RPC message each.
//!
//! Carriage returns before line ends and blank lines are tolerated. A line over the limit is
//! skipped without being kept, and named, so that it can be answered; reading goes on after it.

use bytes::{Bytes, BytesMut};

use crate::{mcp::message::Id, stdio::Input};

/// How much of the start and of the end of a line that is too long is kept to find its id.
const EDGE: usize = 4 * 1024;

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end, not blank.
    Message(Bytes),
    /// A line over the limit: its id, where that can be seen, and whether it can have been a
    /// request.
    TooLong(Option<Id>, bool),
}

/// Reads lines from standard input.
pub(super) struct Lines {
    input: Input,
    splitter: Splitter,
    ended: bool,
}

impl Lines {
    pub(super) fn new(input: Input, limit: usize) -> Self {
        Self { input, splitter: Splitter::new(limit), ended: false }
    }

    /// The next line; none at the end of input. A last line without an end counts.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.splitter.next() {
                return Some(line);
            }
            if self.ended {
                return self.splitter.rest();
            }
            match self.input.read(&mut self.splitter.buffer).await {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "standard input broke");
                    self.ended = true;
                }
            }
        }
    }
}

/// Splits bytes into lines, in any split of the input.
#[derive(Debug)]
struct Splitter {
    limit: usize,
    buffer: BytesMut,
    /// How far the buffer is known to hold no line end.
    scanned: usize,
    /// The edges of the line that is being skipped.
    skipping: Option<Skipped>,
}

#[derive(Debug)]
struct Skipped {
    head: Bytes,
    tail: Vec<u8>,
}

impl Splitter {
    fn new(limit: usize) -> Self {
        Self { limit, buffer: BytesMut::new(), scanned: 0, skipping: None }
    }

    fn next(&mut self) -> Option<Line> {
        loop {
            let Some(found) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) else {
                self.scanned = self.buffer.len();
                // One byte more may be the carriage return of the line's end.
                if self.scanned > self.limit + 1 || self.skipping.is_some() {
                    self.skip();
                }
                return None;
            };
            let end = self.scanned + found;
            let line = self.buffer.split_to(end + 1).freeze().slice(..end);
            self.scanned = 0;
            if let Some(line) = self.finish(line) {
                return Some(line);
            }
        }
    }

    fn rest(&mut self) -> Option<Line> {
        let line = self.buffer.split().freeze();
        self.scanned = 0;
        self.finish(line)
    }

    fn finish(&mut self, line: Bytes) -> Option<Line> {
        if let Some(mut skipped) = self.skipping.take() {
            skipped.extend(&line);
            return Some(skipped.name());
        }
        if line.len() > self.limit + usize::from(line.ends_with(b"\r")) {
            let mut skipped = Skipped::new(&line);
            skipped.extend(&line);
            return Some(skipped.name());
        }
        (!line.trim_ascii().is_empty()).then_some(Line::Message(line))
    }

    /// Drops what has come of a line that is too long.
    fn skip(&mut self) {
        let part = std::mem::take(&mut self.buffer);
        self.scanned = 0;
        self.skipping.get_or_insert_with(|| Skipped::new(&part)).extend(&part);
    }
}

impl Skipped {
    fn new(start: &[u8]) -> Self {
        Self { head: Bytes::copy_from_slice(&start[..start.len().min(EDGE)]), tail: Vec::new() }
    }

    fn extend(&mut self, part: &[u8]) {
        self.tail.extend_from_slice(&part[part.len().saturating_sub(EDGE)..]);
        let surplus = self.tail.len().saturating_sub(EDGE);
        self.tail.drain(..surplus);
    }

    fn name(&self) -> Line {
        let edges = [&self.head[..], &self.tail[..]];
        let says = |word: &[u8]| edges.iter().any(|e| memchr::memmem::find(e, word).is_some());
        let response = says(b"\"result\"") && !says(b"\"method\"");
        Line::TooLong(self.id(), !response)
    }

    /// The id, if it is the first or second member, or the last or last but one: where every
    /// known client puts it.
    fn id(&self) -> Option<Id> {
        let head = std::str::from_utf8(lossless_prefix(&self.head)).unwrap_or_default();
        let tail = self.tail.trim_ascii_end();
        id_at_start(head).or_else(|| id_at_end(tail))
    }
}

/// The longest prefix that is UTF-8.
fn lossless_prefix(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes,
        Err(error) => &bytes[..error.valid_up_to()],
    }
}

/// Reads `{"jsonrpc":"2.0","id":TOKEN` in any order of scalar members up to the first that is
/// none.
fn id_at_start(text: &str) -> Option<Id> {
    let mut rest = text.trim_start().strip_prefix('{')?;
    loop {
        let (name, after) = scalar(rest)?;
        let after = after.trim_start().strip_prefix(':')?;
        let (value, after) = scalar(after)?;
        if name == "\"id\"" {
            return Id::from_token(value);
        }
        rest = after.trim_start().strip_prefix(',')?;
    }
}

/// A string or number at the start of `text`, and what follows it.
fn scalar(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let length = if text.starts_with('"') {
        let mut escaped = false;
        let closing = text.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        closing? + 2
    } else {
        text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))?
    };
    (length > 0).then(|| text.split_at(length))
}

/// Finds `"id":TOKEN}` or `"id":TOKEN,"jsonrpc":"2.0"}` at the end of `tail`.
fn id_at_end(tail: &[u8]) -> Option<Id> {
    let at = memchr::memmem::rfind(tail, b"\"id\"")?;
    let text = std::str::from_utf8(&tail[at + 4..]).ok()?;
    let (token, rest) = scalar(text.trim_start().strip_prefix(':')?)?;
    let blankless: String = rest.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    matches!(&*blankless, "}" | r#","jsonrpc":"2.0"}"#).then(|| Id::from_token(token))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn split(limit: usize, chunks: &[&[u8]]) -> Vec<Line> {
        let mut splitter = Splitter::new(limit);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.buffer.extend_from_slice(chunk);
            lines.extend(std::iter::from_fn(|| splitter.next()));
        }
        lines.extend(splitter.rest());
        lines
    }

    #[test]
    fn lines_end_with_and_without_carriage_returns_and_blank_ones_are_nothing() {
        let lines = split(100, &[b"{}\r\n\n \t\r\n[1]\n{\"a\":1}"]);
        let texts: Vec<&[u8]> = lines
            .iter()
            .map(|line| match line {
                Line::Message(bytes) => bytes.trim_ascii(),
                Line::TooLong(..) => panic!("none is too long"),
            })
            .collect();
        assert_eq!(texts, [&b"{}"[..], b"[1]", b"{\"a\":1}"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_named_and_reading_goes_on() {
        let big = "x".repeat(5000);
        for (line, id) in [
            (format!(r#"{{"jsonrpc":"2.0","id":7,"method":"m","params":"{big}"}}"#), Some("7")),
            (
                format!(
                    r#"{{"method":"m","params":{{"id":1,"a":"{big}"}},"jsonrpc":"2.0","id":8}}"#
                ),
                Some("8"),
            ),
            (format!(r#"{{"params":"{big}","id":"a\"b", "jsonrpc":"2.0" }}"#), Some(r#""a\"b""#)),
            (format!(r#"{{"params":{{"a":"{big}","id":3}}}}"#), None),
            (big.clone(), None),
            (format!(r#"{{"jsonrpc":"2.0","id":3,"result":{{"a":"{big}"}}}}"#), Some("3")),
        ] {
            let request = !line.contains("result");
            let text = format!("{line}\n{{}}\n");
            for size in [1, 7, 4096, text.len()] {
                let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                let expected = id.map(|token| Id::from_token(token).unwrap());
                let lines = split(100, &chunks);
                assert_eq!(lines[0], Line::TooLong(expected, request), "{size}");
                assert_eq!(lines[1], Line::Message(Bytes::from_static(b"{}")));
            }
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(
            text in "[a-z{}\": \r\n]{0,200}", cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let text = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(20, &chunks), split(20, &[text]));
        }
    }
}
