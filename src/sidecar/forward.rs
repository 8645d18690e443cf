//! A request on its way: admitted, read whole, sent with its route's credentials; and the response
//! on its way back, as it comes.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use http::{HeaderMap, HeaderValue, Method, Response, Uri, header, request::Parts};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::{sync::oneshot, time::timeout};
use tower::Service as _;

use super::{
    drain::Drain,
    guard::{self, Denied},
    hops,
    peer::Peer,
    record::{Observers, Record},
    respond::{self, Refusal},
    room::{Place, Room},
    route::Lane,
    sessions::{Key, SESSION},
    stall::Stall,
    translate::{Answered, Course, Inbound},
    tunnel::{self, Tunnel},
};
use crate::{
    failure::{Failure, Stage},
    redaction,
    secret::{Held, Secret},
    service::{Body, Caller, Request, Secrets},
};

/// What carries requests: the same for all connections.
pub(super) struct Forward {
    pub(super) guard: guard::Settings,
    /// The token that a caller must show.
    pub(super) token: Option<Held>,
    pub(super) lanes: Vec<Lane>,
    pub(super) room: Room,
    pub(super) times: Times,
    pub(super) max_message: usize,
    pub(super) drain: Drain,
    pub(super) observers: Observers,
}

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Until its head is there, the first of a connection or the next.
    pub head: Duration,
    /// Until its body is; and until the caller takes some more of an answer.
    pub body: Duration,
    /// Until the head of the response is.
    pub response: Duration,
}

