//! A token that was minted, and until when it is sent.
//!
//! Two clocks are asked. The one that only goes forward stands still while the machine sleeps; the
//! one on the wall goes on, but can be set. A token that either of them finds too old, or the wall
//! too young, is minted anew. Nothing here reads a clock but [`Now::read`].

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::time::Instant;

use super::super::Generation;

/// How far a token's time lies before ours: the upstream's clock may be behind.
pub(super) const BACKDATED: Duration = Duration::from_secs(5);

/// How much of its life a token is sent for, in percent.
const USED_PERCENT: u32 = 70;

/// A token that was refused is minted anew when it is older: a younger one would be the same.
const YOUNG: Duration = Duration::from_secs(1);

/// A moment, by both clocks.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) steady: Instant,
    pub(super) wall: SystemTime,
}

impl Now {
    pub(super) fn read() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }
}

/// A token, ready to be sent many times.
pub(super) struct Token {
    /// With its prefix; sensitive.
    pub(super) value: HeaderValue,
    /// Which of the tokens it is.
    pub(super) generation: Generation,
    /// Which pair has signed it.
    pub(super) signer: Generation,
    pub(super) minted: Now,
    /// From its `iat` to its `exp`.
    pub(super) lifetime: Duration,
    /// It was refused when it was young: its age is not what is wrong with it.
    pub(super) refused_young: bool,
}

impl Token {
    /// Whether it may be sent.
    pub(super) fn is_fresh(&self, now: Now) -> bool {
        let used = self.lifetime.saturating_sub(BACKDATED) * USED_PERCENT / 100;
        let issued = self.minted.wall - BACKDATED;
        let by_wall = now.wall.duration_since(issued);
        now.steady.saturating_duration_since(self.minted.steady) < used
            && by_wall.is_ok_and(|age| age < BACKDATED + used)
    }

    /// It was refused. Whether one that is minted now can do better.
    pub(super) fn is_worth_another(&mut self, now: Now) -> bool {
        let age = now.steady.saturating_duration_since(self.minted.steady);
        if age <= YOUNG {
            self.refused_young = true;
        }
        !self.refused_young
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn token() -> Token {
        Token {
            value: HeaderValue::from_static("x"),
            generation: 1,
            signer: 1,
            minted: Now::read(),
            lifetime: Duration::from_secs(105),
            refused_young: false,
        }
    }

    /// The moment at which the clocks have gone on by so many seconds.
    fn after(token: &Token, steady: u64, wall: i64) -> Now {
        let by = Duration::from_secs(wall.unsigned_abs());
        let from = token.minted;
        Now {
            steady: from.steady + Duration::from_secs(steady),
            wall: if wall < 0 { from.wall - by } else { from.wall + by },
        }
    }

    #[test]
    fn a_token_is_sent_for_most_of_its_life_by_both_clocks() {
        let token = token();
        for (steady, wall, fresh, why) in [
            (0, 0, true, "new"),
            (69, 69, true, "not yet"),
            (70, 70, false, "70 % of the 100 seconds that it has"),
            (1, 70, false, "the machine slept"),
            (1, 1_000_000, false, "the machine slept long"),
            (70, 1, false, "the clock was set back a little"),
            (1, -5, true, "the clock was set back, to where the token is just good"),
            (1, -6, false, "the clock was set back to before the token"),
        ] {
            assert_eq!(token.is_fresh(after(&token, steady, wall)), fresh, "{why}");
        }
    }

    #[test]
    fn the_shortest_life_is_over_before_the_token_is() {
        let token = Token { lifetime: Duration::from_secs(10), ..token() };
        assert!(token.is_fresh(after(&token, 3, 3)));
        assert!(!token.is_fresh(after(&token, 4, 4)));
    }

    #[test]
    fn only_age_is_cured_by_a_new_one() {
        let mut old = token();
        assert!(old.is_worth_another(after(&old, 2, 2)));
        let mut young = token();
        assert!(!young.is_worth_another(after(&young, 1, 1)));
        assert!(!young.is_worth_another(after(&young, 9, 9)), "it was no better when it was new");
    }
}
