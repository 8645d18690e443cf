//! A real MCP server over Streamable HTTP and HTTPS, on a loopback port of its own, in a runtime
//! of its own on one thread, which makes the order of what it does to a connection certain. It
//! records all it receives, does what the script says, and is gone when it is dropped.

mod connection;
mod exchange;
pub mod inquire;
mod mcp;
mod modern;
mod options;
mod seen;
mod socket;
mod stream;
mod tools;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustls::ServerConfig;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::oneshot,
    task::JoinHandle,
};

pub use self::{
    options::Options,
    seen::{DEADLINE, Seen},
};
use super::{
    pki::{Authority, Identity, Pki},
    script::{Fault, Rule, Script, Wire},
};

/// What the parts of the server share.
struct Shared {
    options: Options,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    recorder: seen::Recorder,
    script: Script,
    wires: connection::Wires,
    mcp: mcp::Mcp,
    modern: modern::Modern,
    /// Which era it speaks now.
    is_modern: AtomicBool,
}

impl Shared {
    fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.lock().unwrap().clone()
    }
}

enum Port {
    Open {
        stop: oneshot::Sender<()>,
        served: JoinHandle<()>,
    },
    /// Bound, so that no one else takes it, but not listening: connections are refused.
    Held(TcpSocket),
    Moving,
}

/// A running server.
pub struct Upstream {
    shared: Arc<Shared>,
    address: SocketAddr,
    port: Mutex<Port>,
    runtime: tokio::runtime::Handle,
    ending: Option<(oneshot::Sender<()>, thread::JoinHandle<()>)>,
}

impl Upstream {
    /// One that shows `pki.server` and demands a client of `pki.ca`, with all its defaults.
    pub fn mutual(pki: &Pki) -> Self {
        Self::options(pki).start()
    }

    /// The same, to be changed before it starts.
    pub fn options(pki: &Pki) -> Options {
        Options::new(pki)
    }

