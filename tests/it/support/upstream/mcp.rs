//! The server side of Streamable HTTP, 2025-03-26 to 2025-11-25: sessions, streams, requests to
//! the client. Strict: what a client must send and does not is answered 4xx with the reason.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::Method;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

use super::{Seen, Shared, modern, stream::Log, tools};
use crate::support::script::{Form, Lost, Reply};

/// What is answered to a request.
pub enum Answer {
    /// This, whole.
    Reply(Reply),
    /// The messages of a log, and the id of a new session.
    Log { log: Arc<Log>, from: usize, form: Form, session: Option<String> },
}

type Waiter = Box<dyn FnOnce(Value) + Send>;

/// All sessions, and what outlives them.
#[derive(Default)]
pub struct Mcp {
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    asked: Mutex<HashMap<String, Waiter>>,
    minted: AtomicUsize,
    /// The gates that were opened.
    pub gates: watch::Sender<HashSet<String>>,
}

/// One session.
pub struct Session {
    version: String,
    /// What the server says by itself, on the GET stream.
    pub listen: Arc<Log>,
    logs: Mutex<HashMap<String, Arc<Log>>>,
    running: Mutex<JoinSet<()>>,
}

impl Mcp {
    /// Forgets this session, or the nameless one.
    pub fn forget(&self, session: Option<&str>) {
        let session = self.sessions.lock().unwrap().remove(session.unwrap_or_default());
        session.inspect(|session| session.end());
    }

    /// Forgets all sessions, as a server does that was started again.
    pub fn forget_all(&self) {
        self.sessions.lock().unwrap().drain().for_each(|(_, session)| session.end());
    }

    /// The sessions that are known now.
    pub fn sessions(&self) -> HashMap<String, Arc<Session>> {
        self.sessions.lock().unwrap().clone()
    }

    /// Sends a request to the client on this stream; `waiter` gets the response.
    pub fn ask(&self, log: &Log, method: &str, params: &Value, waiter: Waiter) {
        let id = format!("ask-{}", self.minted.fetch_add(1, Ordering::Relaxed));
        self.asked.lock().unwrap().insert(id.clone(), waiter);
        let mut question = json!({"jsonrpc": "2.0", "id": id, "method": method});
        if !params.is_null() {
            question["params"] = params.clone();
        }
        log.push(question);
    }

    fn answered(&self, response: Value) {
        let id = response["id"].as_str().unwrap_or_default();
        if let Some(waiter) = self.asked.lock().unwrap().remove(id) {
            waiter(response);
        }
    }

    fn mint(&self, kind: &str) -> String {
        format!("{kind}-{}", self.minted.fetch_add(1, Ordering::Relaxed))
    }

    fn open(&self, shared: &Shared, version: &str) -> (String, Arc<Session>) {
        let id = if shared.options.stateless { String::new() } else { self.mint("session") };
        let listen = Log::new(self.mint("listen"));
        let session = Arc::new(Session {
            version: version.into(),
            logs: Mutex::default(),
            running: Mutex::default(),
            listen,
        });
        session.keep(&session.listen);
        self.sessions.lock().unwrap().insert(id.clone(), Arc::clone(&session));
        (id, session)
    }

    /// The session a request belongs to, or how it is turned away.
    fn session(&self, shared: &Shared, seen: &Seen) -> Result<Arc<Session>, Box<Reply>> {
        let named = match seen.session() {
            None if !shared.options.stateless => {
                return Err(Lost::BadRequest.reply(&seen.id()).into());
            }
            named => named.unwrap_or_default(),
        };
        let session = self.sessions.lock().unwrap().get(named).cloned();
        let session = session.ok_or_else(|| Box::new(shared.options.lost.reply(&seen.id())))?;
        let version = seen.header("mcp-protocol-version");
        let needed = session.version.as_str() >= "2025-06-18";
        if version.map_or(needed, |version| version != session.version) {
            let expected = &session.version;
            return Err(refuse(400, &format!("protocol version: {expected}, not {version:?}")));
        }
        Ok(session)
    }
}

impl Session {
    /// The protocol version it was opened with.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Stops what runs; open streams end without the responses that are missing.
    fn end(&self) {
        self.running.lock().unwrap().abort_all();
        self.logs.lock().unwrap().values().for_each(|log| log.finish());
    }

    fn keep(&self, log: &Arc<Log>) {
        self.logs.lock().unwrap().insert(log.id().into(), Arc::clone(log));
    }

