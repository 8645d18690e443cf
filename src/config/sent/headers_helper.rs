//! `--headers-helper` and `headers_helper`: what was said of it, and what it comes to.

use std::time::Duration;

use crate::{
    credentials::headers_helper::{Server, Settings},
    failure::Failure,
};

use super::super::{
    forms,
    place::{Place, Stated},
    scope::Scope,
    value::Item,
};

const KEYS: [&str; 3] = ["command", "ttl", "shell"];

/// What was said.
pub(in crate::config) struct Said {
    command: Command,
    ttl: Option<Duration>,
}

enum Command {
    /// A program and its arguments.
    Words(Vec<String>),
    /// For a shell to read.
    Shell(String),
}

impl Said {
    /// Reads a list of words, a string that is split at blanks, or a table that has one of them.
    pub(in crate::config) fn read(item: &Item<'_>) -> Result<Self, Failure> {
        let Ok(items) = item.items() else {
            return Ok(Self { command: words(item)?, ttl: None });
        };
        let (mut command, mut ttl, mut shell) = (None, None, false);
        for item in items {
            match item.name {
                "command" => command = Some(item),
                "ttl" => {
                    let time = item.scalar()?;
                    let time = forms::duration(&time.value).map_err(|e| item.place.refuse(e))?;
                    ttl = Some(time);
                }
                "shell" => shell = item.boolean()?,
                _ => return Err(item.unknown(&KEYS)),
            }
        }
        let Some(command) = command else {
            let refused = item.place.refuse("expected a command, found a table without one");
            return Err(refused.hint("write it as { command = [\"prog\", \"arg\"], ttl = \"5m\" }"));
        };
        let command = if shell { line(&command)? } else { words(&command)? };
        Ok(Self { command, ttl })
    }

    /// The headers it owns: none that are known before it has run.
    pub(super) fn headers(&self) -> Vec<String> {
        Vec::new()
    }

    /// The settings, with templates filled in and the program found; a shell fills in its own.
    pub(in crate::config) fn settle(
        &self,
        place: &Place,
        scope: &Scope<'_>,
        server: Server,
    ) -> Result<Settings, Failure> {
        let argv = match &self.command {
            Command::Words(words) => argv(place, scope, words)?,
            Command::Shell(line) => vec!["sh".to_owned(), "-c".to_owned(), line.clone()],
        };
        Ok(Settings::new(argv, self.ttl, server))
    }
}

/// One string is split at blanks, as a `command:` reference is.
fn words(item: &Item<'_>) -> Result<Command, Failure> {
    let words: Vec<String> = match item.text() {
        Some(text) if text.contains(['"', '\'']) => {
            let what = "expected words between blanks, found quotes, which no shell reads here";
            return Err(item.place.refuse(what).hint(
                "in a profile, give the command as a list, one argument an item, or as a string \
                 with shell = true",
            ));
        }
        Some(text) => text.split_ascii_whitespace().map(str::to_owned).collect(),
        None => item.strings()?.into_iter().map(|word| word.value).collect(),
    };
    match words.first() {
        Some(program) if !program.is_empty() => Ok(Command::Words(words)),
        _ => Err(item.place.refuse("expected a program, found none").hint("name it first")),
    }
}

fn line(item: &Item<'_>) -> Result<Command, Failure> {
    match item.text() {
        Some(line) if !line.trim().is_empty() => Ok(Command::Shell(line.to_owned())),
        Some(_) => Err(item.place.refuse("expected a command, found nothing")),
        None => Err(item
            .place
            .refuse("expected one string where shell = true, found something else")
            .hint("a list runs without a shell: remove shell = true")),
    }
}

/// As with `command:` references: a bare name is looked for in PATH, anything with a `/` is a
/// path.
fn argv(place: &Place, scope: &Scope<'_>, words: &[String]) -> Result<Vec<String>, Failure> {
    let word = |(at, word): (usize, &String)| match at {
        0 if word.contains('/') => {
            let said = Stated { value: word.clone(), place: place.clone() };
            Ok(scope.path(&said)?.to_string_lossy().into_owned())
        }
        _ => scope.expand(place, word),
    };
    words.iter().enumerate().map(word).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::path::Path;

    use toml::de::DeTable;

    use super::{super::super::value::Source, *};

    fn said(toml: &str) -> Result<Said, Failure> {
        let source = Source::File { file: Path::new("/etc/corp/c.toml").into(), text: toml };
        let table = DeTable::parse(toml).unwrap();
        Said::read(&Item::of_document(&source, table.get_ref())[0])
    }

    /// What is run, and its place is a file below `/etc/corp`.
    fn run(toml: &str) -> Result<String, Failure> {
        let scope = |name: &str| (name == "TENANT").then(|| "acme".to_owned());
        let file = Path::new("/etc/corp/c.toml").into();
        let place = Place::Key { file, line: 1, key: "headers_helper".to_owned() };
        match &said(toml)?.command {
            Command::Words(words) => Ok(argv(&place, &Scope::new(&scope), words)?.join("|")),
            Command::Shell(line) => Ok(format!("sh: {line}")),
        }
    }

    #[test]
    fn four_forms() {
        for (toml, argv) in [
            ("h = [\"prog\", \"an arg\", \"${TENANT}\"]", "prog|an arg|acme"),
            ("h = \"prog  arg\"", "prog|arg"),
            ("h = \"./prog --a=b,c\"", "/etc/corp/./prog|--a=b,c"),
            ("h = { command = [\"/bin/prog\"], ttl = \"5m\" }", "/bin/prog"),
            ("h = { command = \"prog arg\", shell = false }", "prog|arg"),
            (
                "h = { command = \"a 'b c' | d ${TENANT}\", shell = true }",
                "sh: a 'b c' | d ${TENANT}",
            ),
        ] {
            assert_eq!(run(toml).unwrap(), argv, "{toml}");
        }
        let ttl = said("h = { command = [\"p\"], ttl = 90 }").unwrap().ttl;
        assert_eq!(ttl, Some(Duration::from_secs(90)));
        assert_eq!(said("h = \"p\"").unwrap().ttl, None);
    }

    #[test]
    fn mistakes_are_told_where_they_stand_and_not_repeated() {
        for (toml, what) in [
            ("h = []", "h: expected a program"),
            ("h = \" \"", "h: expected a program"),
            ("h = [\"\", \"canary\"]", "h: expected a program"),
            ("h = [\"canary\", 5]", "h: expected a string or a list of strings"),
            ("h = \"prog 'canary canary'\"", "h: expected words between blanks, found quotes"),
            ("h = { ttl = 5 }", "h: expected a command"),
            ("h = { command = \"canary\", ttl = \"soon\" }", "ttl: expected a time"),
            ("h = { command = \"canary\", shell = \"yes\" }", "shell: expected true or false"),
            ("h = { command = [\"canary\"], shell = true }", "command: expected one string"),
            ("h = { command = \" \", shell = true }", "command: expected a command"),
            ("h = { comand = \"canary\" }", "comand: unknown key"),
        ] {
            let refused = run(toml).unwrap_err();
            let said = format!("{refused:?}");
            assert!(refused.what().contains(what), "{toml}: {said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }
}
