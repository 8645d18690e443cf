//! What texts come to mean in their surroundings: templates filled in, paths found, secrets opened.
//!
//! Every value passes here on its way into a `Settings`, so this is where white space at its ends
//! is refused: a token that was copied with its line feed fails here, with the variable's name, and
//! not at the upstream with a 401.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    failure::Failure,
    secret::{self, Held, Reference, Secret},
    template,
};

use super::{
    env_file::EnvFile,
    place::{Login, Place, Stated},
};

/// The surroundings of the program, as far as configuration may see them.
pub(super) struct Scope<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    env_file: Option<EnvFile>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { environment, env_file: None }
    }

    /// The same with the variables of a file, for templates and references.
    pub(super) fn with(self, env_file: Option<EnvFile>) -> Self {
        Self { env_file, ..self }
    }

    /// A variable of the environment as it is, for those whose values are not ours to interpret.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name)
    }

    /// A variable as a value of ours.
    pub(super) fn stated(&self, name: &'static str) -> Option<Stated<String>> {
        let place = Place::Variable(name);
        self.named(name).map(|value| Stated { value: value.to_string(), place })
    }

    /// The variable that a user named: the environment's, else the file's.
    fn named(&self, name: &str) -> Option<Zeroizing<String>> {
        let filled = |value: &Zeroizing<String>| !unfilled(name, value);
        let of_file = || self.env_file.as_ref()?.get(name).map(|found| found.value.clone());
        let of_environment = self.variable(name).map(Zeroizing::new);
        of_environment.filter(filled).or_else(|| of_file().filter(filled))
    }

    /// The value with its templates filled in; neither empty nor with white space at its ends.
    pub(super) fn text(&self, said: &Stated<String>) -> Result<String, Failure> {
        self.expand(&said.place, &said.value)
    }

    /// The path: templates filled in, `~/` at home, relative to the file that it was said in.
    pub(super) fn path(&self, said: &Stated<String>) -> Result<PathBuf, Failure> {
        self.find(&said.place, &said.value)
    }

    /// [`Scope::text`] of a text that is part of what was said at `place`.
    pub(super) fn expand(&self, place: &Place, text: &str) -> Result<String, Failure> {
        let untrimmed = RefCell::new(None);
        let lookup = |name: &str| {
            let value = self.named(name)?;
            if blank_end(&value).is_some() {
                untrimmed.borrow_mut().get_or_insert_with(|| (name.to_owned(), value.clone()));
            }
            Some(value.to_string())
        };
        let expanded =
            template::expand(text, &lookup).map_err(|error| place.explain(&error, error.hint()))?;
        if let Some((name, value)) = untrimmed.into_inner() {
            check_ends(&value)
                .map_err(|what| place.refuse(format_args!("the variable {name} {what}")))
                .map_err(|refused| refused.hint(format!("remove it where {name} is set")))?;
        }
        check_ends(&expanded)
            .map_err(|what| place.refuse(format_args!("the value {what}")))
            .map_err(|refused| refused.hint("remove it, or look for an unset variable"))?;
        Ok(expanded)
    }

    /// The text of a signer: variables filled in, and their braces written twice, so that only what
    /// stands in the configuration itself is searched for fields. The ends may be blank.
    ///
    /// A variable that is not closed, or stands where a field's name is expected, is refused before
    /// it is looked up: the error would tell what it holds.
    pub(super) fn expand_beside_fields(
        &self,
        place: &Place,
        text: &str,
    ) -> Result<String, Failure> {
        let (mut expanded, mut plain, mut rest) = (String::new(), String::new(), text);
        while let Some((before, template)) = rest.split_once("${") {
            plain.push_str(before);
            if template::Fields::parse(&plain, |_| true).is_err() {
                let what = "expected the name of a field after {, found a variable";
                let hint = "a brace itself is written twice: {{${NAME}}}";
                return Err(place.refuse(what).hint(hint));
            }
            let Some((template, after)) = template.split_once('}') else {
                return self.expand(place, &format!("${{{template}"));
            };
            let within = self.expand(place, &format!("<${{{template}}}>"))?;
            expanded.push_str(before);
            expanded.push_str(&within[1..within.len() - 1].replace('{', "{{").replace('}', "}}"));
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn find(&self, place: &Place, text: &str) -> Result<PathBuf, Failure> {
        let text = self.expand(place, text)?;
        if let Some(below) = text.strip_prefix("~/") {
            let home = self.variable("HOME").filter(|home| !home.is_empty()).ok_or_else(|| {
                place
                    .refuse("the path starts with ~/, but the variable HOME is not set")
                    .hint("write the whole path, or set HOME in the client's configuration")
            })?;
            return Ok(Path::new(&home).join(below));
        }
        let path = PathBuf::from(text);
        Ok(match place.folder() {
            Some(folder) => folder.join(path),
            None => path,
        })
    }

    /// The secret behind a reference, whose path and program are found like any other path.
    pub(super) fn open(&self, place: &Place, reference: &Reference) -> Result<Held, Failure> {
        let found = match reference {
            Reference::Env(name) => return self.open_variable(place, name),
            Reference::Keyring { service, account } => Reference::Keyring {
                service: self.expand(place, service)?,
                account: self.expand(place, account)?,
            },
            Reference::File(path) => Reference::File(self.find(place, &path.to_string_lossy())?),
            Reference::Command { argv, ttl } => {
                let argv = argv.iter().enumerate().map(|(at, word)| match at {
                    // A bare name is looked for in PATH; anything with a `/` is a path.
                    0 if word.contains('/') => {
                        Ok(self.find(place, word)?.to_string_lossy().into_owned())
                    }
                    _ => self.expand(place, word),
                });
                Reference::Command { argv: argv.collect::<Result<_, Failure>>()?, ttl: *ttl }
            }
        };
        Held::open(found).map_err(|error| place.explain(&error, error.hint()))
    }

    /// The secret in a variable: the environment's, else the file's.
    fn open_variable(&self, place: &Place, name: &str) -> Result<Held, Failure> {
        let reference = Reference::Env(name.to_owned());
        let of_file = self.env_file.as_ref().and_then(|file| Some((file, file.get(name)?)));
        let opened = if self.variable(name).is_some_and(|value| unfilled(name, &value)) {
            Err(secret::Error::Unset { name: name.to_owned() })
        } else {
            Held::open(reference.clone())
        };
        match (opened, of_file) {
            (Err(secret::Error::Unset { .. }), Some((file, found)))
                if !unfilled(name, &found.value) =>
            {
                let value = Secret::new(found.value.as_bytes());
                Held::found(reference, &value).map_err(|error| {
                    let what = format_args!("{error} ({})", file.place(found));
                    place.explain(what, error.hint())
                })
            }
            (opened, _) => opened.map_err(|error| place.explain(&error, error.hint())),
        }
    }

    /// The user, and the password behind its reference.
    pub(super) fn login(&self, place: &Place, login: &Login) -> Result<(String, Held), Failure> {
        let user = self.expand(place, &login.user)?;
        if user.contains(':') {
            // RFC 7617, section 2: the first colon ends the user.
            return Err(place.refuse("expected a user without a colon, found one with"));
        }
        Ok((user, self.open(place, &login.password)?))
    }
}

/// Whether a variable holds its own template: clients that could not fill in
/// `"env": {"NAME": "${NAME}"}` pass it on as it is, and mean that it is unset.
fn unfilled(name: &str, value: &str) -> bool {
    value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) == Some(name)
}

