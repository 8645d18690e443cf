//! The page that the tour is written on: plain text, 80 columns, bold and dim on a terminal.
//!
//! Folds what is too long and keeps the margins; what is said is the tour's.

use std::io::{self, Write};

use crate::failure::{Failure, Stage};

const WIDTH: usize = 80;
/// A long message is shown up to here.
const LINES: usize = 8;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// A page that is written from the top to the bottom.
pub(super) struct Page<W> {
    out: W,
    styled: bool,
}

impl<W: Write> Page<W> {
    /// An empty page; `styled` for a terminal.
    pub(super) fn new(out: W, styled: bool) -> Self {
        Self { out, styled }
    }

    /// What the page is written to.
    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.out
    }

    /// A line of its own, with room before and after it.
    pub(super) fn heading(&mut self, text: &str) -> Result<(), Failure> {
        let text = self.styled(BOLD, text);
        self.write(&format!("\n{text}\n\n"))
    }

    /// An empty line.
    pub(super) fn gap(&mut self) -> Result<(), Failure> {
        self.write("\n")
    }

    /// A paragraph.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        for line in fold(text, WIDTH) {
            self.write(&format!("{line}\n"))?;
        }
        Ok(())
    }

    /// Lines to be copied: not folded.
    pub(super) fn verbatim(&mut self, text: &str) -> Result<(), Failure> {
        let lines: String = text.lines().map(|line| format!("  {line}\n")).collect();
        self.write(&lines)
    }

    /// A message behind its mark, its end left out when it is long.
    pub(super) fn message(&mut self, mark: char, text: &str) -> Result<(), Failure> {
        let lines = fold(text, WIDTH - 4);
        let mut mark = mark;
        for line in lines.iter().take(LINES) {
            self.write(&format!("  {mark} {line}\n"))?;
            mark = ' ';
        }
        let shown: usize = lines.iter().take(LINES).map(|line| line.len()).sum();
        if lines.len() > LINES {
            self.write(&format!("    ... and {} bytes more\n", text.len() - shown))?;
        }
        Ok(())
    }

    /// A note from the other side of the wire.
    pub(super) fn beyond(&mut self, text: &str) -> Result<(), Failure> {
        for line in fold(text, WIDTH - 8) {
            let line = self.styled(DIM, &format!("      | {line}"));
            self.write(&format!("{line}\n"))?;
        }
        Ok(())
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.styled { format!("{style}{text}{PLAIN}") } else { text.to_owned() }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| unwritten(&error))
    }
}

fn unwritten(error: &io::Error) -> Failure {
    Failure::new(Stage::Downstream, format!("the tour can't be written to stdout: {error}"))
}

/// Cuts `text` into lines of at most `width` characters: JSON between its members, where there is
/// such a place in the line, else words at a blank.
fn fold(text: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some((limit, beyond)) = rest.char_indices().nth(width) {
        // A blank may stand just beyond the line that it ends.
        let end = limit + beyond.len_utf8();
        let last = |mark| rest[..end].rfind(mark).map(|at| at + 1).filter(|cut| *cut > limit / 3);
        let member = [",\"", "{\"", ",{"].into_iter().filter_map(last).max();
        let (line, next) = rest.split_at(member.or_else(|| last(" ")).unwrap_or(limit));
        lines.push(line.trim_end());
        rest = next;
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_where_they_can_be() {
        assert_eq!(fold("one two three", 7), ["one two", "three"]);
        assert_eq!(fold("one two three", 8), ["one two", "three"]);
        assert_eq!(fold(r#"{"a":1,"b":"2 3"}"#, 14), [r#"{"a":1,"#, r#""b":"2 3"}"#]);
        assert_eq!(fold("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(fold("äöüäöü", 4), ["äöüä", "öü"]);
        assert_eq!(fold("", 4), [""]);
    }

    #[test]
    fn only_a_terminal_gets_styles() {
        for (styled, expected) in [(false, "\ntitle\n\n"), (true, "\n\x1b[1mtitle\x1b[0m\n\n")] {
            let mut page = Page::new(Vec::new(), styled);
            assert!(page.heading("title").is_ok());
            assert_eq!(page.into_inner(), expected.as_bytes());
        }
    }
}
