//! What one request was, from its head to the last byte of its response.
//!
//! A record is begun when the head is there and written when it is dropped: with the body of the
//! response, or before, when whoever asked went away. It holds nothing of a header but the request's
//! id, and nothing of a body but its size and what MCP names.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::rand;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};

use super::{
    figures::{Counted, Figures, NO_ROUTE},
    otlp::{Exporter, Finished},
    peer::Peer,
    respond::Refusal,
    trace::{self, Span, TraceId},
};
use crate::{
    failure::Failure,
    ledger::{Entry, Ledger, Outcome},
    mcp::subject::Subject,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ids are not taken over, and longer names of peers are cut.
const LONGEST: usize = 128;

/// Who wants to know of requests; nobody, and then nothing is noted.
#[derive(Clone, Default)]
pub(super) struct Observers {
    pub(super) ledger: Option<Ledger>,
    pub(super) figures: Option<Arc<Figures>>,
    pub(super) random: Arc<Random>,
    pub(super) exporter: Option<Exporter>,
}

impl Observers {
    /// A request came; it belongs to a trace from here on.
    pub(super) fn begin<B>(&self, request: &mut Request<B>, peer: &Peer) -> Record {
        let random = || self.random.draw();
        let (trace, span) = match self.exporter {
            Some(_) => trace::enter(request.headers_mut(), random),
            None => (trace::carry(request.headers_mut(), random), None),
        };
        if self.ledger.is_none() && self.figures.is_none() && span.is_none() {
            return Record(None);
        }
        let identified = self.ledger.as_ref().map(|_| Identified {
            time: SystemTime::now(),
            method: method(request.method()),
            peer: peer.to_string().chars().take(LONGEST).collect(),
            request: request_id(request.headers(), &self.random),
            trace,
        });
        Record(Some(Box::new(Noted {
            observers: self.clone(),
            _counted: self.figures.as_deref().map(Figures::request),
            identified,
            spanned: span.map(|it| (it, SystemTime::now(), method(request.method()))),
            since: Instant::now(),
            route: None,
            subject: Subject::default(),
            status: None,
            failed: None,
            bytes: (0, 0),
            head: None,
            whole: false,
        })))
    }

    /// A connection was accepted.
    pub(super) fn connection(&self) -> Option<Counted> {
        self.figures.as_deref().map(Figures::connection)
    }
}

/// A request under way.
pub(super) struct Record(Option<Box<Noted>>);

struct Noted {
    observers: Observers,
    _counted: Option<Counted>,
    identified: Option<Identified>,
    /// Its span, when it came, and its method.
    spanned: Option<(Span, SystemTime, &'static str)>,
    since: Instant,
    route: Option<Arc<str>>,
    subject: Subject,
    status: Option<u16>,
    failed: Option<Failed>,
    bytes: (u64, u64),
    head: Option<Duration>,
    /// The response went out to its end.
    whole: bool,
}

/// What only the ledger tells.
struct Identified {
    time: SystemTime,
    method: &'static str,
    peer: Box<str>,
    request: Box<str>,
    trace: Option<TraceId>,
}

#[derive(Clone, Copy)]
struct Failed {
    stage: &'static str,
    rule: Option<&'static str>,
}

impl Record {
    /// The route that is taken.
    pub(super) fn takes(&mut self, route: &Arc<str>) {
        if let Some(noted) = &mut self.0 {
            noted.route = Some(Arc::clone(route));
        }
    }

    /// The body was read.
    pub(super) fn read(&mut self, body: &[u8]) {
        let Some(noted) = &mut self.0 else { return };
        noted.bytes.0 = body.len() as u64;
        if (noted.identified.is_some() || noted.spanned.is_some()) && !body.is_empty() {
            noted.subject = Subject::of_body(body);
        }
    }

    /// It gets an answer of ours.
    pub(super) fn refused(&mut self, refusal: &Refusal, failure: &Failure) {
        let Some(noted) = &mut self.0 else { return };
        let (stage, rule) = (failure.stage().name(), refusal.rule());
        noted.failed = Some(Failed { stage, rule: Some(rule) });
    }

    /// The head of the response is there.
    pub(super) fn answered(&mut self, status: StatusCode) {
        let Some(noted) = &mut self.0 else { return };
        let after = noted.since.elapsed();
        noted.status = Some(status.as_u16());
        noted.head = Some(after);
        if let Some(figures) = &noted.observers.figures {
            let rule = noted.failed.and_then(|failed| failed.rule);
            figures.answered(&noted.route(), status, rule, after);
        }
    }

    /// A piece of the response went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(noted) = &mut self.0 {
            noted.bytes.1 += bytes as u64;
        }
    }

    /// Bytes went both ways after the response: up to the upstream, down to the caller.
    pub(super) fn carried(&mut self, up: u64, down: u64) {
        if let Some(noted) = &mut self.0 {
            noted.bytes.0 += up;
            noted.bytes.1 += down;
        }
    }

    /// The response went out to its end.
    pub(super) fn ended(&mut self) {
        if let Some(noted) = &mut self.0 {
            noted.whole = true;
        }
    }

    /// The response broke off on its way to us.
    pub(super) fn broke(&mut self, failure: &Failure) {
        if let Some(noted) = &mut self.0 {
            noted.failed = Some(Failed { stage: failure.stage().name(), rule: None });
        }
    }
}