    fn start(options: Options) -> Self {
        let (handle, started) = mpsc::channel();
        let (ending, ended) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            handle.send(runtime.handle().clone()).unwrap();
            let _ = runtime.block_on(ended);
        });
        let socket = bound((options.address, 0).into());
        let address = socket.local_addr().unwrap();
        let shared = Shared {
            tls: Mutex::new(options.first_config()),
            is_modern: AtomicBool::new(options.modern),
            options,
            recorder: seen::Recorder::default(),
            script: Script::default(),
            wires: connection::Wires::default(),
            mcp: mcp::Mcp::default(),
            modern: modern::Modern::default(),
        };
        let upstream = Self {
            shared: Arc::new(shared),
            address,
            port: Mutex::new(Port::Held(socket)),
            runtime: started.recv().unwrap(),
            ending: Some((ending, thread)),
        };
        upstream.up();
        upstream
    }

    /// What it does where it is `modern`.
    pub fn modern(&self) -> &modern::Modern {
        &self.shared.modern
    }

    /// Its URL by address.
    pub fn url(&self) -> String {
        self.url_for(&self.address.ip().to_string())
    }

    /// Its URL by this host name.
    pub fn url_for(&self, host: &str) -> String {
        let scheme = if self.shared.tls().is_some() { "https" } else { "http" };
        let host = if host.contains(':') { format!("[{host}]") } else { host.into() };
        format!("{scheme}://{host}:{}/mcp", self.address.port())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    // What goes wrong.

    /// What happens to requests of this rule.
    pub fn script(&self, rule: Rule, fault: Fault) {
        self.shared.script.push(rule, fault);
    }

    /// Nothing of the script happens any more.
    pub fn clear_script(&self) {
        self.shared.script.clear();
    }

    /// What goes wrong below HTTP, once.
    pub fn wire(&self, wire: Wire) {
        self.shared.wires.push(wire);
    }

    /// Forgets all sessions; connections stay.
    pub fn forget_sessions(&self) {
        self.shared.mcp.forget_all();
    }

    /// Drops all connections, and waits until the news has reached the other ends; connections
    /// that follow are refused. Sessions are kept.
    pub fn down(&self) {
        let mut port = self.port.lock().unwrap();
        if let Port::Open { stop, served } = std::mem::replace(&mut *port, Port::Moving) {
            let _ = stop.send(());
            self.run(async move { served.await.unwrap() });
            wait_until_left(self.address.port());
            *port = Port::Held(bound(self.address));
        }
    }

    /// Listens again, on the same port.
    pub fn up(&self) {
        let mut port = self.port.lock().unwrap();
        if let Port::Held(socket) = std::mem::replace(&mut *port, Port::Moving) {
            let (stop, stopped) = oneshot::channel();
            let shared = Arc::clone(&self.shared);
            let listener: TcpListener = self.run(async move { socket.listen(1024).unwrap() });
            let served = self.runtime.spawn(connection::serve(listener, shared, stopped));
            *port = Port::Open { stop, served };
        }
    }

    /// Drops all connections and forgets all sessions, as a server that is started again.
    pub fn restart(&self) {
        self.down();
        self.forget_sessions();
        self.up();
    }

    /// Drops all connections; nothing else changes.
    pub fn drop_connections(&self) {
        self.down();
        self.up();
    }

    /// Starts again as a server of the other era, on the same port.
    pub fn replace(&self) {
        self.down();
        self.forget_sessions();
        self.shared.is_modern.fetch_xor(true, Ordering::Relaxed);
        self.up();
    }

    /// New connections see this certificate and must show one of this CA.
    pub fn rotate(&self, identity: &Identity, client_ca: &Authority) {
        let config = self.shared.options.server_config(identity, Some(&client_ca.der()));
        *self.shared.tls.lock().unwrap() = Some(config);
    }

    // What the server does by itself.

    /// Opens the gate that calls of `wait` and `progress` named; it stays open.
    pub fn release(&self, gate: &str) {
        self.shared.mcp.gates.send_if_modified(|open| open.insert(gate.into()));
    }

    /// Sends a notification on every session's GET stream; how many listened.
    pub fn notify(&self, method: &str, params: &Value) -> usize {
        let sessions = self.shared.mcp.sessions();
        sessions.values().filter(|session| session.say(method, params)).count()
    }

    /// Waits for a GET stream, sends a request on it, waits for the response.
    #[track_caller]
    pub fn ask(&self, method: &str, params: &Value) -> Value {
        self.wait_for_listener();
        let sessions = self.shared.mcp.sessions();
        let session = sessions.values().find(|session| session.listen.has_reader());
        let (sender, response) = mpsc::channel();
        let waiter = Box::new(move |response| drop(sender.send(response)));
        self.shared.mcp.ask(&session.unwrap().listen, method, params, waiter);
        response.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no response to {method}"))
    }

    /// The ids of the sessions that are known now.
    pub fn sessions(&self) -> Vec<String> {
        self.shared.mcp.sessions().into_keys().collect()
    }

    fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (sender, done) = mpsc::channel();
        self.runtime.spawn(async move { sender.send(work.await) });
        done.recv_timeout(DEADLINE).expect("the upstream's runtime is stuck")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some((ending, thread)) = self.ending.take() {
            let _ = ending.send(());
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the upstream's thread panicked");
        }
    }
}

/// Waits until no socket of this machine takes itself for connected to this port. The kernel of
/// a busy machine delivers the end of a connection later than a pipe delivers what a test writes
/// next, and a client can't know what has not arrived.
fn wait_until_left(port: u16) {
    let port = format!(":{port:04X}");
    let connected = |line: &str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|remote| remote.ends_with(&port)) && fields.next() == Some("01")
    };
    let until = Instant::now() + DEADLINE;
    while ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .any(|table| std::fs::read_to_string(table).unwrap_or_default().lines().any(connected))
    {
        assert!(Instant::now() < until, "a connection stays after its end");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A socket that holds a port without listening on it.
fn bound(address: SocketAddr) -> TcpSocket {
    let until = Instant::now() + DEADLINE;
    loop {
        let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() };
        let socket = socket.unwrap();
        socket.set_reuseaddr(true).unwrap();
        match socket.bind(address) {
            Ok(()) => return socket,
            // A program that another test is starting holds a copy of the listener before it
            // when it has been forked and not yet replaced.
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{address} can't be held: {error}"),
        }
    }
}
