//! Moments as people read them: a date, and how far from now.
//!
//! Certificates speak in seconds since 1970; no message to a person does.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use x509_parser::time::ASN1Time;

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// A moment in a certificate, in seconds since 1970 (negative before). Displayed as `2026-11-22`
/// in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub i64);

impl Date {
    /// This moment, by the machine's clock.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// The date with its distance from now: `2026-11-22, 3 days ago` or `2026-11-22, in 5 hours`.
    #[must_use]
    pub fn with_distance(self) -> String {
        let seconds = self.0.saturating_sub(Self::now().0);
        let (count, unit) = match seconds.unsigned_abs() {
            distance @ DAY.. => (distance / DAY, "day"),
            distance @ HOUR.. => (distance / HOUR, "hour"),
            distance => (distance / 60, "minute"),
        };
        let plural = if count == 1 { "" } else { "s" };
        if seconds < 0 {
            format!("{self}, {count} {unit}{plural} ago")
        } else {
            format!("{self}, in {count} {unit}{plural}")
        }
    }
}

impl From<SystemTime> for Date {
    fn from(time: SystemTime) -> Self {
        let seconds = |distance: Duration| i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => seconds(after),
            Err(before) => -seconds(before.duration()),
        })
    }
}

impl From<rustls::pki_types::UnixTime> for Date {
    fn from(time: rustls::pki_types::UnixTime) -> Self {
        Self(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ASN1Time::from_timestamp(self.0) {
            Ok(time) => write!(f, "{}", time.to_datetime().date()),
            Err(_) => f.write_str(if self.0 < 0 { "the distant past" } else { "never" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_date() {
        assert_eq!(Date(1_795_305_600).to_string(), "2026-11-22");
        // RFC 5280 section 4.1.2.5: the end of time of certificates that do not expire.
        assert_eq!(Date(253_402_300_799).to_string(), "9999-12-31");
        assert_eq!(Date(-86_400).to_string(), "1969-12-31");
        assert_eq!(Date(i64::MAX).to_string(), "never");
    }

    #[test]
    fn says_how_far_it_is() {
        let now = Date::now().0;
        assert!(Date(now - 3 * 86_400 - 60).with_distance().ends_with(", 3 days ago"));
        assert!(Date(now - 86_400 - 60).with_distance().ends_with(", 1 day ago"));
        assert!(Date(now + 5 * 3_600 + 60).with_distance().ends_with(", in 5 hours"));
    }
}
