//! An MCP server behind one channel over TLS with client certificates: HTTP+SSE of 2024-11-05, or a
//! WebSocket. It records every request's head and every message, answers tools of its own, and says and
//! breaks what a test tells it to. In a runtime of its own, and gone when it is dropped.
//!
//! Tools: `echo`, `hold` (no answer), `ask` (a question of the server's, whose answer is the result),
//! `progress`, `big{bytes}`.

mod http_sse;
mod mcp;
mod websocket;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Condvar, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier};
use serde_json::Value;
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{
    pki::Pki,
    process::{Countersign, DEADLINE},
};

/// A response of the server.
type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;
/// What is said on a channel.
type Sayer = tokio::sync::mpsc::UnboundedSender<Said>;

/// What is said on a channel, or done to it.
#[derive(Clone, Debug)]
pub enum Said {
    /// A message, or any text.
    Text(String),
    /// The same over a WebSocket, a piece at a time, with so long before each.
    Slowly(String, Duration),
    /// The channel ends as it should.
    End,
    /// The WebSocket is closed, and its connection left as it is.
    Leave,
    /// The connection under it breaks.
    Break,
}

/// What is done once in place of what should be.
#[derive(Clone, Debug)]
pub enum Instead {
    /// The channel is refused with this status and body.
    Refuse(u16, &'static str),
    /// The stream names this endpoint.
    Endpoint(String),
    /// The stream names none.
    NoEndpoint,
    /// The handshake names this subprotocol, or none.
    Subprotocol(Option<&'static str>),
    /// Nothing is read or answered on the WebSocket, pings included.
    Deaf,
    /// The next message that is posted is refused with this status, unread.
    RefusePost(u16),
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Head {
    pub method: String,
    pub target: String,
    pub headers: http::HeaderMap,
    pub client: Option<String>,
    pub version: http::Version,
}

/// What has happened so far.
#[derive(Default)]
pub struct Record {
    pub heads: Vec<Head>,
    /// Each message, with the number of its channel.
    pub messages: Vec<(usize, Value)>,
    /// All channels so far; none in the place of one that is gone.
    channels: Vec<Option<Sayer>>,
    instead: Vec<Instead>,
    pings: usize,
    closes: usize,
}

impl Record {
    /// Takes the first of these things to be done once.
    fn take(&mut self, is: impl Fn(&Instead) -> bool) -> Option<Instead> {
        let at = self.instead.iter().position(is)?;
        Some(self.instead.remove(at))
    }
}

struct Shared {
    websocket: bool,
    record: Mutex<Record>,
    changed: Condvar,
}

impl Shared {
    fn note<T>(&self, write: impl FnOnce(&mut Record) -> T) -> T {
        let written = write(&mut self.record.lock().unwrap());
        self.changed.notify_all();
        written
    }

    /// Counts a channel; its number.
    fn opened(&self, sayer: Sayer) -> usize {
        self.note(|record| {
            record.channels.push(Some(sayer));
            record.channels.len() - 1
        })
    }

    fn closed(&self, channel: usize) {
        self.note(|record| record.channels[channel] = None);
    }

    /// Takes in a message; its answers go out on the channel.
    fn heard(&self, channel: usize, message: &Value) {
        self.note(|record| {
            record.messages.push((channel, message.clone()));
            let Some(Some(sayer)) = record.channels.get(channel) else { return };
            for answer in mcp::answers(message) {
                let _ = sayer.send(Said::Text(answer.to_string()));
            }
        });
    }
}

/// A running server.
pub struct Duplex {
    address: SocketAddr,
    shared: Arc<Shared>,
    ending: Option<(oneshot::Sender<()>, thread::JoinHandle<()>)>,
}

impl Duplex {
    /// HTTP+SSE; its stream is at `/sse`, which takes no POST.
    pub fn http_sse(pki: &Pki) -> Self {
        Self::start(pki, false)
    }

    /// A WebSocket at `/mcp`.
    pub fn websocket(pki: &Pki) -> Self {
        Self::start(pki, true)
    }

    fn start(pki: &Pki, websocket: bool) -> Self {
        let (record, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { websocket, record, changed });
        let (started, address) = mpsc::channel();
        let (ending, ended) = oneshot::channel::<()>();
        let (serving, tls) = (Arc::clone(&shared), TlsAcceptor::from(config(pki)));
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                started.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    _ = ended => {}
                    () = serve(listener, tls, serving) => {}
                }
            });
        });
        Self { address: address.recv().unwrap(), shared, ending: Some((ending, thread)) }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let (scheme, path) = if self.shared.websocket { ("wss", "mcp") } else { ("https", "sse") };
        format!("{scheme}://127.0.0.1:{}/{path}", self.address.port())
    }

    /// `https://host:port`, or with `wss`.
    pub fn origin(&self) -> String {
        let url = self.url();
        url[..url.rfind('/').unwrap()].to_owned()
    }

    /// The bridge to it as `pki.client`.
    pub fn bridge(&self, pki: &Pki) -> Countersign {
        Countersign::to(&self.url()).identity(&pki.client).cacert(&pki.ca)
    }

    /// Does this once.
    pub fn instead(&self, instead: Instead) {
        self.shared.note(|record| record.instead.push(instead));
    }

    /// Says this on the newest channel.
    pub fn say(&self, said: Said) {
        self.wait("a channel", |record| {
            let sayer = record.channels.last()?.as_ref()?;
            sayer.send(said.clone()).ok()
        });
    }

    /// Says this message on the newest channel.
    pub fn say_json(&self, message: &Value) {
        self.say(Said::Text(message.to_string()));
    }

    /// Ends the newest channel in this way, and forgets it.
    pub fn lose(&self, said: Said) {
        let channels = self.channels();
        self.say(said);
        self.wait("the end of the channel", |record| {
            (record.channels.len() > channels || record.channels.last()?.is_none()).then_some(())
        });
    }

    /// How many channels there were.
    pub fn channels(&self) -> usize {
        self.shared.record.lock().unwrap().channels.len()
    }

    /// Waits until there were so many channels.
    #[track_caller]
    pub fn wait_for_channels(&self, channels: usize) {
        self.wait("channels", |record| (record.channels.len() >= channels).then_some(()));
    }

    /// The heads of all requests.
    pub fn heads(&self) -> Vec<Head> {
        self.shared.record.lock().unwrap().heads.clone()
    }

    /// All messages of this method, each with the number of its channel.
    pub fn messages(&self, method: &str) -> Vec<(usize, Value)> {
        let messages = self.shared.record.lock().unwrap().messages.clone();
        messages.into_iter().filter(|(_, message)| message["method"] == method).collect()
    }

    /// Waits for a message.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, |record| {
            record.messages.iter().map(|(_, message)| message).find(|message| is(message)).cloned()
        })
    }

    /// Waits for a call of this tool.
    #[track_caller]
    pub fn wait_for_call(&self, tool: &str) -> Value {
        self.wait_for(tool, |message| message["params"]["name"] == tool)
    }

    /// Waits for pings of the client's.
    #[track_caller]
    pub fn wait_for_pings(&self, pings: usize) {
        self.wait("pings", |record| (record.pings >= pings).then_some(()));
    }

    /// How many WebSockets were closed by the client, with a closing handshake.
    #[track_caller]
    pub fn wait_for_closes(&self, closes: usize) {
        self.wait("closes", |record| (record.closes >= closes).then_some(()));
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, mut look: impl FnMut(&Record) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        let mut record = self.shared.record.lock().unwrap();
        loop {
            if let Some(found) = look(&record) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "no {what} came: {:?}", record.messages);
            record = self.shared.changed.wait_timeout(record, left).unwrap().0;
        }
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        if let Some((ending, thread)) = self.ending.take() {
            let _ = ending.send(());
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the server's thread panicked");
        }
    }
}

