//! How long headers are good, as a helper says it: until a point in time, or for some seconds.

use std::time::{Duration, SystemTime};

use super::super::derived::Unfit;

/// More is as good as for ever, and would overflow clocks.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Unix times in milliseconds are above this, and those in seconds below it until the year 5138.
const TOO_LATE: f64 = 1e11;

/// What was said so far; the earliest end counts.
#[derive(Default)]
pub(super) struct Expiry {
    pub(super) lifetime: Option<Duration>,
}

impl Expiry {
    /// `expires_at`, as JSON: a date of RFC 3339, or Unix seconds.
    pub(super) fn at(&mut self, json: &str, now: SystemTime) -> Result<(), Unfit> {
        let hint = "write it as \"2026-11-23T12:00:00Z\" or in seconds since 1970";
        let ends = match plain(json) {
            None => return Ok(()),
            Some(text) => match text.parse::<f64>() {
                Ok(TOO_LATE..) => {
                    let what = "printed an expires_at that is far off, as if in milliseconds";
                    return Err(Unfit::new(what, hint));
                }
                Ok(seconds) => Duration::try_from_secs_f64(seconds)
                    .ok()
                    .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since)),
                Err(_) => rfc3339(&text),
            },
        };
        let ends = ends.ok_or_else(|| {
            Unfit::new("printed an expires_at that is no date with a time zone", hint)
        })?;
        match ends.duration_since(now) {
            Ok(left) if !left.is_zero() => {
                self.keep(left);
                Ok(())
            }
            _ => Err(expired(now.duration_since(ends).unwrap_or_default())),
        }
    }

    /// `expires_in`, as JSON: seconds.
    pub(super) fn within(&mut self, json: &str) -> Result<(), Unfit> {
        let Some(text) = plain(json) else { return Ok(()) };
        match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && seconds <= 0.0 => {
                Err(expired(Duration::try_from_secs_f64(-seconds).unwrap_or_default()))
            }
            // What no clock can hold is more than the longest.
            Ok(seconds) if seconds.is_finite() => {
                self.keep(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST));
                Ok(())
            }
            _ => Err(Unfit::new(
                "printed an expires_in that is no number",
                "write it in seconds, as in \"expires_in\": 300",
            )),
        }
    }

    fn keep(&mut self, lifetime: Duration) {
        self.lifetime = Some(self.lifetime.unwrap_or(LONGEST).min(lifetime));
    }
}

fn expired(ago: Duration) -> Unfit {
    let ago = humantime::format_duration(Duration::from_secs(ago.as_secs()));
    Unfit::new(
        format!("printed headers that expired {ago} ago"),
        "let it renew them before it prints them, and compare the clocks",
    )
}

/// A number, or the text of a string; neither of `null`, which says nothing.
fn plain(json: &str) -> Option<String> {
    (json != "null").then(|| serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()))
}

