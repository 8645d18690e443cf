//! The compact forms in which values are written: references, `USER:REF`, `NAME=REF`,
//! `Name: value`, times and sizes.
//!
//! No error quotes what it was given: where a reference belongs, a literal secret is the likeliest
//! mistake.

use std::{str::FromStr as _, time::Duration};

use crate::{credentials::headers::ApiKey, failure::Failure, secret::Reference};

use super::place::{Login, Place};

/// The longest time that can be asked for; more is a slip, and would overflow clocks.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The smallest limit for a message: less would not carry an `initialize`.
const SMALLEST: usize = 4 * 1024;

/// `env:NAME`, `file:PATH`, `command:PROG ARG` or `keyring:SERVICE/ACCOUNT`.
pub(super) fn reference(place: &Place, text: &str) -> Result<Reference, Failure> {
    // A template would put the secret itself here, which is what references are there to avoid.
    if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Err(place
            .refuse("expected a reference to a secret, found a template")
            .hint(format!("write env:{name}")));
    }
    Reference::from_str(text).map_err(|error| place.explain(&error, error.hint()))
}

/// Whether a text that may be either is meant as a reference.
pub(super) fn looks_like_a_reference(text: &str) -> bool {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| ["env", "file", "command", "keyring"].contains(&scheme))
}

/// `USER:REF`.
pub(super) fn login(place: &Place, text: &str) -> Result<Login, Failure> {
    let example = "write the user, a colon and a reference, as in alice:env:PASSWORD";
    let (user, password) = text
        .split_once(':')
        .filter(|(user, _)| {
            !user.is_empty() && !["env", "file", "command", "keyring"].contains(user)
        })
        .ok_or_else(|| place.refuse("expected USER:REF, found no user").hint(example))?;
    Ok(Login { user: user.to_owned(), password: reference(place, password)? })
}

/// `[NAME=]REF`.
pub(super) fn api_key(place: &Place, text: &str) -> Result<(String, Reference), Failure> {
    // A `=` after the colon of a reference belongs to its path or its program.
    let (name, key) = match text.split_once('=') {
        Some((name, key)) if !name.contains(':') => (name, key),
        _ => (ApiKey::DEFAULT_NAME, text),
    };
    // The reference first: of a literal key that ends in `=`, the name would be the key.
    let key = reference(place, key)?;
    Ok((name.to_owned(), key))
}

/// `Name: value`; the blank after the colon is no part of the value.
pub(super) fn header(place: &Place, text: &str) -> Result<(String, String), Failure> {
    let (name, value) = text
        .split_once(':')
        .filter(|(name, _)| http::HeaderName::from_bytes(name.as_bytes()).is_ok())
        .ok_or_else(|| {
            place
                .refuse("expected 'Name: value', found no header name and colon")
                .hint("quote the whole header, as in --header 'X-Tenant: acme'")
        })?;
    let value = value.trim_start_matches([' ', '\t']);
    Ok((name.to_owned(), value.to_owned()))
}

/// A time: a plain number of seconds, as curl has it, or with units.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let parsed = if plain {
        text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    } else {
        humantime::parse_duration(text).ok()
    };
    match parsed {
        None => Err("expected a time such as 10 (seconds), 500ms or 5m"),
        Some(time) if time.is_zero() => Err("expected a time, found zero"),
        Some(time) if time > LONGEST => Err("expected a time, found one of more than a year"),
        Some(time) => Ok(time),
    }
}

