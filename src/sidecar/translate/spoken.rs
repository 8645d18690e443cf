//! Which eras the upstream speaks: asked by `server/discover` with the route's credentials, remembered,
//! and asked again when what is remembered was proved wrong.
//!
//! A refusal says it too (2026-07-28 streamable-http, "Backward Compatibility"). What says neither, such
//! as a gateway's 401 or 503, is taken for no answer at all.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tower::Service as _;

use super::{EVENT_STREAM, JSON, MODERN, VERSION, is_modern};
use crate::{
    bridge::Settings,
    mcp::{metadata::PROTOCOL_VERSION, refusal, sse::Decoder},
    service::{Body, Caller, HttpService, Request},
};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of it is read.
const LONGEST: usize = 1 << 20;
/// Before it is asked again, at least.
const AGAIN: Duration = Duration::from_secs(5);

/// What an upstream understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Revisions up to 2025-11-25.
    Legacy,
    /// Those from 2026-07-28 on.
    Modern,
    /// Both.
    Both,
}

/// What is known of it.
#[derive(Default)]
pub(super) struct Known {
    state: Mutex<State>,
    /// An answer came, or will not.
    answered: Notify,
}

#[derive(Default)]
struct State {
    spoken: Option<Spoken>,
    /// It was proved wrong, perhaps.
    doubted: bool,
    /// It is not asked before.
    again: Option<Instant>,
    /// The answer is awaited.
    asking: bool,
}

impl Known {
    /// What the upstream speaks; none if it does not say so.
    pub(super) async fn get(
        &self,
        (settings, service): (&Settings, &HttpService),
        caller: &Caller,
    ) -> Option<Spoken> {
        loop {
            let answered = self.answered.notified();
            match self.stands() {
                Stands::Known(spoken) => return spoken,
                Stands::Open => break,
                Stands::Asked => answered.await,
            }
        }
        let asking = Asking(self, Instant::now());
        let before = self.lock().spoken;
        let spoken = ask(settings, service.clone(), caller, before).await;
        if let Some(spoken) = spoken {
            let mut state = self.lock();
            if state.spoken.replace(spoken) != Some(spoken) {
                tracing::info!(?spoken, "{} has shown its era", settings.upstream);
            }
            state.doubted = false;
        }
        drop(asking);
        self.lock().spoken
    }

    /// Where the question stands; whoever hears that it is open is the one to ask.
    fn stands(&self) -> Stands {
        let mut state = self.lock();
        if state.asking {
            return Stands::Asked;
        }
        let settled = state.spoken.is_some() && !state.doubted;
        if settled || state.again.is_some_and(|again| Instant::now() < again) {
            return Stands::Known(state.spoken);
        }
        state.asking = true;
        Stands::Open
    }

    /// Whether it has said so once.
    pub(super) fn is_known(&self) -> bool {
        self.lock().spoken.is_some()
    }

    /// Something went as it would not have if this were right.
    pub(super) fn doubt(&self) {
        self.lock().doubted = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Stands {
    Known(Option<Spoken>),
    Asked,
    Open,
}

/// Who asks, and since when; those who wait for that go on even if it goes away.
struct Asking<'a>(&'a Known, Instant);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.asking = false;
        // One that says nothing until its time is over does not hold up every request.
        state.again = Some(Instant::now() + AGAIN.max(3 * self.1.elapsed()));
        drop(state);
        self.0.answered.notify_waiters();
    }
}

async fn ask(
    settings: &Settings,
    mut service: HttpService,
    caller: &Caller,
    before: Option<Spoken>,
) -> Option<Spoken> {
    let asking = async {
        let (head, body) = service.call(discover(settings, caller)).await.ok()?.into_parts();
        let said = read(&head.headers, body).await;
        let page = said.as_ref().is_none_or(|said| !is_response(said));
        let speaks = !page || before.is_none_or(|it| it == Spoken::Legacy);
        // Who was modern once has to say more than a gateway would: all sessions of ours end with that.
        let tells = speaks || !matches!(head.status.as_u16(), 400 | 404);
        tells.then(|| judge(head.status, said.as_ref()))?
    };
    timeout(PATIENCE.min(settings.idle_timeout), asking).await.ok()?
}

