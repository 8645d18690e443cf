//! `--aws-sigv4` and `aws_sigv4`: what was said of it, and what it comes to.

use crate::{credentials::aws_sigv4::Settings, failure::Failure};

use super::super::{place::Place, scope::Scope, value::Item};

/// What was said.
pub(in crate::config) struct Said {}

impl Said {
    /// Reads the table of a profile, or the pairs of the flag.
    pub(in crate::config) fn read(item: &Item<'_>) -> Result<Self, Failure> {
        Err(item.place.refuse("expected something that is not there yet"))
    }

    /// The headers it owns.
    pub(super) fn headers(&self) -> Vec<String> {
        Vec::new()
    }

    /// The settings, with templates filled in and references opened.
    pub(in crate::config) fn settle(
        &self,
        _place: &Place,
        _scope: &Scope<'_>,
    ) -> Result<Settings, Failure> {
        Ok(Settings {})
    }
}