    /// Where the stream of this event id goes on.
    fn resume(&self, last: &str) -> Option<(Arc<Log>, usize)> {
        let (log, position) = last.rsplit_once('.')?;
        let log = self.logs.lock().unwrap().get(log).cloned()?;
        Some((log, position.parse().ok()?))
    }
}

fn refuse(status: u16, why: &str) -> Box<Reply> {
    let error = json!({"code": -32600, "message": why});
    Box::new(Reply::json(status, &json!({"jsonrpc": "2.0", "id": null, "error": error})))
}

/// Answers a request; what it calls runs from now on.
pub fn answer(shared: &Arc<Shared>, seen: &Seen) -> Answer {
    if shared.is_modern.load(Ordering::Relaxed) {
        return modern::answer(shared, seen);
    }
    let answer = match seen.method {
        Method::POST => post(shared, seen),
        Method::GET => listen(shared, seen),
        Method::DELETE => shared.mcp.session(shared, seen).map(|_| {
            shared.mcp.forget(seen.session());
            Answer::Reply(Reply::new(200))
        }),
        _ => Err(refuse(405, "POST, GET or DELETE")),
    };
    answer.unwrap_or_else(|refusal| Answer::Reply(*refusal))
}

fn accepts(seen: &Seen, kind: &str) -> bool {
    seen.header("accept").is_some_and(|accept| accept.contains(kind))
}

fn listen(shared: &Arc<Shared>, seen: &Seen) -> Result<Answer, Box<Reply>> {
    if !accepts(seen, "text/event-stream") {
        return Err(refuse(406, "accept text/event-stream"));
    }
    let session = shared.mcp.session(shared, seen)?;
    let resumed = seen.header("last-event-id").map(|last| session.resume(last));
    let (log, from) = match resumed {
        Some(Some(place)) if shared.options.resumable.is_some() => place,
        Some(_) if shared.options.resumable.is_some() => {
            return Err(refuse(400, "unknown last-event-id"));
        }
        _ => (Arc::clone(&session.listen), session.listen.end()),
    };
    Ok(Answer::Log { log, from, form: Form::Sse, session: None })
}

fn post(shared: &Arc<Shared>, seen: &Seen) -> Result<Answer, Box<Reply>> {
    if !(accepts(seen, "application/json") && accepts(seen, "text/event-stream")) {
        return Err(refuse(406, "accept application/json and text/event-stream"));
    }
    if !seen.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(refuse(415, "content-type application/json"));
    }
    let document = seen.json();
    if document.is_null() {
        return Err(refuse(400, "parse error"));
    }
    let mut id = None;
    let session = if document["method"] == "initialize" {
        let version = shared.options.negotiate(&document["params"]["protocolVersion"]);
        let (new, session) = shared.mcp.open(shared, &version);
        id = (!shared.options.stateless).then_some(new);
        session
    } else {
        shared.mcp.session(shared, seen)?
    };
    if document.is_array() && session.version != "2025-03-26" {
        return Err(refuse(400, "batches are of 2025-03-26"));
    }
    let (mut requests, mut own) = (Vec::new(), shared.options.form);
    for message in seen.messages() {
        if message.get("method").is_none() {
            shared.mcp.answered(message.clone());
        } else if message.get("id").is_some() {
            if own.is_none() && tools::streams(message) {
                own = Some(Form::Sse);
            }
            requests.push(message.clone());
        }
    }
    if requests.is_empty() {
        return Ok(Answer::Reply(Reply::new(202)));
    }
    let log = Log::new(shared.mcp.mint("stream"));
    session.keep(&log);
    start(shared, &session, &log, requests);
    Ok(Answer::Log { log, from: 0, form: own.unwrap_or(Form::Json), session: id })
}

/// Runs the requests of one POST, each by itself; its stream is done when they all are.
fn start(shared: &Arc<Shared>, session: &Arc<Session>, log: &Arc<Log>, requests: Vec<Value>) {
    let left = Arc::new(AtomicUsize::new(requests.len()));
    let mut running = session.running.lock().unwrap();
    while running.try_join_next().is_some() {}
    for request in requests {
        let (shared, session) = (Arc::clone(shared), Arc::clone(session));
        let (log, left) = (Arc::clone(log), Arc::clone(&left));
        running.spawn(async move {
            let mut response = match tools::run(&shared, &session, &log, &request).await {
                Ok(result) => json!({"jsonrpc": "2.0", "result": result}),
                Err(error) => json!({"jsonrpc": "2.0", "error": error}),
            };
            response["id"] = request["id"].clone();
            log.push(response);
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                log.finish();
            }
        });
    }
}