fn discover(settings: &Settings, caller: &Caller) -> Request {
    let meta = json!({
        PROTOCOL_VERSION: MODERN,
        "io.modelcontextprotocol/clientInfo": {
            "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION"),
        },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "_meta": meta });
    let message = json!({
        "jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": params,
    });
    let mut request = Request::new(Bytes::from(message.to_string()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = settings.uri.clone();
    request.extensions_mut().insert(caller.clone());
    let headers = request.headers_mut();
    let both = HeaderValue::from_static("application/json, text/event-stream");
    headers.insert(header::ACCEPT, both);
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(VERSION, HeaderValue::from_static(MODERN));
    headers.insert("mcp-method", HeaderValue::from_static("server/discover"));
    request
}

/// The first response in a body.
async fn read(headers: &HeaderMap, mut body: Body) -> Option<Value> {
    let streams = super::is_type(headers, EVENT_STREAM.as_bytes());
    let (mut decoder, mut whole) = (Decoder::new(LONGEST), Vec::new());
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.into_data().unwrap_or_default();
        if !streams {
            whole.extend_from_slice(&data[..data.len().min(LONGEST - whole.len())]);
            continue;
        }
        let mut said = None;
        let pushed = decoder.push(&data, |event| {
            let event: Option<Value> = serde_json::from_slice(&event.data).ok();
            said = said.take().or(event.filter(|it| it.get("method").is_none()));
        });
        if said.is_some() || pushed.is_err() {
            return said;
        }
    }
    serde_json::from_slice(&whole).ok()
}

/// Whether it is a JSON-RPC response, with a result or an error.
fn is_response(said: &Value) -> bool {
    said.get("result").or(said.get("error")).is_some()
}

