//! A file of variables, `.env`, for templates and `env:` references to see.
//!
//! The grammar is the part on which shells, Docker and the dotenv libraries agree; where they
//! part, this one says so instead of guessing. Nothing in a value is filled in, nothing is ever
//! put into the environment of a process, and no error quotes what stands in the file.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::{failure::Failure, secret};

use super::place::Place;

/// More than any such file has; what is longer is the wrong file.
const MAXIMUM_LENGTH: usize = 1024 * 1024;

/// The variables of a file, wiped from memory when dropped.
pub(super) struct EnvFile {
    path: PathBuf,
    variables: Vec<Variable>,
}

/// A variable and the line it stands in.
pub(super) struct Variable {
    name: String,
    pub(super) value: Zeroizing<String>,
    pub(super) line: usize,
}

/// What is wrong with a line. By its type it holds nothing of it.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    line: usize,
    what: &'static str,
    hint: &'static str,
}

impl EnvFile {
    /// Reads the file that was named at `place`.
    ///
    /// Fails when it can't be read, is no text, or has a line that is no variable.
    pub(super) fn read(place: &Place, path: PathBuf) -> Result<Self, Failure> {
        let file = path.display();
        let unreadable = |error| {
            let what = format_args!("the file {file} could not be read: {error}");
            place
                .refuse(what)
                .hint("check the path; a relative one in a profile begins at its file")
        };
        let kind = std::fs::metadata(&path).map_err(unreadable)?;
        secret::warn_of_others(&path, &kind);
        // Room for all there may be: some files have no length, and one byte more shows more.
        let bytes = secret::contents(&path, MAXIMUM_LENGTH + 1).map_err(unreadable)?;
        if bytes.len() > MAXIMUM_LENGTH {
            let what = format_args!("the file {file} is longer than {MAXIMUM_LENGTH} bytes");
            return Err(place.refuse(what).hint("check that it is the right one"));
        }
        let variables = parse(&bytes).map_err(|Mistake { line, what, hint }| {
            place.refuse(format_args!("{file}:{line}: {what}")).hint(hint)
        })?;
        Ok(Self { path, variables })
    }

    /// The variable `name`: the last of that name, as a shell would have it.
    pub(super) fn get(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().rev().find(|variable| variable.name == name)
    }

    /// Where a variable of this file stands, for errors.
    pub(super) fn place(&self, variable: &Variable) -> String {
        format!("{}:{}", self.path.display(), variable.line)
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Variable>, Mistake> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        mistake(line, "expected text in UTF-8, found something else", "save the file as UTF-8")
    })?;
    let mut rest = Text { rest: text, line: 1 };
    let mut variables = Vec::new();
    while !rest.rest.is_empty() {
        variables.extend(rest.variable()?);
    }
    Ok(variables)
}

fn mistake(line: usize, what: &'static str, hint: &'static str) -> Mistake {
    Mistake { line, what, hint }
}

