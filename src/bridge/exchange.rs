//! One HTTP exchange: a request out, its response followed to the end, each message reported.
//!
//! Knows HTTP and event streams; what a message or an end means is the session's to say.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, response};
use http_body_util::BodyExt as _;
use tower::{Service as _, ServiceExt as _};

use super::{Settings, endpoint, outlet::Outlet};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        exchange::{Awaits, Context, End, Event, ExchangeId, Position},
        message::{Envelope, Message},
        refusal::Refusal,
        sse::{self, Decoder},
    },
    service::{Body, Carried, Echoing, HttpService, Presented, Request, Response, Unshown},
};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("countersign/", env!("CARGO_PKG_VERSION")));

/// How much of a refusal's body is read, and for how long.
const REFUSAL_BODY: usize = 64 * 1024;
const REFUSAL_TIME: Duration = Duration::from_secs(5);
/// How long a response may stay open once all it was to answer is answered.
const LINGER: Duration = Duration::from_secs(2);
/// A stream that lasted this long was a good one, even if nothing came.
const LASTING: Duration = Duration::from_secs(10);

/// What all exchanges share.
pub(super) struct Wire {
    pub(super) settings: Settings,
    pub(super) service: HttpService,
    pub(super) outlet: Outlet,
}

/// The session behind an exchange: told what comes, and asked whether more is awaited.
pub(super) struct Behind<'a> {
    pub(super) on: &'a (dyn Fn(Event) + Send + Sync),
    pub(super) settled: &'a (dyn Fn() -> bool + Send + Sync),
}

/// What is sent.
pub(super) struct Outgoing {
    pub(super) context: Context,
    pub(super) content: Content,
    /// What must come, and so in what time.
    pub(super) awaits: Awaits,
}

pub(super) enum Content {
    /// A message or batch.
    Post { body: Bytes },
    /// The event stream, from the start or after an event.
    Listen { resume: Option<Bytes> },
    /// The end of the session.
    Delete,
}

impl Content {
    fn listens(&self) -> bool {
        matches!(self, Self::Listen { .. })
    }
}

/// The request for `outgoing` (2025-11-25 transports, "Sending Messages to the Server").
fn request(settings: &Settings, outgoing: &Outgoing) -> Request {
    let mut request = Request::default();
    *request.uri_mut() = settings.uri.clone();
    if let Some(endpoint) = &outgoing.context.endpoint {
        *request.uri_mut() = endpoint.clone();
        request.extensions_mut().insert(Unshown);
    }
    let headers = request.headers_mut();
    headers.reserve(12);
    headers.insert(header::USER_AGENT, AGENT);
    if let Some(session) = &outgoing.context.session {
        headers.insert(SESSION, session.clone());
    }
    if let Some(version) = &outgoing.context.version {
        headers.insert(VERSION, version.clone());
    }
    for (name, value) in outgoing.context.mirrored.iter().flatten() {
        headers.insert(name, value.clone());
    }
    match &outgoing.content {
        Content::Post { body } => {
            headers.insert(header::ACCEPT, BOTH);
            headers.insert(header::CONTENT_TYPE, JSON);
            *request.method_mut() = Method::POST;
            *request.body_mut() = body.clone();
        }
        Content::Listen { resume } => {
            request.extensions_mut().insert(Echoing);
            let headers = request.headers_mut();
            headers.insert(header::ACCEPT, EVENT_STREAM);
            let id = resume.as_ref().and_then(|id| HeaderValue::from_maybe_shared(id.clone()).ok());
            if let Some(id) = id {
                headers.insert(LAST_EVENT_ID, id);
            }
        }
        Content::Delete => *request.method_mut() = Method::DELETE,
    }
    request
}

/// Sends and follows one exchange to its end.
pub(super) async fn run(
    wire: &Wire,
    behind: Behind<'_>,
    id: ExchangeId,
    outgoing: Outgoing,
) -> (End, Position) {
    let response = match send(wire, &outgoing).await {
        Ok(response) => response,
        Err(end) => return (end, Position::default()),
    };
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        let end =
            endpoint::concealed(refusal(head, body).await, outgoing.context.endpoint.as_ref());
        return (end, Position::default());
    }
    let patience = wire.settings.idle_timeout;
    let listens = outgoing.content.listens();
    let mut reader = Reader { wire, behind, id, listens, body, patience, read: 0 };
    let streams = is_type(&head.headers, "text/event-stream");
    if listens && !streams {
        // A page where a stream should be: the same as a server without one.
        return (refusal(head, reader.body).await, Position::default());
    }
    if listens || head.headers.contains_key(SESSION) {
        (reader.behind.on)(Event::Head(id, session_of(&head.headers)));
    }
    if streams {
        return reader.events(&outgoing, &head.extensions).await;
    }
    let end = match head.status {
        StatusCode::ACCEPTED | StatusCode::NO_CONTENT => reader.nothing().await,
        _ if outgoing.awaits == Awaits::Nothing => reader.nothing().await,
        _ => reader.json(&head).await,
    };
    (end, Position::default())
}

