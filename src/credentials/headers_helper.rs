//! Headers that a program of the user's prints.
//!
//! It is run when a request first needs it, once for all who wait, again before what it printed is
//! over, and again when that was refused with 401 or 403. Whatever it does wrong keeps requests
//! from being sent, unless what it printed before is still good. Of its output nothing is shown,
//! not even the names in it: a token in the place of a name happens.

pub(super) mod expiry;
mod printed;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use futures_util::future::{BoxFuture, FutureExt, ready};
use http::{HeaderName, StatusCode};

use self::printed::Printed;
use super::{Credential, Generation, derived::Unfit, unsent};
use crate::{
    failure::{Failure, Stage},
    secret::{
        Hidden, Program,
        cached::{Cached, Fetched, Interrupted},
    },
    service::Request,
};

/// All headers of a request together are rarely this long, and upstreams take less.
const MAXIMUM_OUTPUT: usize = 64 * 1024;

/// Which server the headers are for, as the helper is told.
#[derive(Clone, Debug)]
pub struct Server {
    /// The profile's name, or the upstream's host.
    pub name: String,
    /// The upstream's URL.
    pub url: String,
}

/// The program, and for how long what it prints is good. `Debug` shows no argument.
#[derive(Clone)]
pub struct Settings {
    argv: Vec<String>,
    ttl: Option<Duration>,
    server: Server,
}

impl Settings {
    /// The program `argv` for `server`; without a `ttl`, what it prints is good until it says so
    /// or until it is refused.
    #[must_use]
    pub fn new(argv: Vec<String>, ttl: Option<Duration>, server: Server) -> Self {
        Self { argv, ttl, server }
    }

    /// What errors call it. Its arguments may be nobody's business.
    fn called(&self) -> String {
        let program = self.argv.first().map_or("", String::as_str);
        let more = if self.argv.len() > 1 { " ..." } else { "" };
        format!("the headers helper {program}{more}")
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ttl, server, .. } = self;
        write!(f, "Settings({}, ttl: {ttl:?}, {server:?})", self.called())
    }
}

/// What the other credentials set.
pub(super) struct Others {
    /// The fixed headers, which give way to the helper's.
    fixed: Vec<HeaderName>,
    /// The headers that have an owner who does not, and who that is.
    owned: Vec<(HeaderName, &'static str)>,
}

impl Others {
    pub(super) fn new(fixed: &[Arc<dyn Credential>], owners: &[Arc<dyn Credential>]) -> Self {
        let owned = |owner: &Arc<dyn Credential>| {
            let name = owner.name();
            owner.owns().iter().map(move |header| (header.clone(), name)).collect::<Vec<_>>()
        };
        Self {
            fixed: fixed.iter().flat_map(|owner| owner.owns()).cloned().collect(),
            owned: owners.iter().flat_map(owned).collect(),
        }
    }
}

/// The credential.
pub(super) struct HeadersHelper {
    helper: Arc<Helper>,
    printed: Cached<Printed, Broken>,
}

impl HeadersHelper {
    pub(super) fn new(settings: Settings, others: Others) -> Self {
        let helper = Arc::new(Helper::new(settings, others));
        let name = helper.program.name().to_owned();
        let shared = Arc::clone(&helper);
        let printed = Cached::new(name, move || {
            let helper = Arc::clone(&shared);
            async move { helper.run().await.map_err(Broken) }
        });
        Self { helper, printed }
    }
}

impl Credential for HeadersHelper {
    fn name(&self) -> &'static str {
        "--headers-helper"
    }

    /// None that are known before it has run: `apply` removes the caller's.
    fn owns(&self) -> &[HeaderName] {
        &[]
    }

    fn renewable(&self) -> bool {
        true
    }

    fn signs(&self) -> bool {
        false
    }

    fn apply<'a>(&'a self, request: &'a mut Request) -> BoxFuture<'a, Result<Generation, Failure>> {
        Box::pin(async move {
            let (printed, generation) =
                self.printed.current().await.map_err(|Broken(failure)| failure)?;
            let headers = request.headers_mut();
            for name in &self.helper.known().names {
                headers.remove(name);
            }
            for (name, value) in &printed.headers {
                headers.insert(name, value.clone());
            }
            Ok(generation)
        })
    }

    fn refused<'a>(
        &'a self,
        generation: Generation,
        response: &'a http::response::Parts,
    ) -> BoxFuture<'a, bool> {
        if !matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return ready(false).boxed();
        }
        Box::pin(async move {
            self.printed.refresh(generation).await.unwrap_or_else(|error| {
                tracing::debug!("refused, and not renewed: {error}");
                false
            })
        })
    }
}

/// The program, and what has to be remembered from one run to the next.
struct Helper {
    program: Program,
    ttl: Option<Duration>,
    others: Others,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Every header it ever printed but for the fixed ones: the caller's are not to survive, also
    /// when it prints them no more.
    names: Vec<HeaderName>,
    /// What it printed the last time: one that fails may name the token that it could not renew.
    secrets: Vec<Hidden>,
}

impl Helper {
    fn new(settings: Settings, others: Others) -> Self {
        let called = settings.called();
        let Settings { argv, ttl, server } = settings;
        let program = Program::new(called, argv, MAXIMUM_OUTPUT)
            // As clients call them that have helpers of their own: one program serves both.
            .env("CLAUDE_CODE_MCP_SERVER_NAME", server.name)
            .env("CLAUDE_CODE_MCP_SERVER_URL", server.url.clone())
            .env("COUNTERSIGN_URL", server.url);
        Self { program, ttl, others, known: Mutex::default() }
    }

    async fn run(&self) -> Result<Fetched<Printed>, Failure> {
        let hidden = |output: &[u8]| {
            let mut hidden = printed::secrets(output);
            hidden.extend(self.known().secrets.iter().cloned());
            hidden
        };
        let output = self.program.run(hidden).await.map_err(unsent)?;
        let (printed, lifetime) =
            printed::read(&output, SystemTime::now()).map_err(|unfit| self.blame(&unfit))?;
        self.refuse_owned(&printed)?;
        let mut known = self.known();
        for (name, _) in &printed.headers {
            if !known.names.contains(name) && !self.others.fixed.contains(name) {
                known.names.push(name.clone());
            }
        }
        known.secrets = printed::secrets(&output);
        let lifetime = lifetime.into_iter().chain(self.ttl).min();
        Ok(Fetched { value: printed, lifetime })
    }

    /// A header has one owner, and here that is found out late.
    fn refuse_owned(&self, printed: &Printed) -> Result<(), Failure> {
        for (name, owner) in &self.others.owned {
            if printed.headers.iter().any(|(printed, _)| printed == name) {
                let what = format!("printed the header {name}, which {owner} sets");
                let hint = format!("remove {owner}, or let the helper print the others alone");
                return Err(self.blame(&Unfit::new(what, hint)));
            }
        }
        Ok(())
    }

    fn blame(&self, unfit: &Unfit) -> Failure {
        let what = format!("{} {}", self.program.name(), unfit.what);
        Failure::new(Stage::Credential, what).hint(unfit.hint.clone())
    }

    /// Nothing that holds the lock can panic half-way through a change.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there are no headers.
#[derive(Clone)]
struct Broken(Failure);

impl From<Interrupted> for Broken {
    fn from(interrupted: Interrupted) -> Self {
        let what = "the headers helper was interrupted";
        Self(Failure::new(Stage::Credential, what).caused_by(interrupted))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(all(test, unix))]
mod tests;