/// A number of bytes: plain, or with KiB, MiB, GiB.
pub(super) fn size(text: &str) -> Result<usize, &'static str> {
    let digits = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start_matches(' ').to_ascii_lowercase().as_str() {
        "" => 0,
        "kib" => 10,
        "mib" => 20,
        "gib" => 30,
        _ => return Err("expected a size such as 1048576 (bytes), 512KiB, 64MiB or 1GiB"),
    };
    let size = number.parse::<usize>().ok().and_then(|number| number.checked_mul(1 << shift));
    match size {
        None => Err("expected a size such as 64MiB, found no number that fits"),
        Some(size) if size < SMALLEST => Err("expected at least 4KiB"),
        Some(size) => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    const FLAG: Place = Place::flag("--flag");

    #[test]
    fn references_are_told_from_secrets() {
        assert_eq!(reference(&FLAG, "env:TOKEN").unwrap(), Reference::Env("TOKEN".to_owned()));
        let template = reference(&FLAG, "${TOKEN}").unwrap_err();
        assert_eq!(template.next_step(), Some("write env:TOKEN"));
        for text in ["canary", "${TOKEN:-canary}", "Bearer canary", ""] {
            let refused = reference(&FLAG, text).unwrap_err();
            let shown = format!("{refused:?}");
            assert!(shown.contains("--flag") && !shown.contains("canary"), "{shown}");
        }
    }

    #[test]
    fn logins_have_a_user_and_a_reference() {
        let said = login(&FLAG, "alice:env:PASSWORD").unwrap();
        assert_eq!(said.user, "alice");
        assert_eq!(said.password, Reference::Env("PASSWORD".to_owned()));
        for text in ["env:PASSWORD", "keyring:a/b", "alice", ":env:PASSWORD", "alice:canary"] {
            let refused = format!("{:?}", login(&FLAG, text).map(|_| ()).unwrap_err());
            assert!(refused.contains("--flag") && !refused.contains("canary"), "{refused}");
        }
    }

    #[test]
    fn api_keys_have_a_header_of_their_own_or_the_usual() {
        for (text, header, key) in [
            ("env:KEY", "X-API-Key", "env:KEY"),
            ("X-Key=env:KEY", "X-Key", "env:KEY"),
            ("file:/a=b", "X-API-Key", "file:/a=b"),
            ("X-Key=file:/a=b", "X-Key", "file:/a=b"),
        ] {
            let (name, said) = api_key(&FLAG, text).unwrap();
            assert_eq!((name.as_str(), said.to_string().as_str()), (header, key));
        }
        for text in ["canary", "canary==", "X-Key=canary"] {
            let refused = format!("{:?}", api_key(&FLAG, text).map(|_| ()).unwrap_err());
            assert!(!refused.contains("canary"), "{refused}");
        }
    }

    #[test]
    fn headers_are_a_name_a_colon_and_a_value() {
        for (text, expected) in [
            ("X-Tenant: acme", "acme"),
            ("X-Tenant:acme", "acme"),
            ("X-Tenant: a: b ", "a: b "),
            ("X-Tenant:", ""),
        ] {
            let (name, value) = header(&FLAG, text).unwrap();
            assert_eq!((name.as_str(), value.as_str()), ("X-Tenant", expected));
        }
        for text in ["canary", "Bearer canary: x", ": canary", "X-Tenant : canary", "a=canary"] {
            let refused = format!("{:?}", header(&FLAG, text).map(|_| ()).unwrap_err());
            assert!(!refused.contains("canary"), "{refused}");
        }
    }

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        for (text, milliseconds) in [
            ("10", 10_000),
            ("2.5", 2_500),
            (".5", 500),
            ("500ms", 500),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "0", "0s", "-1", "ten", "inf", "NaN", "1e3", ".", "99999999999", "2y"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (text, bytes) in [
            ("4096", 4096),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("512KiB", 512 << 10),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "64MB", "64M", "64", "1.5MiB", "99999999999GiB", " 4096"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,24}") {
            let _ = (duration(&text), size(&text), header(&FLAG, &text), login(&FLAG, &text));
        }

        #[test]
        fn whole_seconds_are_themselves(seconds in 1_u64..1_000_000) {
            prop_assert_eq!(duration(&seconds.to_string()), Ok(Duration::from_secs(seconds)));
            prop_assert_eq!(duration(&format!("{seconds}s")), Ok(Duration::from_secs(seconds)));
        }

        #[test]
        fn units_are_powers_of_1024(number in 4_usize..4096, unit in 1_usize..=3) {
            let text = format!("{number}{}", ["KiB", "MiB", "GiB"][unit - 1]);
            prop_assert_eq!(size(&text), Ok(number << (10 * unit)));
        }

        #[test]
        fn what_is_accepted_is_within_the_bounds(text in "[0-9.]{1,12}(ms|s|m|h|d|KiB|MiB)?") {
            if let Ok(time) = duration(&text) {
                prop_assert!(!time.is_zero() && time <= LONGEST);
            }
            if let Ok(size) = size(&text) {
                prop_assert!(size >= SMALLEST);
            }
        }
    }
}