impl Forward {
    /// The response to a request of `peer`; every request has exactly one. `drain` is that of its
    /// connection.
    pub(super) async fn answer(
        &self,
        mut request: http::Request<Incoming>,
        peer: &Peer,
        drain: &Drain,
    ) -> Response<Streaming> {
        let one_at_a_time = request.version() <= http::Version::HTTP_11;
        // Dropped with this future, it is written all the same.
        let mut record = self.observers.begin(&mut request, peer);
        let answered = self.carry(request, (peer, drain), &mut record).await;
        let mut response = answered.unwrap_or_else(|refusal| {
            let failure = refusal.failure();
            record.refused(&refusal, &failure);
            let hint = failure.next_step().unwrap_or_default();
            let rule = refusal.rule();
            tracing::warn!(%peer, rule, stage = failure.stage().name(), hint, "{failure}");
            refusal.response().map(Streaming::plain)
        });
        if one_at_a_time && drain.is_leaving() {
            // The next request of this connection is for who takes our place.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        record.answered(response.status());
        response.map(|body| body.noted_in(record))
    }

    async fn carry(
        &self,
        request: http::Request<Incoming>,
        (peer, drain): (&Peer, &Drain),
        record: &mut Record,
    ) -> Result<Response<Streaming>, Refusal> {
        let (mut head, body) = request.into_parts();
        let caller = peer.caller();
        let (lane, target, session) = self.admit(&head, peer, &caller).await?;
        record.takes(&lane.name);
        let place = self.room.request().await?;
        let (body, room) = self.read(body).await?;
        record.read(&body);

        let socket = tunnel::asked(&mut head);
        hops::strip_request(&mut head.headers);
        if let Some((proof, _)) = &self.guard.required {
            // It was for us: who has it may ask here.
            head.headers.remove(proof);
        }
        if socket.is_some() {
            tunnel::ask(&mut head.headers);
        }
        // Named in `Connection`, it is taken out, and the upstream says yes to something else.
        let session = session.filter(|_| head.headers.contains_key(SESSION));
        let asked = Asked { method: head.method.clone(), target, session, caller };
        let taken = (place, room);
        let telling = match self.course(lane, &head.headers, (&body, &taken), &asked).await? {
            Course::Answered(answered) => return Ok(Streaming::ours(answered, taken.0, drain)),
            Course::Passes { telling } => telling,
        };
        let (place, room) = taken;
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = asked.target.clone();
        *request.headers_mut() = head.headers;
        request.extensions_mut().insert(asked.caller.clone());

        let mut service = if socket.is_some() { &lane.sockets } else { &lane.service }.clone();
        let response = match timeout(self.times.response, service.call(request)).await {
            Ok(response) => response?,
            Err(_) => return Err(Refusal::Silent(self.silent(lane))),
        };
        drop(room);
        if let (true, Some(translation)) = (telling, &lane.translation) {
            translation.heed_status(response.status());
        }
        let until = (drain, self.times);
        Ok(bring_back(response, lane, &asked, (socket, place), until)?)
    }

    /// Whether a request passes, or is spoken for where its route translates.
    async fn course(
        &self,
        lane: &Lane,
        headers: &HeaderMap,
        (body, taken): (&Bytes, &(Place, Option<Place>)),
        asked: &Asked,
    ) -> Result<Course, Refusal> {
        let Some(translation) = &lane.translation else { return Ok(Course::PASSES) };
        let Asked { method, target, caller, .. } = asked;
        let drain = &self.drain;
        translation.take(Inbound { method, target, headers, body, taken, caller, drain }).await
    }

    /// Decides on the head alone; the route that the request takes, and where it leads.
    async fn admit(
        &self,
        head: &Parts,
        peer: &Peer,
        caller: &Caller,
    ) -> Result<(&Lane, Uri, Option<Key>), Refusal> {
        guard::admit(&self.guard, head, peer)?;
        if let Some(token) = self.token().await? {
            guard::proven(&head.headers, &token)?;
        }
        let lane = self.lane(head).ok_or(Denied::Route)?;
        let session = lane.sessions.admit(&head.headers, caller)?;
        let target = lane.target(&head.uri).ok_or(Denied::Route)?;
        Ok((lane, target, session))
    }

    async fn token(&self) -> Result<Option<Arc<Secret>>, Refusal> {
        let Some(held) = &self.token else { return Ok(None) };
        match held.current().await {
            Ok((token, _)) => Ok(Some(token)),
            Err(error) => {
                let what = format!("{}: {error}", respond::NO_TOKEN);
                Err(Refusal::Unproven(Failure::new(Stage::Credential, what)))
            }
        }
    }

    fn lane(&self, head: &Parts) -> Option<&Lane> {
        if let [only] = self.lanes.as_slice()
            && !only.has_host()
        {
            return Some(only);
        }
        let stated = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = head.uri.authority().map(|it| it.as_str()).or(stated).unwrap_or_default();
        let host = host.parse::<http::uri::Authority>().ok();
        let host = host.as_ref().map_or("", http::uri::Authority::host);
        let fitting = self
            .lanes
            .iter()
            .filter_map(|lane| lane.fits(host, head.uri.path()).map(|closeness| (closeness, lane)));
        fitting.max_by_key(|(closeness, _)| *closeness).map(|(_, lane)| lane)
    }

    /// The whole body, and the room it takes up.
    async fn read(&self, body: Incoming) -> Result<(Bytes, Option<Place>), Refusal> {
        if body.is_end_stream() {
            return Ok((Bytes::new(), None));
        }
        let size = body.size_hint().exact();
        if size.is_some_and(|size| size > self.max_message as u64) {
            return Err(Refusal::TooLong(self.max_message));
        }
        let room = self.room.body(size).await?;
        let mut read = pin!(Limited::new(body, self.max_message).collect());
        let read = match read.as_mut().now_or_never() {
            // It came with the head, as most do: no timer is needed.
            Some(read) => Ok(read),
            None => timeout(self.times.body, read).await,
        };
        match read {
            Ok(Ok(body)) => {
                let body = body.to_bytes();
                let room = room.and_then(|room| room.fitted(body.len()));
                Ok((body, room))
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(Refusal::TooLong(self.max_message))
            }
            Ok(Err(_)) => Err(Refusal::Broken("the body of the request broke off")),
            Err(_) => Err(Refusal::Unread("the body of the request did not come in time")),
        }
    }

    fn silent(&self, lane: &Lane) -> Failure {
        let limit = humantime::format_duration(self.times.response);
        let what = format!("the upstream of {} gave no answer within {limit}", lane.name);
        Failure::new(Stage::Response, what)
            .hint("it may have run all the same; --idle-timeout gives it more time")
    }
}

/// The response as it goes back: nothing of ours in it, and nothing of the connection it came by.
fn bring_back(
    response: crate::service::Response,
    lane: &Lane,
    asked: &Asked,
    (socket, place): (Option<OnUpgrade>, Place),
    (drain, times): (&Drain, Times),
) -> Result<Response<Streaming>, Failure> {
    let (mut head, body) = response.into_parts();
    let sockets = tunnel::agreed(&mut head, socket.is_some())?.zip(socket);
    conceal(&mut head.headers, head.extensions.get::<Secrets>());
    hops::strip_response(&mut head.headers);
    lane.bring_home(&mut head.headers, &asked.target);
    asked.note(lane, &head);
    let events = is_event_stream(&head.headers);
    let until = (events && asked.method == Method::GET).then(|| drain.clone());
    let stall = (!events).then(|| Stall::new(times.response));
    let mut streaming = Streaming { until, stall, ..Streaming::plain(body) };
    if let Some((upstream, downstream)) = sockets {
        tunnel::ask(&mut head.headers);
        let (record, recorded) = oneshot::channel();
        streaming.tunnel = Some(record);
        let drain = drain.clone();
        let limit = times.body;
        tokio::spawn(Tunnel { downstream, upstream, place, drain, limit }.carry(recorded));
    } else {
        streaming._place = Some(place);
    }
    let mut response = Response::new(streaming);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

/// What is still to be known of a request when its response is there.
struct Asked {
    method: Method,
    target: Uri,
    session: Option<Key>,
    caller: Caller,
}

impl Asked {
    fn note(&self, lane: &Lane, head: &http::response::Parts) {
        let session = (self.session, &head.headers);
        lane.sessions.note(&self.method, head.status, session, &self.caller);
    }
}

/// Takes out what repeats a secret that the request carried: it is none of the caller's business. A
/// tenant's name in a header of the user's own is none, and stands in many a place.
fn conceal(headers: &mut HeaderMap, secrets: Option<&Secrets>) {
    let Some(secrets) = secrets else { return };
    let repeats = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes());
        redaction::clean(&text, secrets.0.iter()) != text
    };
    let doomed: Vec<_> =
        headers.iter().filter(|(_, value)| repeats(value)).map(|(name, _)| name.clone()).collect();
    for name in doomed {
        headers.remove(name);
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.len() >= EVENTS.len() && kind[..EVENTS.len()].eq_ignore_ascii_case(EVENTS)
}

const EVENTS: &[u8] = b"text/event-stream";

/// A response's body on its way to the caller, frame by frame.
pub(super) struct Streaming {
    body: Body,
    /// A stream that is listened to ends when its connection is to; the caller listens elsewhere.
    until: Option<Drain>,
    leaving: Option<BoxFuture<'static, ()>>,
    record: Option<Record>,
    /// An answer that is no event stream may not stop in its middle for ever.
    stall: Option<Stall>,
    /// What follows the response if it is a WebSocket's: its record is of both.
    tunnel: Option<oneshot::Sender<Record>>,
    _place: Option<Place>,
}

/// Whether nothing follows of a body, by its own word or by its length.
fn is_whole(body: &Body) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

impl Streaming {
    fn plain(body: Body) -> Self {
        Self {
            body,
            until: None,
            leaving: None,
            record: None,
            stall: None,
            tunnel: None,
            _place: None,
        }
    }