fn config(pki: &Pki) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(pki.ca.der()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![pki.server.cert_der()], pki.server.key_der())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((tcp, _)) = listener.accept().await else { return };
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            tcp.set_nodelay(true).unwrap();
            let Ok(stream) = tls.accept(tcp).await else { return };
            let client = stream.get_ref().1.peer_certificates().map(|chain| {
                let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
                parsed.subject().to_string()
            });
            let service = service_fn(move |request| {
                let (shared, client) = (Arc::clone(&shared), client.clone());
                async move { Ok::<_, std::io::Error>(answer(&shared, client, request).await) }
            });
            let http = auto::Builder::new(TokioExecutor::new());
            // How a connection ended is the client's to tell.
            drop(http.serve_connection_with_upgrades(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(
    shared: &Arc<Shared>,
    client: Option<String>,
    request: Request<Incoming>,
) -> Answer {
    let head = Head {
        method: request.method().to_string(),
        target: request.uri().path_and_query().unwrap().to_string(),
        headers: request.headers().clone(),
        client,
        version: request.version(),
    };
    shared.note(|record| record.heads.push(head));
    match shared.websocket {
        true => websocket::answer(shared, request),
        false => http_sse::answer(shared, request).await,
    }
}

/// A status with a text.
fn status(status: u16, text: impl Into<Bytes>) -> Answer {
    use http_body_util::{BodyExt as _, Full};
    let body = Full::new(text.into());
    let body = UnsyncBoxBody::new(body.map_err(|never| match never {}));
    Response::builder().status(status).body(body).unwrap()
}
