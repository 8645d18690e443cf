//! The shared files of the AWS tools, read as those read them.
//!
//! A section a profile, `name = value` in it; a line that is indented deeper than the setting
//! before it belongs to that one's value, and no setting of ours has such lines. Comments take a
//! line, or the rest of one after white space. A line that is none of this makes the whole file
//! unreadable, so that one half-way written is not taken for what it will be.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// The settings of one profile. Any of them may be a secret.
pub(super) type Profile = BTreeMap<String, Zeroizing<String>>;

/// Which of the two files it is: they name their sections differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `[NAME]`.
    Credentials,
    /// `[profile NAME]`, and `[default]`.
    Config,
}

/// The line, from 1, that can't be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) usize);

/// The profile `name` of a file; empty where the file has none of that name.
pub(super) fn profile(text: &str, kind: Kind, name: &str) -> Result<Profile, Malformed> {
    let mut profile = Profile::new();
    // Whether the section is the one that is looked for, and how deep its last setting stands.
    let (mut section, mut depth): (Option<bool>, Option<usize>) = (None, None);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let indented = line.len() - line.trim_start().len();
        if depth.is_some_and(|depth| indented > depth) {
            continue;
        }
        let malformed = Malformed(number + 1);
        if let Some(header) = trimmed.strip_prefix('[') {
            let (title, _) = header.split_once(']').ok_or(malformed)?;
            (section, depth) = (Some(is_of(title, kind, name)), None);
            continue;
        }
        let (Some(wanted), Some(at)) = (section, trimmed.find(['=', ':'])) else {
            return Err(malformed);
        };
        depth = Some(indented);
        let key = trimmed[..at].trim().to_ascii_lowercase();
        if wanted && !key.is_empty() {
            let value = without_comment(&key, trimmed[at + 1..].trim());
            profile.insert(key, Zeroizing::new(value.to_owned()));
        }
    }
    // A name without a value is as good as none.
    profile.retain(|_, value| !value.is_empty());
    Ok(profile)
}

/// Whether a section is about the profile `name`.
fn is_of(title: &str, kind: Kind, name: &str) -> bool {
    let title = title.trim();
    if kind == Kind::Credentials || (title == "default" && name == "default") {
        return title == name;
    }
    let rest =
        title.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t', '"', '\'']));
    let Some(rest) = rest.map(str::trim) else { return false };
    let quoted =
        ['"', '\''].iter().find_map(|quote| rest.strip_prefix(*quote)?.strip_suffix(*quote));
    quoted.unwrap_or(rest) == name
}

/// A command may have a `#` in it, which the AWS tools leave there; no key or region has.
fn without_comment<'t>(key: &str, value: &'t str) -> &'t str {
    if key == "credential_process" {
        return value;
    }
    let comment = value.match_indices(['#', ';']).map(|(at, _)| at);
    let mut comment = comment.filter(|at| value[..*at].ends_with([' ', '\t']) || *at == 0);
    comment.next().map_or(value, |at| value[..at].trim_end())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "\u{feff}# a comment\n\
        [default]\r\n\
        aws_access_key_id=AKIDDEFAULT\r\n\
        AWS_SECRET_ACCESS_KEY : a/b+c=d#e ; and why\r\n\
        aws_session_token =\r\n\
        \n\
        [ profile two words ]\n\
        region = eu-west-1   # the near one\n\
        s3 =\n\
        \x20 max_concurrent_requests = 20\n\
        \x20 not even a setting\n\
        output = json\n\
        [profile \"quoted\"] ; a comment\n\
        \x20 credential_process = prog --a \"b # c\" ; d\n\
        \x20 region = us-east-1\n\
        [quoted]\n\
        region = nowhere\n\
        [sso-session quoted]\n\
        region = nowhere\n\
        [default]\n\
        region = us-west-2\n";

    fn read(kind: Kind, name: &str) -> Vec<(String, String)> {
        let profile = profile(FILE, kind, name).unwrap();
        profile.into_iter().map(|(key, value)| (key, value.to_string())).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_profile_is_read_as_the_aws_tools_read_it() {
        let default = pairs(&[
            ("aws_access_key_id", "AKIDDEFAULT"),
            ("aws_secret_access_key", "a/b+c=d#e"),
            ("region", "us-west-2"),
        ]);
        assert_eq!(read(Kind::Config, "default"), default);
        assert_eq!(read(Kind::Credentials, "default"), default);
        let words = pairs(&[("output", "json"), ("region", "eu-west-1")]);
        assert_eq!(read(Kind::Config, "two words"), words);
        let quoted =
            pairs(&[("credential_process", "prog --a \"b # c\" ; d"), ("region", "us-east-1")]);
        assert_eq!(read(Kind::Config, "quoted"), quoted);
        assert_eq!(read(Kind::Credentials, "quoted"), pairs(&[("region", "nowhere")]));
        assert_eq!(read(Kind::Config, "none"), []);
    }

    #[test]
    fn what_is_no_setting_is_named_by_its_line_and_not_shown() {
        for (text, line) in [
            ("[default]\ncanary\n", 2),
            ("aws_secret_access_key = canary\n", 1),
            ("\n[default\naws_secret_access_key = canary\n", 2),
            ("[other]\nregion = x\ncanary", 3),
        ] {
            let malformed = profile(text, Kind::Credentials, "default").unwrap_err();
            assert_eq!(malformed, Malformed(line), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[\\[\\]a-c=:#; \t\r\n\"é]{0,64}") {
            let _ = profile(&text, Kind::Config, "a");
            let _ = profile(&text, Kind::Credentials, "a");
        }

        #[test]
        fn what_is_written_is_read(
            name in "[A-Za-z0-9_.@-]{1,12}",
            settings in proptest::collection::btree_map("[a-z_]{1,12}", "[A-Za-z0-9/+=:#;]{1,40}", 0..5),
            indent in "[ \t]{0,3}",
        ) {
            prop_assume!(settings.values().all(|value| !value.starts_with(['#', ';'])));
            let lines = settings.iter().map(|(key, value)| format!("{indent}{key} = {value}\n"));
            let text = format!("[x]\nx = 1\n[profile {name}]\n{}", lines.collect::<String>());
            let profile = profile(&text, Kind::Config, &name).unwrap();
            let read: Vec<_> = profile.iter().map(|(key, value)| (key, &**value)).collect();
            prop_assert_eq!(read, settings.iter().collect::<Vec<_>>());
        }
    }
}
