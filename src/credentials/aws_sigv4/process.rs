//! Keys that a `credential_process` prints, as the AWS tools have it.
//!
//! It prints one JSON object, `Version` 1, and says until when its keys are good; it is run again
//! before that, and when they were refused. It is run without a shell, as by the AWS CLI. Of its
//! output nothing is shown.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::{
    super::{Generation, derived::Unfit, headers_helper::expiry, unsent},
    keys::Keys,
};
use crate::{
    failure::{Failure, Stage},
    secret::{
        Hidden, Program,
        cached::{Cached, Fetched, Interrupted},
    },
};

/// Session tokens are about a kilobyte.
const MAXIMUM_OUTPUT: usize = 64 * 1024;

/// What is longer than any name in the output, and no longer than an access key id.
const SHORTEST_SECRET: usize = 16;

const EXPECTED: &str = "it must print one JSON object with Version 1, AccessKeyId and \
                        SecretAccessKey, and nothing else on its standard output: run it by hand";

/// A program and the keys it printed.
pub(super) struct Process {
    argv: Vec<String>,
    keys: Cached<Keys, Broken>,
}

impl Process {
    /// The program `argv` of the AWS profile `profile`; it is not run before keys are asked for.
    pub(super) fn new(profile: &str, argv: Vec<String>) -> Self {
        let name = format!("the credential_process of the AWS profile {profile}");
        let program = Arc::new(Program::new(name.clone(), argv.clone(), MAXIMUM_OUTPUT));
        let last = Arc::new(Mutex::new(Vec::new()));
        let keys = Cached::new(name, move || {
            let (program, last) = (Arc::clone(&program), Arc::clone(&last));
            async move { fetch(&program, &last).await.map_err(Broken) }
        });
        Self { argv, keys }
    }

    /// Whether this is the program `argv`.
    pub(super) fn runs(&self, argv: &[String]) -> bool {
        self.argv == argv
    }

    pub(super) async fn current(&self) -> Result<(Arc<Keys>, Generation), Failure> {
        self.keys.current().await.map_err(|Broken(failure)| failure)
    }

    pub(super) async fn refused(&self, generation: Generation) -> bool {
        self.keys.refresh(generation).await.unwrap_or_else(|error| {
            tracing::debug!("refused, and not renewed: {error}");
            false
        })
    }
}

/// `last` is what it printed the time before: one that fails may name what it could not renew.
async fn fetch(program: &Program, last: &Mutex<Vec<Hidden>>) -> Result<Fetched<Keys>, Failure> {
    let before = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let hidden = |output: &[u8]| secrets(output).into_iter().chain(before).collect();
    let output = program.run(hidden).await.map_err(unsent)?;
    let fetched = printed(&output, SystemTime::now()).map_err(|Unfit { what, hint }| {
        Failure::new(Stage::Credential, format!("{} {what}", program.name())).hint(hint)
    })?;
    *last.lock().unwrap_or_else(PoisonError::into_inner) = secrets(&output);
    Ok(fetched)
}

/// What the log may not show: every text of the output that is long enough, be it JSON or not, and
/// what stands between the escapes in it.
fn secrets(output: &[u8]) -> Vec<Hidden> {
    let texts = output.split(|byte| *byte == b'"' || byte.is_ascii_whitespace());
    let parts = texts.clone().flat_map(|text| text.split(|byte| *byte == b'\\'));
    let long = texts.chain(parts).filter(|text| text.len() >= SHORTEST_SECRET);
    long.map(|text| text.to_vec().into()).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u64,
    access_key_id: String,
    #[serde(deserialize_with = "wiped")]
    secret_access_key: Zeroizing<String>,
    #[serde(default, deserialize_with = "perhaps_wiped")]
    session_token: Option<Zeroizing<String>>,
    expiration: Option<String>,
}

fn wiped<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

fn perhaps_wiped<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Zeroizing::new))
}

/// The keys in what a program printed, and for how long from `now` they are good.
fn printed(output: &[u8], now: SystemTime) -> Result<Fetched<Keys>, Unfit> {
    // What serde says may hold a part of it.
    let printed: Printed = serde_json::from_slice(output)
        .map_err(|_| Unfit::new("printed something other than its JSON", EXPECTED))?;
    if printed.version != 1 {
        return Err(Unfit::new("printed a Version other than 1", EXPECTED));
    }
    let token = printed.session_token.as_ref().map(|token| token.as_bytes());
    let token = token.filter(|token| !token.is_empty());
    let keys =
        Keys::new(printed.access_key_id.as_bytes(), printed.secret_access_key.as_bytes(), token);
    let value = keys.map_err(|Unfit { what, hint }| {
        Unfit::new(format!("printed an access key that {what}"), hint)
    })?;
    let lifetime = printed.expiration.map(|date| lifetime(&date, now)).transpose()?;
    Ok(Fetched { value, lifetime })
}

fn lifetime(date: &str, now: SystemTime) -> Result<Duration, Unfit> {
    let ends = expiry::rfc3339(date).ok_or_else(|| {
        Unfit::new(
            "printed an Expiration that is no date with a time zone",
            "write it as \"2026-11-23T12:00:00Z\"",
        )
    })?;
    match ends.duration_since(now) {
        Ok(left) if !left.is_zero() => Ok(left),
        _ => {
            let ago = now.duration_since(ends).unwrap_or_default();
            let ago = humantime::format_duration(Duration::from_secs(ago.as_secs()));
            Err(Unfit::new(
                format!("printed keys that expired {ago} ago"),
                "sign in again (aws sso login), or compare the clocks",
            ))
        }
    }
}