/// The words for a value that is empty or has white space at an end.
fn check_ends(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("is empty".to_owned());
    }
    blank_end(value).map_or(Ok(()), Err)
}

fn blank_end(value: &str) -> Option<String> {
    let name = |blank: char| match blank {
        ' ' => "a blank",
        '\t' => "a tab",
        '\n' | '\r' => "a line feed",
        _ => "white space",
    };
    let first = value.chars().next().filter(|first| first.is_whitespace());
    let last = value.chars().next_back().filter(|last| last.is_whitespace());
    let starts = first.map(|blank| format!("starts with {}", name(blank)));
    starts.or(last.map(|blank| format!("ends in {}", name(blank))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn environment(name: &str) -> Option<String> {
        let value = match name {
            "HOME" => "/home/ada",
            "TENANT" => "acme",
            "COPIED" => "canary\n",
            "UNFILLED" => "${UNFILLED}",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn key() -> Place {
        Place::Key { file: Path::new("/etc/corp/c.toml").into(), line: 3, key: "cert".to_owned() }
    }

    #[test]
    fn paths_are_found_from_where_they_were_said() {
        let scope = Scope::new(&environment);
        for (place, text, expected) in [
            (Place::flag("--cert"), "c.pem", "c.pem"),
            (Place::flag("--cert"), "~/c.pem", "/home/ada/c.pem"),
            (Place::flag("--cert"), "~ada/c.pem", "~ada/c.pem"),
            (Place::flag("--cert"), "${HOME}/${TENANT}.pem", "/home/ada/acme.pem"),
            (key(), "c.pem", "/etc/corp/c.pem"),
            (key(), "../c.pem", "/etc/corp/../c.pem"),
            (key(), "~/c.pem", "/home/ada/c.pem"),
            (key(), "/c.pem", "/c.pem"),
        ] {
            assert_eq!(scope.find(&place, text).unwrap(), Path::new(expected));
        }
        let homeless = Scope::new(&|_| None);
        let refused = homeless.find(&key(), "~/c.pem").unwrap_err();
        assert!(refused.what().contains("/etc/corp/c.toml:3: cert: "), "{refused}");
        assert!(refused.what().contains("HOME"), "{refused}");
    }

    #[test]
    fn white_space_at_the_ends_is_refused_by_name_and_not_shown() {
        let scope = Scope::new(&environment);
        for (text, expected) in [
            ("Bearer ${COPIED}", "--header: the variable COPIED ends in a line feed"),
            ("${COPIED} x", "--header: the variable COPIED ends in a line feed"),
            ("canary ", "--header: the value ends in a blank"),
            ("\tcanary", "--header: the value starts with a tab"),
            ("", "--header: the value is empty"),
            ("${NONE:-}", "--header: the value is empty"),
        ] {
            let refused = scope.expand(&Place::flag("--header"), text).unwrap_err();
            assert_eq!(refused.what(), expected);
            assert!(refused.next_step().is_some());
            assert!(!format!("{refused:?}").contains("canary"));
        }
    }

    #[test]
    fn a_variable_that_the_client_left_unfilled_is_unset() {
        let scope = Scope::new(&environment);
        let refused = scope.expand(&Place::flag("--cert"), "${UNFILLED}").unwrap_err();
        assert_eq!(refused.what(), "--cert: the variable UNFILLED is not set");
        let refused = scope.open(&key(), &Reference::Env("UNFILLED".to_owned())).unwrap_err();
        assert!(refused.what().ends_with("the variable UNFILLED is not set"), "{refused}");
        let default = scope.expand(&Place::flag("--cert"), "${UNFILLED:-c.pem}");
        assert_eq!(default.unwrap(), "c.pem");
    }

    #[test]
    fn a_file_of_variables_comes_after_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let lines = "TENANT=no\nUNFILLED=filled\nOURS=canary\nPATH=no\nBLANK=' canary'\nNONE=\n\
                     API_URL=https://a.example\nSELF=${SELF}\nHOME=/no";
        std::fs::write(&path, lines).unwrap();
        let place = Place::flag("--env-file");
        let file = EnvFile::read(&place, path).unwrap();
        let scope = Scope::new(&environment).with(Some(file));
        for (text, expected) in [("${TENANT}", "acme"), ("${UNFILLED}", "filled"), ("~/c", "~/c")] {
            assert_eq!(scope.expand(&place, text).unwrap(), expected);
        }
        assert_eq!(scope.find(&place, "~/c").unwrap(), Path::new("/home/ada/c"));
        assert_eq!(scope.stated("API_URL").unwrap().value, "https://a.example");
        assert_eq!(scope.variable("OURS"), None);
        let open = |name: &str| scope.open(&place, &Reference::Env(name.to_owned()));
        let value = |name| open(name).unwrap().at_hand().unwrap().expose().to_vec();
        assert_eq!((value("OURS"), value("UNFILLED")), (b"canary".to_vec(), b"filled".to_vec()));
        // The process has one, whatever it is.
        assert_ne!(value("PATH"), b"no");
        for (name, expected) in [
            ("BLANK", "--env-file: the secret env:BLANK has white space at its beginning or end ("),
            ("NONE", "--env-file: the secret env:NONE is empty ("),
            ("SELF", "--env-file: the variable SELF is not set"),
            ("COUNTERSIGN_NOWHERE", "the variable COUNTERSIGN_NOWHERE is not set"),
        ] {
            let refused = open(name).unwrap_err();
            assert!(refused.what().contains(expected), "{refused}");
            assert!(!format!("{refused:?}").contains("canary"));
        }
        assert!(open("BLANK").unwrap_err().what().ends_with("/.env:5)"));
    }

    #[test]
    fn references_are_found_like_paths() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "canary").unwrap();
        let file = folder.path().join("c.toml").as_path().into();
        let place = Place::Key { file, line: 1, key: "bearer".to_owned() };
        let scope = Scope::new(&environment);

        let held = scope.open(&place, &Reference::File("token".into())).unwrap();
        assert_eq!(*held.reference(), Reference::File(folder.path().join("token")));

        let argv = vec!["./print".to_owned(), "${TENANT}".to_owned()];
        let held = scope.open(&place, &Reference::Command { argv, ttl: None }).unwrap();
        let Reference::Command { argv, .. } = held.reference() else { panic!() };
        assert_eq!(argv[0], folder.path().join("./print").to_string_lossy());
        assert_eq!(argv[1], "acme");

        let refused = scope.open(&place, &Reference::File("none".into())).unwrap_err();
        assert!(refused.what().contains("c.toml:1: bearer: "), "{refused}");
        assert!(refused.what().contains("none"), "{refused}");
    }
}