/// Ends the session; what the upstream makes of it does not matter any more.
pub(super) async fn depart(wire: &Wire, outgoing: Outgoing) {
    match send(wire, &outgoing).await {
        Ok(response) => tracing::debug!(status = response.status().as_u16(), "DELETE answered"),
        Err(_) => tracing::debug!("DELETE not answered"),
    }
}

async fn send(wire: &Wire, outgoing: &Outgoing) -> Result<Response, End> {
    let request = request(&wire.settings, outgoing);
    // The stream's head may come with its first event, whenever that is.
    let patient = outgoing.content.listens() && outgoing.awaits == Awaits::Stream;
    answer(wire, request, (!patient).then_some(wire.settings.idle_timeout)).await
}

/// The head of the response to `request`.
pub(super) async fn answer(
    wire: &Wire,
    request: Request,
    limit: Option<Duration>,
) -> Result<Response, End> {
    let mut service = wire.service.clone();
    let sending = async move { service.ready().await?.call(request).await };
    within(limit, sending).await?.map_err(End::Broken)
}

/// A response that is no success, with as much of its body as is worth reading.
pub(super) async fn refusal(head: response::Parts, body: Body) -> End {
    let mut start = BytesMut::new();
    let reading = async {
        let mut body = body;
        while let Some(Ok(frame)) = body.frame().await {
            let data = frame.into_data().unwrap_or_default();
            start.extend_from_slice(&data[..data.len().min(REFUSAL_BODY - start.len())]);
            if start.len() == REFUSAL_BODY {
                return;
            }
        }
    };
    // A body that dawdles is quoted as far as it came.
    let _ = tokio::time::timeout(REFUSAL_TIME, reading).await;
    let carried = head.extensions.get::<Carried>().map(|carried| carried.0.clone());
    End::Refused(Box::new(Refusal {
        status: head.status,
        headers: head.headers,
        body: start.freeze(),
        carried: carried.unwrap_or_else(|| Arc::new([])),
        presented: head.extensions.get::<Presented>().map(|ours| ours.0.clone()),
    }))
}

fn session_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut session = headers.get(SESSION)?.clone();
    session.set_sensitive(true);
    Some(session)
}

fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
}

/// Follows one response's body.
struct Reader<'a> {
    wire: &'a Wire,
    behind: Behind<'a>,
    id: ExchangeId,
    listens: bool,
    body: Body,
    patience: Duration,
    read: usize,
}