/// What is still to be read, and the line it starts in.
struct Text<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Text<'t> {
    /// The next line, and those that a quoted value goes on in; nothing where it says nothing.
    fn variable(&mut self) -> Result<Option<Variable>, Mistake> {
        let line = self.line;
        let said = self.line_ahead().trim_start_matches(BLANKS);
        if said.is_empty() || said.starts_with('#') {
            self.take_line();
            return Ok(None);
        }
        let name = self.name().ok_or_else(|| {
            let hint = "a comment starts with #; a value with several lines stands in quotes";
            mistake(line, "expected NAME=VALUE, found something else", hint)
        })?;
        let value = self.rest.trim_start_matches(BLANKS);
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                self.rest = value;
                self.quoted(quote)?
            }
            _ => Zeroizing::new(self.plain().to_owned()),
        };
        if value.contains('\0') {
            let hint = "no variable can hold one: save the file as UTF-8";
            return Err(mistake(line, "found a NUL character", hint));
        }
        Ok(Some(Variable { name: name.to_owned(), value, line }))
    }

    /// The name and what leads up to the value.
    fn name(&mut self) -> Option<&'t str> {
        let (left, _) = self.line_ahead().split_once('=')?;
        let name = left.trim_matches(BLANKS);
        let name = match name.strip_prefix("export") {
            Some(exported) if exported.starts_with(BLANKS) => exported.trim_start_matches(BLANKS),
            _ => name,
        };
        self.rest = &self.rest[left.len() + 1..];
        is_name(name).then_some(name)
    }

    /// A value without quotes: the rest of the line but for a comment, white space at both ends
    /// left out. A `#` within a word belongs to the word.
    fn plain(&mut self) -> &'t str {
        let line = self.take_line();
        let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with(BLANKS));
        comment.map_or(line, |(at, _)| &line[..at]).trim_matches(BLANKS)
    }

    /// A value in quotes, which may go on in further lines.
    fn quoted(&mut self, quote: char) -> Result<Zeroizing<String>, Mistake> {
        let opened = self.line;
        let body = &self.rest[1..];
        let end = closing(body, quote).ok_or_else(|| {
            let hint = "close it; a quote within a value stands in quotes of the other kind";
            mistake(opened, "the quote that opens the value is never closed", hint)
        })?;
        let body = &body[..end];
        let value = read_quoted(body, quote == '"').map_err(|at| {
            let hint = "it is \\n, \\r, \\t, \\\", \\\\ or \\$; in single quotes a \\ is itself";
            mistake(opened + newlines(&body[..at]), "found an escape that is not known", hint)
        })?;
        self.line += newlines(body);
        self.rest = &self.rest[1 + end + 1..];
        let line = self.line;
        let after = self.take_line().trim_start_matches(BLANKS);
        if after.is_empty() || after.starts_with('#') {
            return Ok(value);
        }
        let hint = "a quote within a value stands in quotes of the other kind, or after a \\";
        Err(mistake(line, "expected the end of the line after the closing quote", hint))
    }

    /// What is left of the line, without its end.
    fn line_ahead(&self) -> &'t str {
        let line = self.rest.split('\n').next().unwrap_or_default();
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// The same, and goes on to the next line.
    fn take_line(&mut self) -> &'t str {
        let line = self.line_ahead();
        self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        self.line += 1;
        line
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// A name as a shell has it, and what other programs read besides: those with `.` and `-`.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Where the quote that opened `body` is closed.
fn closing(body: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    body.char_indices().find_map(|(at, letter)| {
        let found = letter == quote && !escaped;
        escaped = quote == '"' && letter == '\\' && !escaped;
        found.then_some(at)
    })
}

