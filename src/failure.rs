//! What went wrong, and at which stage of the flow.
//!
//! A [`Failure`] is made where the facts are known, travels unchanged, and is turned into words
//! for the outside in exactly one place a front end (`mcp::fault` for the bridge). Its stage
//! also says whether the request can have reached the upstream, which decides what may be sent
//! again. It never holds a secret: whoever makes one writes names and places, not values.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

/// The stage of the flow in which a request failed, in the order in which a request meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// What the caller sent could not be read.
    Downstream,
    /// The configuration does not hold; no request can be made with it.
    Configuration,
    /// A credential could not be had, so the request was not sent.
    Credential,
    /// No connection: name resolution, proxy, TCP.
    Connect,
    /// The TLS handshake, on either side, client certificates refused late included.
    Tls,
    /// The connection broke while the request was on its way: it may have run.
    Send,
    /// The upstream answered, and the answer is a refusal or broke off.
    Response,
    /// The upstream answered with something that is not the protocol.
    Protocol,
}

impl Stage {
    /// The stage's name in logs and in `data.stage` of an error.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Downstream => "downstream",
            Self::Configuration => "configuration",
            Self::Credential => "credential",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Response => "response",
            Self::Protocol => "protocol",
        }
    }
}

/// One failure: its stage, what failed and where, and the next step.
///
/// Cheap to clone, so that one failed refresh can answer the many who waited for it.
#[derive(Clone)]
pub struct Failure(Arc<Inner>);

struct Inner {
    stage: Stage,
    what: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure at `stage`; `what` says what was expected, what was found and where, in lower
    /// case, without a period.
    #[must_use]
    pub fn new(stage: Stage, what: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner { stage, what: what.into(), hint: None, source: None }))
    }

    /// The same with the next step for the user: the flag, file, variable or host to look at.
    #[must_use]
    pub fn hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.rebuild(|inner| inner.hint = Some(hint.into()))
    }

    /// The same with the error it came from, for the log.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.rebuild(|inner| inner.source = Some(source.into()))
    }

    fn rebuild(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            stage: shared.stage,
            what: shared.what.clone(),
            hint: shared.hint.clone(),
            // A shared source stays with the other holders; the words already carry the facts.
            source: None,
        });
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// The stage in which it happened.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// What failed, and where.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// The next step, where there is one.
    #[must_use]
    pub fn next_step(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Whether it is proven that the upstream has not processed the request: it failed before
    /// anything but a handshake was exchanged.
    #[must_use]
    pub fn never_sent(&self) -> bool {
        match self.stage() {
            Stage::Downstream
            | Stage::Configuration
            | Stage::Credential
            | Stage::Connect
            | Stage::Tls => true,
            Stage::Send | Stage::Response | Stage::Protocol => false,
        }
    }

    /// The first `Failure` in an error's chain: connection pools wrap what the connector said.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(current) = next {
            if let Some(found) = current.downcast_ref::<Self>() {
                return Some(found);
            }
            // `io::Error::source` skips the error that it wraps.
            let wrapped = current.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
            next = match wrapped {
                Some(inner) => Some(inner as &(dyn Error + 'static)),
                None => current.source(),
            };
        }
        None
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("stage", &self.0.stage)
            .field("what", &self.0.what)
            .field("hint", &self.0.hint)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_under_the_errors_that_wrap_it() {
        let inner = Failure::new(Stage::Tls, "handshake").hint("look at --cacert");
        let outer = std::io::Error::other(std::io::Error::other(inner));
        let found = Failure::find(&outer).map(|failure| (failure.stage(), failure.next_step()));
        assert_eq!(found, Some((Stage::Tls, Some("look at --cacert"))));
    }

    #[test]
    fn only_what_failed_before_the_request_left_is_proven_unsent() {
        assert!(Failure::new(Stage::Connect, "x").never_sent());
        assert!(!Failure::new(Stage::Send, "x").never_sent());
        assert!(!Failure::new(Stage::Response, "x").never_sent());
    }
}