impl Reader<'_> {
    /// The next piece of the body; none at its end.
    async fn piece(&mut self, patient: bool) -> Result<Option<Bytes>, End> {
        loop {
            let Some(frame) = within(patient.then_some(self.patience), self.body.frame()).await?
            else {
                return Ok(None);
            };
            match frame {
                Ok(frame) => {
                    // Trailers carry nothing of ours.
                    if let Ok(data) = frame.into_data() {
                        self.read += data.len();
                        return Ok(Some(data));
                    }
                }
                Err(failure) => return Err(End::Broken(failure)),
            }
        }
    }

    /// A body in which nothing is expected: read to its end, so that the connection is kept.
    async fn nothing(&mut self) -> End {
        self.patience = LINGER;
        while self.read < REFUSAL_BODY {
            match self.piece(true).await {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        End::Complete { accepted: true }
    }

    /// One JSON document.
    async fn json(&mut self, head: &response::Parts) -> End {
        let limit = self.wire.settings.max_message;
        let mut whole = Gather::default();
        let expected = http_body::Body::size_hint(&self.body).exact().unwrap_or(0);
        loop {
            if self.read > limit || usize::try_from(expected).is_ok_and(|expected| expected > limit)
            {
                return self.too_large();
            }
            self.wire.outlet.room().await;
            match self.piece(true).await {
                Ok(Some(piece)) => whole.add(piece, expected),
                Ok(None) => break,
                Err(end) => return end,
            }
        }
        let body = whole.finish();
        if body.is_empty() {
            return End::Complete { accepted: true };
        }
        match Message::parse(body) {
            Ok(message) => {
                (self.behind.on)(Event::FromServer(self.id, message));
                End::Complete { accepted: false }
            }
            Err(error) => End::Broken(self.no_message(head, &error.to_string())),
        }
    }

    fn too_large(&self) -> End {
        let limit = self.wire.settings.max_message;
        let what = format!(
            "{} answered with a message of more than {limit} bytes",
            self.wire.settings.upstream
        );
        End::Broken(Failure::new(Stage::Protocol, what).hint("raise --max-message to let it pass"))
    }

    fn no_message(&self, head: &response::Parts, why: &str) -> Failure {
        let upstream = &self.wire.settings.upstream;
        if is_type(&head.headers, "application/json") {
            let what = format!("{upstream} answered with something that is no MCP message: {why}");
            return Failure::new(Stage::Protocol, what)
                .hint("it may have run: check before you call it again");
        }
        let kind = head.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("no content type");
        let kind: String = kind.chars().take(80).collect();
        let what = format!("{upstream} answered with {kind} where JSON or an event stream belongs");
        Failure::new(Stage::Protocol, what)
            .hint("check the URL's path (often /mcp), and whether a login page stands before it")
    }

    /// An event stream.
    async fn events(
        &mut self,
        outgoing: &Outgoing,
        extensions: &http::Extensions,
    ) -> (End, Position) {
        let mut decoder = Decoder::new(self.wire.settings.max_message);
        let (mut progressed, started) = (false, Instant::now());
        let mut noticed = None;
        let end = loop {
            self.wire.outlet.room().await;
            let settled = outgoing.awaits != Awaits::Nothing && (self.behind.settled)();
            if settled {
                self.patience = LINGER;
            }
            let endless = outgoing.awaits == Awaits::Stream && !settled;
            let piece = match self.piece(!endless).await {
                Ok(Some(piece)) => piece,
                Ok(None) => break End::Complete { accepted: false },
                Err(end) => break end,
            };
            let mut events = Vec::new();
            let decoded = decoder.push(&piece, |event| events.push(event));
            progressed |= !events.is_empty();
            drop(piece);
            self.deliver(events, &mut noticed, extensions).await;
            if decoded.is_err() {
                break self.too_large();
            }
        };
        // An id that can't be a header's value can't be asked for.
        let sendable = |id: &Bytes| HeaderValue::from_maybe_shared(id.clone()).is_ok();
        let last_id = decoder.last_id().filter(|id| sendable(id)).cloned();
        progressed |= started.elapsed() >= LASTING;
        (end, Position { last_id, retry: decoder.retry(), progressed })
    }

    /// Reports the messages of the events that one piece completed.
    async fn deliver(
        &mut self,
        events: Vec<sse::Event>,
        noticed: &mut Option<Instant>,
        extensions: &http::Extensions,
    ) {
        for event in events {
            if self.listens && event.kind == "endpoint" {
                let named = endpoint::named(event.data, extensions);
                (self.behind.on)(Event::Endpoint(self.id, named));
                continue;
            }
            let is_message = event.kind.is_empty() || event.kind == "message";
            if !is_message || event.data.is_empty() {
                continue;
            }
            let message = match Message::parse(event.data) {
                Ok(message) => message,
                // Something of a gateway's; the answer may be in the next event.
                Err(error) => {
                    tracing::warn!(%error, "an event that is no MCP message is skipped");
                    continue;
                }
            };
            report(self.wire, self.behind.on, (self.id, message), noticed).await;
        }
    }
}

/// Reports a message of the server's; one that answers only once the client has had time to read
/// what was said just before.
pub(super) async fn report(
    wire: &Wire,
    on: &(dyn Fn(Event) + Send + Sync),
    (id, message): (ExchangeId, Message),
    noticed: &mut Option<Instant>,
) {
    let answers = message.envelopes().iter().any(|e| matches!(e, Envelope::Response { .. }));
    if let Some(since) = noticed.take().filter(|_| answers) {
        wire.outlet.let_read(since).await;
    }
    on(Event::FromServer(id, message));
    if !answers {
        *noticed = Some(Instant::now());
    }
}

/// Waits for `future`, for a limited time if there is a limit.
async fn within<F: Future>(limit: Option<Duration>, future: F) -> Result<F::Output, End> {
    match limit {
        None => Ok(future.await),
        Some(limit) => tokio::time::timeout(limit, future).await.map_err(|_| End::Idle(limit)),
    }
}

/// Puts a body together; one that comes in one piece is not copied.
#[derive(Default)]
struct Gather {
    first: Bytes,
    all: BytesMut,
}

impl Gather {
    fn add(&mut self, piece: Bytes, expected: u64) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = piece;
            return;
        }
        if self.all.is_empty() {
            // The announced length is bounded by the caller.
            let expected = usize::try_from(expected).unwrap_or(0);
            self.all.reserve(expected.max(self.first.len() + piece.len()));
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&piece);
    }

    fn finish(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}
