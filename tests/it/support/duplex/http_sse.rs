//! HTTP+SSE: `GET /sse` is the stream, `POST /messages?session=N` takes messages.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Answer, Instead, Said, Shared, status};

/// How the name of a session begins.
const SESSION: &str = "canary-session-";

pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/sse") => listen(shared),
        (&Method::POST, "/messages") => post(shared, request).await,
        (_, "/sse") => status(405, "Method Not Allowed"),
        _ => status(404, "Not Found"),
    }
}

fn listen(shared: &Arc<Shared>) -> Answer {
    let wanted = |it: &Instead| {
        matches!(it, Instead::Refuse(..) | Instead::Endpoint(_) | Instead::NoEndpoint)
    };
    let instead = shared.note(|record| record.take(wanted));
    if let Some(Instead::Refuse(code, text)) = instead {
        return status(code, text);
    }
    let (sayer, said) = unbounded_channel();
    let channel = shared.opened(sayer);
    let endpoint = match instead {
        Some(Instead::Endpoint(endpoint)) => Some(endpoint),
        Some(Instead::NoEndpoint) => None,
        _ => Some(format!("/messages?session={SESSION}{channel}")),
    };
    let first = endpoint.map(|endpoint| format!("event: endpoint\ndata: {endpoint}\n\n"));
    let stream = Stream { first, said, gone: Gone { shared: Arc::clone(shared), channel } };
    let body = StreamBody::new(stream::unfold(stream, next));
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(UnsyncBoxBody::new(body))
        .unwrap()
}

struct Stream {
    first: Option<String>,
    said: UnboundedReceiver<Said>,
    gone: Gone,
}

/// Marks its channel as gone when it is dropped.
struct Gone {
    shared: Arc<Shared>,
    channel: usize,
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.shared.closed(self.channel);
    }
}

async fn next(mut stream: Stream) -> Option<(io::Result<Frame<Bytes>>, Stream)> {
    let data = |text: String| Ok(Frame::data(Bytes::from(text)));
    if let Some(first) = stream.first.take() {
        return Some((data(first), stream));
    }
    match stream.said.recv().await? {
        Said::Text(text) => Some((data(format!("event: message\ndata: {text}\n\n")), stream)),
        Said::End => None,
        Said::Slowly(..) | Said::Leave => panic!("a WebSocket's alone"),
        Said::Break => {
            stream.gone.shared.closed(stream.gone.channel);
            Some((Err(io::ErrorKind::ConnectionReset.into()), stream))
        }
    }
}

async fn post(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    let channel: usize = query
        .strip_prefix("session=")
        .and_then(|it| it.strip_prefix(SESSION))
        .unwrap()
        .parse()
        .unwrap();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let refused = shared.note(|record| record.take(|it| matches!(it, Instead::RefusePost(_))));
    if let Some(Instead::RefusePost(code)) = refused {
        return status(code, format!("Could not find session {SESSION}{channel}"));
    }
    let known = shared.note(|record| record.channels.get(channel).is_some_and(Option::is_some));
    if !known {
        return status(404, format!("Could not find session {SESSION}{channel}"));
    }
    shared.heard(channel, &serde_json::from_slice(&body).unwrap());
    status(202, "Accepted")
}
