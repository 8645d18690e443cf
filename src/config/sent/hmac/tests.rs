//! What can be said of a scheme, and how mistakes are told.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use proptest::prelude::*;
use toml::de::DeTable;

use super::{
    super::super::{pairs, value::Source},
    *,
};

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "TENANT" => "acme",
        "BRACES" => "{canary}",
        "BACKSLASH" => r"C:\new",
        "TOKEN" => "canary",
        "BROKEN" => "can\u{7}ary",
        _ => return None,
    };
    Some(value.to_owned())
}

/// What a profile's table comes to.
fn of_profile(keys: &str) -> Result<Draft, Failure> {
    let text = format!("[hmac]\nkey = \"env:PATH\"\n{keys}");
    let source = Source::File { file: Path::new("/c.toml").into(), text: &text };
    let document = DeTable::parse(&text).unwrap();
    let items = Item::of_document(&source, document.get_ref());
    settled(&Said::read(&items[0])?, &items[0])
}

fn of_flag(text: &str) -> Result<Draft, Failure> {
    let text = format!("key=env:PATH,{text}");
    let value = pairs::read(&text).unwrap();
    let item = Item::of_flag(&Source::Flag("--hmac"), &value);
    settled(&Said::read(&item)?, &item)
}

/// The scheme with its variables filled in, if the settings hold.
fn settled(said: &Said, item: &Item<'_>) -> Result<Draft, Failure> {
    let scope = Scope::new(&environment);
    let settings = said.settle(&item.place, &scope)?;
    let owned = settings.headers().map(ToString::to_string);
    let stated = said.headers().into_iter().map(|name| name.to_lowercase());
    assert_eq!(stated.collect::<Vec<_>>(), owned.collect::<Vec<_>>());
    said.draft(&item.place, &scope)
}

fn own(string_to_sign: &str, header: &str) -> Result<Draft, Failure> {
    of_profile(&format!(
        "string_to_sign = {string_to_sign}\nheaders = {{ X-S = '{{signature}}', X-T = {header} }}"
    ))
}

#[test]
fn a_preset_is_a_default_that_any_key_changes() {
    let plain = of_flag("preset=slack").unwrap();
    assert_eq!(plain, Draft::preset("slack", Algorithm::Sha256, None).unwrap());
    let changed = of_profile(
        "preset = 'slack'\nalgorithm = 'sha512'\ndigest = 'base64url'\ntimestamp = 'unix_ms'\n\
         string_to_sign = '{timestamp}'\nheader = 'X-Mine'",
    );
    let changed = changed.unwrap();
    assert_eq!(changed.algorithm, Algorithm::Sha512);
    assert_eq!((changed.digest, changed.timestamp), (Digest::Base64Url, Timestamp::UnixMs));
    assert_eq!(changed.string_to_sign, "{timestamp}");
    assert_eq!(changed.headers[1], ("X-Mine".to_owned(), "v0={signature}".to_owned()));
}

#[test]
fn a_flag_says_all_that_a_profile_says() {
    let flag = of_flag(
        "algorithm=sha384,timestamp=rfc3339,key_id=me,string_to_sign={timestamp}\\n{body},\
         headers.X-S={key_id}:{signature},headers.X-T={timestamp}",
    );
    let profile = of_profile(
        "algorithm = 'sha384'\ntimestamp = 'rfc3339'\nkey_id = 'me'\n\
         string_to_sign = \"{timestamp}\\n{body}\"\n\
         headers = { X-S = '{key_id}:{signature}', X-T = '{timestamp}' }",
    );
    assert_eq!(flag.unwrap(), profile.unwrap());
}

#[test]
fn the_name_of_a_key_may_be_a_secret_or_a_name() {
    for id in ["'env:PATH'", "{ env = 'PATH' }", "'agent-7'", "'${TENANT}'"] {
        of_profile(&format!("preset = 'timestamp'\nkey_id = {id}")).unwrap();
    }
    of_flag("preset=timestamp,key_id=env:PATH").unwrap();
}

#[test]
fn a_line_feed_may_be_written_out() {
    for text in [r"'{method}\n{body}'", r#""{method}\n{body}""#, "'''{method}\n{body}'''"] {
        assert_eq!(own(text, "'x'").unwrap().string_to_sign, "{method}\n{body}", "{text}");
    }
    // What a variable holds is no template, no field and no escape.
    let text = own(r"'${BACKSLASH}\n${BRACES}{body}\n'", "'${TENANT}'").unwrap();
    assert_eq!(text.string_to_sign, "C:\\new\n{{canary}}{body}\n");
    assert_eq!(text.headers[1].1, "acme");
}

#[test]
fn mistakes_are_told_with_the_next_step_and_without_a_value() {
    let preset = |keys: &str| of_profile(&format!("preset = 'body'\n{keys}"));
    for (result, expected) in [
        (own("'{${TOKEN}}{body}'", "'x'"), "expected the name of a field after {"),
        (own("'{body}'", "'{${TOKEN}}'"), "expected the name of a field after {"),
        (own("'{body}${TOKEN'", "'x'"), "to close `${TOKEN`"),
        (own("'{body}'", "'${TOKEN'"), "to close `${TOKEN`"),
        (own("'{body}${NOWHERE}'", "'x'"), "the variable NOWHERE is not set"),
        (own("'{body}'", "'${BROKEN}'"), "x-t can't be sent"),
        (own("'{body}'", "'x '"), "x-t can't be sent"),
        (preset("key_id = 'canary'"), "neither sends nor signs it"),
        (preset("timestamp = 'rfc3339'"), "timestamp: the scheme has no {timestamp}"),
        (preset("header = 'X-A'\nheaders = { X-S = '{signature}' }"), "headers takes the place"),
        (of_profile("header = 'X-A'"), "expected a preset, or string_to_sign and headers"),
        (of_profile("string_to_sign = '{body}'"), "expected a preset, or string_to_sign"),
        (preset("algorithm = 'md5'"), "algorithm"),
        (preset("digest = 'base32'"), "digest"),
        (preset("canary_key = 1"), "unknown key"),
        (preset("headers = {}"), "no header holds the {signature}"),
    ] {
        let refused = result.unwrap_err();
        assert!(refused.what().contains(expected), "{expected}: {refused}");
        assert!(refused.what().contains("/c.toml:"), "{refused}");
        let told = refused.next_step().is_some() || refused.what().contains("expected one of");
        assert!(told, "{refused}");
        let shown = format!("{refused:?}").replace("canary_key", "");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

proptest! {
    #[test]
    fn any_text_is_answered_and_no_variable_is_shown(
        text in r"([{]|[}]|[$][{]TOKEN[}]|[$][{]BRACES[}]|[$][{]|body|:|.){0,12}",
    ) {
        let place = Place::flag("--hmac");
        let filled = Scope::new(&environment).expand_beside_fields(&place, &text);
        let parsed = match &filled {
            Ok(filled) => crate::template::Fields::parse(filled, |name| name == "body").err().map(|it| it.to_string()),
            Err(refused) => Some(format!("{refused:?}")),
        };
        prop_assert!(!parsed.unwrap_or_default().contains("canary"), "{}", text);
    }
}