/// What stands between quotes, `\r\n` as a line feed, escapes read where there are any; or where
/// one is that is not known.
fn read_quoted(text: &str, escapes: bool) -> Result<Zeroizing<String>, usize> {
    // A string that grows would leave copies behind; this one never needs more than there is.
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\r' if text[at + 1..].starts_with('\n') => {}
            '\\' if escapes => value.push(match letters.next() {
                Some((_, 'n')) => '\n',
                Some((_, 'r')) => '\r',
                Some((_, 't')) => '\t',
                Some((_, itself @ ('"' | '\\' | '$'))) => itself,
                _ => return Err(at),
            }),
            _ => value.push(letter),
        }
    }
    Ok(value)
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Mistake> {
        let pair = |it: Variable| (it.name, it.value.to_string());
        Ok(parse(text.as_bytes())?.into_iter().map(pair).collect())
    }

    #[test]
    fn the_grammar() {
        for (line, value) in [
            ("A=b", "b"),
            ("A = b", "b"),
            ("  export\tA=b  ", "b"),
            ("A=", ""),
            ("A= # nothing", ""),
            ("A=b # a comment", "b"),
            ("A=b#c", "b#c"),
            ("A=#b", "#b"),
            ("A=b c", "b c"),
            ("A=b=c==", "b=c=="),
            ("A=b'c\"d", "b'c\"d"),
            (r"A=C:\new\table", r"C:\new\table"),
            ("A=$B ${B}", "$B ${B}"),
            ("A='b # c' # a comment", "b # c"),
            (r"A='$B \n \'", r"$B \n \"),
            ("A='two\nlines'", "two\nlines"),
            ("A=\" b \"", " b "),
            (r#"A="\"b\" \\ \$c \n\t\r.""#, "\"b\" \\ $c \n\t\r."),
            ("A=\"two\r\nlines\"\r\n", "two\nlines"),
            ("A=\"\"#", ""),
            ("A=b\r\n", "b"),
            ("\u{feff}A=é", "é"),
        ] {
            assert_eq!(read(line), Ok(vec![("A".to_owned(), value.to_owned())]), "{line}");
        }
        for nothing in ["", "\n\r\n \n", "# A=b", "\t# A=b\n", "\u{feff}"] {
            assert_eq!(read(nothing), Ok(Vec::new()), "{nothing}");
        }
    }

    #[test]
    fn mistakes_are_told_by_their_line() {
        for (text, line, what) in [
            ("canary", 1, "expected NAME=VALUE"),
            ("A=b\n\n  canary\n", 3, "expected NAME=VALUE"),
            ("=canary", 1, "expected NAME=VALUE"),
            ("ca nary=x", 1, "expected NAME=VALUE"),
            ("1A=canary", 1, "expected NAME=VALUE"),
            ("exportA B=canary", 1, "expected NAME=VALUE"),
            ("A='b\nc'\ncanary", 3, "expected NAME=VALUE"),
            ("# \nA=\"canary\nB=c\n", 2, "is never closed"),
            ("A='canary\\'' ", 1, "expected the end of the line"),
            ("A=\"b\n\" canary", 2, "expected the end of the line"),
            ("A=\"b\n canary \\d\"", 2, "an escape that is not known"),
            ("A=b\nB=can\0ary", 2, "a NUL"),
        ] {
            let mistake = read(text).unwrap_err();
            assert_eq!(mistake.line, line, "{text:?}: {mistake:?}");
            assert!(mistake.what.contains(what), "{text:?}: {mistake:?}");
        }
        let latin = parse(b"A=b\nB=\xe9").map(drop).unwrap_err();
        assert_eq!((latin.line, latin.hint), (2, "save the file as UTF-8"));
    }

    #[test]
    fn the_last_of_a_name_counts_and_the_place_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "A=first\nB=b\nA=last").unwrap();
        let file = EnvFile::read(&Place::flag("--env-file"), path).unwrap();
        let found = file.get("A").unwrap();
        assert_eq!(*found.value, "last");
        assert!(file.place(found).ends_with("/.env:3"));
        assert!(file.get("C").is_none());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_flag() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let refusal = || {
            let refused = EnvFile::read(&Place::flag("--env-file"), path.clone());
            let refused = format!("{:?}", refused.map(drop).unwrap_err());
            assert!(refused.contains("--env-file: ") && refused.contains("/.env"), "{refused}");
            assert!(!refused.contains("canary"), "{refused}");
            refused
        };
        assert!(refusal().contains("could not be read"));
        std::fs::write(&path, "A=b\ncanary").unwrap();
        assert!(refusal().contains("/.env:2: expected NAME=VALUE"));
        std::fs::write(&path, vec![b'#'; MAXIMUM_LENGTH + 1]).unwrap();
        assert!(refusal().contains("longer than"));
    }

    /// A value as a line that has to give it back.
    fn double_quoted(value: &str) -> String {
        let escaped = value.replace('\\', r"\\").replace('"', "\\\"").replace('$', r"\$");
        format!("\"{}\"", escaped.replace('\r', r"\r"))
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(
            values in prop::collection::vec(("[A-Za-z_][A-Za-z0-9_]{0,8}", "[^\0]{0,24}"), 0..6),
        ) {
            let lines = values.iter().map(|(name, value)| {
                format!("export {name} = {} # x\r\n\n", double_quoted(value))
            });
            prop_assert_eq!(read(&lines.collect::<String>()), Ok(values));
        }

        #[test]
        fn what_needs_no_quotes_comes_back(value in "[^\0\r\n'\"# \t]([^\0\r\n#]{0,16}[^\0\r\n# \t])?") {
            let expected = vec![("A".to_owned(), value.clone())];
            prop_assert_eq!(read(&format!("A={value}")), Ok(expected.clone()));
            let single = format!("A='{}'", value.replace('\'', ""));
            prop_assert_eq!(read(&single).unwrap()[0].1.clone(), value.replace('\'', ""));
        }

        #[test]
        fn any_text_is_answered_and_lines_are_counted(text in "([A-Z]=|[\"'#\\\\\r\n $]|export|.){0,40}") {
            if let Err(mistake) = read(&text) {
                prop_assert!(mistake.line >= 1 && mistake.line <= 1 + newlines(&text));
            }
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