impl Noted {
    /// The route that it took, as it is counted.
    fn route(&self) -> Arc<str> {
        self.route.clone().unwrap_or_else(|| Arc::from(NO_ROUTE))
    }

    fn export(&self, duration: Duration, outcome: Outcome) {
        let (Some(exporter), Some((span, time, method))) = (&self.observers.exporter, self.spanned)
        else {
            return;
        };
        exporter.tell(Finished {
            span,
            time,
            duration,
            method,
            route: self.route.clone(),
            subject: self.subject.clone(),
            status: self.status,
            outcome,
            failed: self.failed.map(|failed| (failed.stage, failed.rule)),
        });
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let whole = self.since.elapsed();
        let stage = self.failed.map(|failed| failed.stage);
        let outcome = match (stage, self.whole) {
            (Some(_), _) => Outcome::Failed,
            (None, true) => Outcome::Answered,
            (None, false) => Outcome::Aborted,
        };
        if let Some(figures) = &self.observers.figures {
            let route = self.route();
            if self.head.is_none() {
                figures.aborted(&route);
            }
            figures.ended(&route, self.bytes, whole);
        }
        self.export(whole, outcome);
        let (Some(ledger), Some(known)) = (&self.observers.ledger, &self.identified) else {
            return;
        };
        ledger.write(&Entry {
            time: Some(known.time),
            route: self.route.as_deref(),
            http_method: Some(known.method),
            mcp_method: self.subject.method.as_deref(),
            name: self.subject.name.as_deref(),
            status: self.status,
            outcome,
            stage,
            rule: self.failed.and_then(|it| it.rule).filter(|rule| Some(*rule) != stage),
            bytes_in: Some(self.bytes.0),
            bytes_out: Some(self.bytes.1),
            head_ms: self.head,
            duration_ms: Some(whole),
            peer: Some(&known.peer),
            request_id: Some(&known.request),
            trace_id: known.trace.as_ref().map(TraceId::as_str),
        });
    }
}

/// The method; whatever else a caller may write in its place is not repeated.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The id that a request came with, if it can be one; a new one otherwise.
fn request_id(headers: &HeaderMap, random: &Random) -> Box<str> {
    let mut ids = headers.get_all(REQUEST_ID).iter().map(HeaderValue::as_bytes);
    let is_sane = |id: &[u8]| {
        let plain = |it: &u8| it.is_ascii_alphanumeric() || b"-_.:+/=@".contains(it);
        (1..=LONGEST).contains(&id.len()) && id.iter().all(plain)
    };
    match (ids.next(), ids.next()) {
        (Some(id), None) if is_sane(id) => String::from_utf8_lossy(id).into(),
        _ => {
            let id: [u8; 8] = random.draw().unwrap_or_default();
            format!("{:016x}", u64::from_be_bytes(id)).into()
        }
    }
}

/// Random bytes for ids, which are no secrets. They are made in stock: to make a few costs as much as
/// to make many.
#[derive(Default)]
pub(super) struct Random(Mutex<Vec<u8>>);

impl Random {
    /// As many as two dozen traces take.
    const STOCK: usize = 24 * 24;

    /// Some that were never drawn before.
    fn draw<const LENGTH: usize>(&self) -> Option<[u8; LENGTH]> {
        let mut stock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stock.len() < LENGTH {
            stock.resize(Self::STOCK, 0);
            if rand::fill(&mut stock).is_err() {
                stock.clear();
                return None;
            }
        }
        let rest = stock.len().checked_sub(LENGTH)?;
        let drawn = stock[rest..].try_into().ok();
        stock.truncate(rest);
        drawn
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(ids: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(REQUEST_ID, HeaderValue::try_from(*id).unwrap());
        }
        request_id(&headers, &Random::default()).into()
    }

    #[test]
    fn an_id_is_taken_over_where_it_can_be_one() {
        assert_eq!(id(&["Root=1-67891233-abcdef"]), "Root=1-67891233-abcdef");
        let long = "a".repeat(LONGEST + 1);
        for ids in [&[][..], &[""], &["a b"], &["a\"b"], &[&long], &["a", "b"]] {
            let made = id(ids);
            assert!(made.len() == 16 && made.bytes().all(|it| it.is_ascii_hexdigit()), "{made}");
        }
    }

    #[test]
    fn nothing_random_is_drawn_twice() {
        let random = Random::default();
        let drawn: std::collections::HashSet<[u8; 24]> =
            (0..1000).map(|_| random.draw().unwrap()).collect();
        assert_eq!(drawn.len(), 1000);
    }

    #[test]
    fn a_method_that_nobody_knows_is_not_repeated() {
        assert_eq!(method(&Method::POST), "POST");
        assert_eq!(method(&Method::from_bytes(b"CANARY").unwrap()), "other");
    }

    #[test]
    fn where_nobody_wants_to_know_nothing_is_noted() {
        let from = crate::sidecar::peer::From::Unix(1);
        let peer = Peer { from, names: Arc::new([]), exposed: false };
        let mut request = Request::new(());
        let record = Observers::default().begin(&mut request, &peer);
        assert!(record.0.is_none());
        assert!(request.headers().contains_key("traceparent"));
    }
}