fn judge(status: StatusCode, said: Option<&Value>) -> Option<Spoken> {
    let versions = |list: &Value| {
        let all: Vec<&str> = list.as_array()?.iter().filter_map(Value::as_str).collect();
        match (all.iter().any(|it| is_modern(it)), all.iter().all(|it| is_modern(it))) {
            (true, true) => Some(Spoken::Modern),
            (true, false) => Some(Spoken::Both),
            (false, _) => Some(Spoken::Legacy),
        }
    };
    if let Some(result) = said.and_then(|said| said.get("result")) {
        // Some old servers answer whatever they do not know with an empty result.
        let modern = ["supportedVersions", "resultType"].iter().any(|it| result.get(it).is_some());
        let unsaid = if modern { Spoken::Modern } else { Spoken::Legacy };
        return status
            .is_success()
            .then(|| versions(&result["supportedVersions"]).unwrap_or(unsaid));
    }
    let error = said.and_then(|said| said.get("error"));
    let code = error.and_then(|error| error["code"].as_i64());
    if let (Some(error), Some(code)) = (error, code)
        && refusal::is_modern(code)
    {
        return versions(&error["data"]["supported"]).or(Some(Spoken::Modern));
    }
    match status.as_u16() {
        200 if code.is_some() => Some(Spoken::Legacy),
        // A handler of sessions that asks for one, or has no such method, path or header.
        400 | 404 | 405 | 406 | 415 | 422 => Some(Spoken::Legacy),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    };

    use tower::service_fn;

    use super::*;

    #[test]
    fn an_answer_or_a_refusal_tells_the_era() {
        let result = |versions: &[&str]| json!({"result": {"supportedVersions": versions}});
        let error = |code: i64| json!({"error": {"code": code, "message": "no"}});
        let old = json!({"error": {"code": -32022, "data": {"supported": ["2025-11-25"]}}});
        for (status, said, expected) in [
            (200, Some(result(&["2026-07-28"])), Some(Spoken::Modern)),
            (200, Some(result(&["2026-07-28", "2025-11-25"])), Some(Spoken::Both)),
            (200, Some(result(&["2025-11-25"])), Some(Spoken::Legacy)),
            (200, Some(json!({"result": {}})), Some(Spoken::Legacy)),
            (200, Some(json!({"result": null})), Some(Spoken::Legacy)),
            (200, Some(json!({"result": {"resultType": "complete"}})), Some(Spoken::Modern)),
            (503, Some(json!({"result": {}})), None),
            (200, Some(error(-32601)), Some(Spoken::Legacy)),
            (400, Some(error(-32022)), Some(Spoken::Modern)),
            (400, Some(old), Some(Spoken::Legacy)),
            (400, Some(error(-32000)), Some(Spoken::Legacy)),
            (404, None, Some(Spoken::Legacy)),
            (405, None, Some(Spoken::Legacy)),
            (401, None, None),
            (403, Some(error(-32000)), None),
            (200, None, None),
            (307, None, None),
            (503, None, None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(judge(status, said.as_ref()), expected, "{status} {said:?}");
        }
    }

    /// An upstream that answers as `status` says, and how often it was asked.
    fn upstream(status: Arc<AtomicU16>) -> (HttpService, Arc<AtomicU16>) {
        let asked = Arc::new(AtomicU16::new(0));
        let count = Arc::clone(&asked);
        let service = service_fn(move |request: Request| {
            assert_eq!(request.headers()["mcp-method"], "server/discover");
            count.fetch_add(1, Relaxed);
            let status = status.load(Relaxed);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let said = json!({"result": {"supportedVersions": [MODERN]}}).to_string();
                let body = if status == 200 { Bytes::from(said) } else { Bytes::new() };
                let mut response = http::Response::new(crate::sidecar::respond::whole(body));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok(response)
            }
        });
        (HttpService::new(service), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_once_and_again_when_it_is_doubted() {
        let (settings, known) = (crate::sidecar::translate::settings(), Known::default());
        let status = Arc::new(AtomicU16::new(200));
        let (service, asked) = upstream(Arc::clone(&status));
        let get = || known.get((&settings, &service), &Caller::Anyone);
        // Who comes meanwhile waits for the same answer.
        let both = tokio::join!(get(), get());
        assert_eq!(both, (Some(Spoken::Modern), Some(Spoken::Modern)));
        known.doubt();
        assert_eq!(get().await, Some(Spoken::Modern));
        assert_eq!(asked.load(Relaxed), 1, "it was asked just now");
        tokio::time::sleep(AGAIN).await;
        status.store(405, Relaxed);
        assert_eq!(get().await, Some(Spoken::Legacy));
        known.doubt();
        tokio::time::sleep(AGAIN).await;
        status.store(503, Relaxed);
        assert_eq!(get().await, Some(Spoken::Legacy), "what says nothing changes nothing");
        assert_eq!(asked.load(Relaxed), 3);
        for (now, expected) in [(200, Spoken::Modern), (404, Spoken::Modern), (400, Spoken::Modern)]
        {
            known.doubt();
            tokio::time::sleep(AGAIN).await;
            status.store(now, Relaxed);
            assert_eq!(get().await, Some(expected), "{now}: a page may be a gateway's");
        }
        assert_eq!(asked.load(Relaxed), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_and_goes_away_leaves_the_question_to_the_next() {
        let (settings, known) = (crate::sidecar::translate::settings(), Known::default());
        let (service, _) = upstream(Arc::new(AtomicU16::new(200)));
        let get = || known.get((&settings, &service), &Caller::Anyone);
        let gone = timeout(Duration::from_millis(1), get()).await;
        assert!(gone.is_err());
        assert_eq!(get().await, None, "not at once");
        tokio::time::sleep(AGAIN).await;
        assert_eq!(get().await, Some(Spoken::Modern));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_says_nothing_holds_up_who_asks_first_alone() {
        let (settings, known) = (crate::sidecar::translate::settings(), Known::default());
        let silent = service_fn(|_: Request| std::future::pending());
        let service = HttpService::new(silent);
        let get = || known.get((&settings, &service), &Caller::Anyone);
        let started = Instant::now();
        assert_eq!(get().await, None);
        assert_eq!(started.elapsed(), PATIENCE);
        for _ in 0..9 {
            assert_eq!(get().await, None);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(started.elapsed(), PATIENCE + Duration::from_secs(9));
        tokio::time::sleep(3 * PATIENCE).await;
        let (service, asked) = upstream(Arc::new(AtomicU16::new(200)));
        let said = known.get((&settings, &service), &Caller::Anyone).await;
        assert_eq!((said, asked.load(Relaxed)), (Some(Spoken::Modern), 1));
    }

    #[test]
    fn an_era_begins_with_a_date() {
        assert!(is_modern(MODERN) && is_modern("2027-01-01"));
        for old in ["2025-11-25", "2024-11-05", "1", "", "9", "draft"] {
            assert!(!is_modern(old), "{old}");
        }
    }
}