/// The words of a command line, as a shell splits them that does nothing else; none where a quote
/// does not end or there is no word.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            // Paths of Windows are full of them.
            (None | Some('"'), '\\') if !cfg!(windows) => {
                let next = letters.next()?;
                let word = word.get_or_insert_default();
                if quote.is_some() && !matches!(next, '"' | '\\') {
                    word.push('\\');
                }
                word.push(next);
            }
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, _) if letter.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    let program = words.first().is_some_and(|program| !program.is_empty());
    (program && quote.is_none()).then_some(words)
}

/// Why there are no keys.
#[derive(Clone)]
struct Broken(Failure);

impl From<Interrupted> for Broken {
    fn from(interrupted: Interrupted) -> Self {
        let what = "the credential_process was interrupted";
        Self(Failure::new(Stage::Credential, what).caused_by(interrupted))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    /// 2026-11-23T12:00:00Z.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200)
    }

    fn print(more: &str) -> String {
        format!(
            "{{\"Version\": 1, \"AccessKeyId\": \"ASIAEXAMPLE\", \
             \"SecretAccessKey\": \"canary/canary+canary\"{more}}}\n\n"
        )
    }

    #[test]
    fn what_it_prints_is_keys_and_how_long_they_are_good() {
        let keys = printed(print("").as_bytes(), now()).ok().unwrap();
        assert_eq!(&*keys.value.access_key_id, "ASIAEXAMPLE");
        assert_eq!(keys.value.secret_access_key.expose(), b"canary/canary+canary");
        assert!(keys.value.session_token.is_none() && keys.lifetime.is_none());
        for date in
            ["2026-11-23T13:00:00Z", "2026-11-23T13:00:00+00:00", "2026-11-23T08:00:00-05:00"]
        {
            let more = format!(", \"SessionToken\": \"to/ken==\", \"Expiration\": \"{date}\"");
            let keys = printed(print(&more).as_bytes(), now()).ok().unwrap();
            let token = keys.value.session_token.unwrap();
            assert!(token == "to/ken==" && token.is_sensitive());
            assert_eq!(keys.lifetime, Some(Duration::from_secs(3600)));
        }
        let empty = print(", \"SessionToken\": \"\", \"Expiration\": null, \"AccountId\": \"1\"");
        assert!(printed(empty.as_bytes(), now()).ok().unwrap().value.session_token.is_none());
    }

    #[test]
    fn what_is_wrong_with_it_is_told_and_no_part_of_it_shown() {
        for (output, said) in [
            (String::new(), "other than its JSON"),
            ("canary".to_owned(), "other than its JSON"),
            ("{\"Version\": \"canary\"}".to_owned(), "other than its JSON"),
            (print("").replace(": 1", ": 2"), "Version other than 1"),
            (print("").replace("+canary", " canary"), "is not a secret access key"),
            (print("").replace("ASIAEXAMPLE", "canary/"), "is not an access key id"),
            (print(", \"SessionToken\": \"canary\\n\""), "no header can carry"),
            (print(", \"Expiration\": \"canary\""), "no date with a time zone"),
            (print(", \"Expiration\": \"2026-11-23T11:55:00Z\""), "expired 5m ago"),
            (print(", \"Expiration\": \"2026-11-23T12:00:00Z\""), "expired 0s ago"),
        ] {
            let Unfit { what, hint } = printed(output.as_bytes(), now()).err().unwrap();
            assert!(what.contains(said), "{what}");
            assert!(!what.contains("canary") && !hint.contains("canary"), "{what}; {hint}");
        }
    }

    #[test]
    fn what_it_repeats_of_its_output_is_not_logged() {
        let token = "t".repeat(100);
        let printed = print(&format!(", \"SessionToken\": \"{token}\""));
        let hidden = secrets(printed.as_bytes());
        let hidden: Vec<&[u8]> = hidden.iter().map(|hidden| &***hidden).collect();
        assert!(hidden.contains(&&b"canary/canary+canary"[..]), "{}", hidden.len());
        assert!(hidden.contains(&token.as_bytes()));
    }

    #[test]
    #[cfg(not(windows))]
    fn a_command_line_is_split_as_the_aws_cli_splits_it() {
        let split = |line| words(line).map(|words| words.join("|"));
        for (line, expected) in [
            ("prog", "prog"),
            ("  /opt/prog  a\tb ", "/opt/prog|a|b"),
            ("\"/opt/my prog\" 'a \"b' \"c 'd\"", "/opt/my prog|a \"b|c 'd"),
            ("a b'c d'e \"\" f\\ g \"h\\\"i\\j\" 'k\\l'", "a|bc de||f g|h\"i\\j|k\\l"),
            ("prog $HOME | x # y", "prog|$HOME|||x|#|y"),
        ] {
            assert_eq!(split(line).as_deref(), Some(expected), "{line}");
        }
        for line in ["", "  ", "'' a", "prog 'a", "prog \"a'", "prog \\"] {
            assert_eq!(split(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn quoted_words_are_themselves(all in proptest::collection::vec("[^']{1,8}", 1..5)) {
            let line = all.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(words(&line), Some(all));
        }

        #[test]
        fn any_output_and_any_line_is_answered(text in ".{0,48}") {
            let _ = (words(&text), printed(text.as_bytes(), now()).is_ok());
        }
    }
}
