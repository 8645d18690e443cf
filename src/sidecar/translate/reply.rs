//! What an engine says, as an HTTP response: one JSON document if that is all, else an event stream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt as _;

use super::{EVENT_STREAM, JSON, desk::Line, interpreter::Reply};
use crate::{
    failure::Failure, mcp::fault, mcp::message::Id, service::Body, sidecar::respond::whole,
};

/// 2026-07-28 streamable-http, "Receiving Messages".
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// The first thing said to a request, and what follows it.
pub(super) enum Said {
    /// This is all.
    Whole(Bytes),
    /// A stream with this at its beginning, if anything is.
    Stream(Option<Line>, Reply),
}

impl Said {
    /// Waits for the first thing that is said.
    pub(super) async fn by(mut reply: Reply) -> Self {
        match reply.next().await {
            Some(Line { text, last: true }) => Self::Whole(text),
            first => Self::Stream(first, reply),
        }
    }

    /// The response; a whole answer has this status.
    pub(super) fn response(self, status: impl FnOnce(&[u8]) -> StatusCode) -> Response<Body> {
        match self {
            Self::Whole(text) => json(status(&text), text),
            Self::Stream(first, reply) => events(first, reply),
        }
    }
}

/// 202, to what needs no answer.
pub(super) fn accepted() -> Response<Body> {
    empty(StatusCode::ACCEPTED)
}

pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// A refusal in the words of MCP.
pub(super) fn refused(status: u16, line: Bytes) -> Response<Body> {
    let mut response = json(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), line);
    // It tells our answers from the upstream's (RFC 9209).
    let ours = HeaderValue::from_static("countersign; error=http_request_denied");
    response.headers_mut().insert("proxy-status", ours);
    response
}

/// The same, authored here.
pub(super) fn refuse(status: u16, id: Option<&Id>, code: i64, what: &str) -> Response<Body> {
    refused(status, fault::of_protocol(id, code, what))
}

fn json(status: StatusCode, text: Bytes) -> Response<Body> {
    let mut response = Response::new(whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// An event stream of `first` and whatever follows.
pub(super) fn events(first: Option<Line>, reply: Reply) -> Response<Body> {
    let mut response = Response::new(Events { first, reply }.boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(UNBUFFERED.0, UNBUFFERED.1);
    response
}

struct Events {
    first: Option<Line>,
    reply: Reply,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let line = match self.first.take() {
            Some(line) => Some(line),
            None => std::task::ready!(self.reply.poll(cx)),
        };
        Poll::Ready(line.map(|line| Ok(Frame::data(event(&line.text)))))
    }
}

/// A line is one line: it needs no escape.
fn event(line: &Bytes) -> Bytes {
    const BEFORE: &[u8] = b"event: message\ndata: ";
    let mut event = BytesMut::with_capacity(BEFORE.len() + line.len() + 2);
    event.put_slice(BEFORE);
    event.put_slice(line);
    event.put_slice(b"\n\n");
    event.freeze()
}