    /// An answer that was made here.
    fn ours(answered: Answered, place: Place, drain: &Drain) -> Response<Self> {
        let until = answered.listens.then(|| drain.clone());
        answered.response.map(|body| Self { until, _place: Some(place), ..Self::plain(body) })
    }

    fn noted_in(mut self, mut record: Record) -> Self {
        if let Some(tunnel) = self.tunnel.take() {
            // Given back by one that has ended already: it is written all the same.
            drop(tunnel.send(record));
            return self;
        }
        if is_whole(&self.body) {
            record.ended();
        }
        Self { record: Some(record), ..self }
    }

    /// What of the body goes out.
    fn note(&mut self, frame: Option<&Result<Frame<Bytes>, Failure>>) {
        let Some(record) = &mut self.record else { return };
        match frame {
            Some(Ok(frame)) => {
                record.sent(frame.data_ref().map_or(0, Bytes::len));
                // Who knows that nothing follows does not ask for it.
                if is_whole(&self.body) {
                    record.ended();
                }
            }
            Some(Err(failure)) => record.broke(failure),
            None => record.ended(),
        }
    }
}

impl http_body::Body for Streaming {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        let mut frame = Pin::new(&mut this.body).poll_frame(cx);
        if let Some(stall) = &mut this.stall
            && let Some(failure) = stall.watch(frame.is_pending(), cx)
        {
            frame = Poll::Ready(Some(Err(failure)));
        }
        if let Poll::Ready(frame) = &frame {
            this.note(frame.as_ref());
        }
        let (Some(drain), Poll::Pending) = (&this.until, &frame) else { return frame };
        let leaving = this.leaving.get_or_insert_with(|| drain.leaving());
        match leaving.as_mut().poll(cx) {
            Poll::Ready(()) => {
                this.note(None);
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
