//! One request and its answer: read whole, recorded, asked of the script, run by `mcp`, and
//! answered in the form that options, tool and fault say.

use std::{convert::Infallible, future::pending, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use serde_json::Value;

use super::{
    Seen, Shared,
    connection::Peer,
    mcp::{self, Answer},
    stream::{self, Log, Outgoing, Stop, Style},
};
use crate::support::script::{Ending, Fault, Form, Mangle, Reply};

/// Answers a request; never, if that is what the script says.
pub async fn answer(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, Infallible> {
    let (mut head, body) = request.into_parts();
    let upgrade = head.extensions.remove::<OnUpgrade>();
    let Ok(body) = body.collect().await else {
        return pending().await;
    };
    let seen = shared.recorder.request(Seen::new(&peer, head, body.to_bytes()));
    let fault = shared.script.take(&seen);
    let exchange = Exchange { shared, peer, seen };
    if let Some(Fault::Socket(socket)) = fault {
        let upgrade = upgrade.expect("it did not ask for another protocol");
        return Ok(exchange.reply(exchange.peer.open(&exchange.seen, upgrade, socket)));
    }
    Ok(match exchange.not_run(fault).await {
        Ok(reply) => exchange.reply(reply),
        Err(fault) => exchange.run(fault).await,
    })
}

struct Exchange {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    seen: Seen,
}

impl Exchange {
    /// What happens instead of the request, or else the fault that is for later.
    async fn not_run(&self, fault: Option<Fault>) -> Result<Reply, Option<Fault>> {
        match fault {
            Some(Fault::Answer(reply)) => Ok(reply),
            Some(Fault::Lost(shape)) => {
                self.shared.mcp.forget(self.seen.session());
                Ok(shape.reply(&self.seen.id()))
            }
            Some(Fault::Hangup(ending)) => self.hang_up(Bytes::new(), ending).await,
            Some(Fault::Garbage(bytes)) => self.hang_up(bytes.into(), Ending::CloseNotify).await,
            Some(Fault::Stall) => pending().await,
            later => Err(later),
        }
    }

    async fn hang_up<T>(&self, last: Bytes, ending: Ending) -> T {
        self.peer.control.part(last, ending);
        pending().await
    }

    async fn run(&self, fault: Option<Fault>) -> Response<Outgoing> {
        let answer = mcp::answer(&self.shared, &self.seen);
        if let Some(
            fault @ (Fault::RunThenAnswer(_) | Fault::RunThenHangup(_) | Fault::RunThenStall),
        ) = fault
        {
            // The stream of a GET has no end to wait for.
            if let (Answer::Log { log, .. }, true) = (answer, self.seen.method == Method::POST) {
                log.finished().await;
            }
            return match fault {
                Fault::RunThenAnswer(reply) => self.reply(reply),
                Fault::RunThenHangup(ending) => self.hang_up(Bytes::new(), ending).await,
                _ => pending().await,
            };
        }
        let mangle = match &fault {
            Some(Fault::Mangle(mangle)) => Some(mangle.clone()),
            _ => None,
        };
        let form = match &fault {
            Some(Fault::Form(form)) => Some(*form),
            _ => None,
        };
        let mut response = match answer {
            Answer::Reply(reply) => self.reply(reply),
            Answer::Log { log, from, form: own, session } => {
                let mut response = match form.unwrap_or(own) {
                    Form::Json => self.document(&log, mangle.as_ref()).await,
                    Form::Sse => self.events(log, from, mangle),
                };
                if let Some(session) = session {
                    let session = HeaderValue::from_str(&session).unwrap();
                    response.headers_mut().insert("mcp-session-id", session);
                }
                response
            }
        };
        match fault {
            Some(Fault::LateHead(pause)) => tokio::time::sleep(pause).await,
            Some(Fault::SlowHead { bytes, pause }) => self.peer.control.slow(bytes, pause),
            Some(Fault::Header(name, value)) => {
                let name = HeaderName::from_static(name);
                response.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap());
            }
            Some(fault) => {
                if let Some(stop) = stop(&fault) {
                    return response.map(|body| body.stopping(stop));
                }
            }
            None => {}
        }
        response
    }

    fn reply(&self, reply: Reply) -> Response<Outgoing> {
        let number = self.seen.number;
        let body = Outgoing::whole(reply.body, number, &self.peer.control, &self.shared);
        let mut response = Response::new(body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }

    /// The answer as one JSON document, when it is complete.
    async fn document(&self, log: &Arc<Log>, mangle: Option<&Mangle>) -> Response<Outgoing> {
        let mut messages = log.finished().await;
        messages.retain(|message| message.get("method").is_none());
        let twice = matches!(mangle, Some(Mangle::Twice));
        let message = match self.seen.json() {
            Value::Array(_) => Value::Array(messages),
            // The session ended under it.
            _ if messages.is_empty() => return self.reply(Reply::new(404)),
            _ => messages.remove(0),
        };
        let mut body = stream::document(&message, mangle);
        if twice {
            body = body.repeat(2);
        }
        self.reply(Reply::new(200).header("content-type", "application/json").body(body))
    }

    fn events(&self, log: Arc<Log>, from: usize, mangle: Option<Mangle>) -> Response<Outgoing> {
        let style = Style { resumable: self.shared.options.resumable, mangle };
        let (number, control) = (self.seen.number, &self.peer.control);
        let events = log.events(from, style);
        // Who waits for a reader looks again.
        self.shared.recorder.note(|_| ());
        let mut response =
            Response::new(Outgoing::streaming(events, number, control, &self.shared));
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("text/event-stream"));
        headers.insert("cache-control", HeaderValue::from_static("no-cache"));
        response
    }
}

fn stop(fault: &Fault) -> Option<Stop> {
    match *fault {
        Fault::Cut { at, ending } => Some(Stop::Cut(at, ending)),
        Fault::Truncate { at } => Some(Stop::Truncate(at)),
        Fault::StallAt { at } => Some(Stop::Stall(at)),
        Fault::EndAfterEvents(events) => Some(Stop::AfterEvents(events)),
        _ => None,
    }
}