/// A date and time of RFC 3339, section 5.6.
pub(in crate::credentials) fn rfc3339(text: &str) -> Option<SystemTime> {
    let text = text.to_ascii_uppercase();
    if let Some(utc) = text.strip_suffix('Z') {
        return humantime::parse_rfc3339_weak(utc).ok();
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let number = |text: &str, below: u64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| digits && *number < below)
    };
    let offset = Duration::from_secs(number(hours, 24)? * 3600 + number(minutes, 60)? * 60);
    let local = humantime::parse_rfc3339_weak(local).ok()?;
    match zone.as_bytes()[0] {
        b'+' => local.checked_sub(offset),
        b'-' => local.checked_add(offset),
        _ => None,
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

    fn at(json: &str) -> Result<Option<Duration>, String> {
        let mut expiry = Expiry::default();
        let said = expiry.at(json, now()).map(|()| expiry.lifetime);
        said.map_err(|unfit| unfit.what.into_owned())
    }

    fn within(json: &str) -> Result<Option<Duration>, String> {
        let mut expiry = Expiry::default();
        let said = expiry.within(json).map(|()| expiry.lifetime);
        said.map_err(|unfit| unfit.what.into_owned())
    }

    #[test]
    fn points_in_time() {
        for json in [
            "1795435500",
            "1795435500.0",
            "\"1795435500\"",
            "\"2026-11-23T12:05:00Z\"",
            "\"2026-11-23t12:05:00z\"",
            "\"2026-11-23 12:05:00Z\"",
            "\"2026-11-23T12:05:00+00:00\"",
            "\"2026-11-23T14:35:00.000000+02:30\"",
            "\"2026-11-22T23:05:00-13:00\"",
        ] {
            assert_eq!(at(json), Ok(Some(Duration::from_secs(300))), "{json}");
        }
        assert_eq!(at("null"), Ok(None));
        assert_eq!(at("99999999999"), Ok(Some(LONGEST)));
        let rfc = [
            "1985-04-12T23:20:50.52Z",
            "1996-12-19T16:39:57-08:00",
            "1937-01-01T12:00:27.87+00:20",
        ];
        assert!(rfc3339(rfc[0]).is_some(), "the examples of section 5.8");
        assert_eq!(rfc3339(rfc[1]), rfc3339("1996-12-20T00:39:57Z"));
    }

    #[test]
    fn what_is_over_or_no_time_is_refused() {
        assert_eq!(at("1795435140").unwrap_err(), "printed headers that expired 1m ago");
        assert_eq!(at("1795435200").unwrap_err(), "printed headers that expired 0s ago");
        assert_eq!(within("-60").unwrap_err(), "printed headers that expired 1m ago");
        assert!(at("1795435500000").unwrap_err().contains("milliseconds"));
        for json in [
            "\"2026-11-23T12:05:00\"",
            "\"2026-11-23\"",
            "\"canary\"",
            "\"\"",
            "\"\u{20ac}\u{20ac}\u{20ac}\"",
            "\"2026-11-23T12:05:00+2:00\"",
            "\"2026-11-23T12:05:00++2:00\"",
            "\"2026-11-23T12:05:00+24:00\"",
            "\"NaN\"",
            "\"inf\"",
            "-1",
            "{}",
            "true",
        ] {
            let refused = at(json).unwrap_err();
            assert!(refused.starts_with("printed an expires_at that is"), "{json}: {refused}");
        }
        for json in ["\"5m\"", "\"NaN\"", "\"inf\"", "[300]", "true", "\"canary\""] {
            assert_eq!(within(json).unwrap_err(), "printed an expires_in that is no number");
        }
    }

    #[test]
    fn seconds_from_now_on_and_the_earliest_end_counts() {
        assert_eq!(within("300"), Ok(Some(Duration::from_secs(300))));
        assert_eq!(within("\"300\""), Ok(Some(Duration::from_secs(300))));
        assert_eq!(within("0.5"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(within("1e300"), Ok(Some(LONGEST)));
        assert_eq!(within("null"), Ok(None));
        let mut both = Expiry::default();
        both.at("1795435500", now()).ok().unwrap();
        both.within("60").ok().unwrap();
        both.within("600").ok().unwrap();
        assert_eq!(both.lifetime, Some(Duration::from_secs(60)));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,32}") {
            let _ = (at(&text), within(&text), rfc3339(&text));
        }

        #[test]
        fn a_date_is_the_same_in_every_zone(hours in 0_u64..24, minutes in 0_u64..60, east: bool) {
            let offset = Duration::from_secs(hours * 3600 + minutes * 60);
            let local = if east { now() + offset } else { now() - offset };
            let local = humantime::format_rfc3339_seconds(local).to_string();
            let sign = if east { '+' } else { '-' };
            let text = format!("{}{sign}{hours:02}:{minutes:02}", local.trim_end_matches('Z'));
            prop_assert_eq!(rfc3339(&text), Some(now()));
        }
    }
}
