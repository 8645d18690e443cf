//! Connections: accepted, secured, handed to hyper. `Line` stands between hyper and TLS and does
//! to the bytes what no HTTP server would: ends the connection in a chosen way after what was
//! written has left, writes what is not HTTP, resets what was not read, dribbles.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time::Sleep,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Shared, exchange, socket};
use crate::support::script::{Ending, Wire};

/// Accepts until told to stop; then every connection is dropped before this returns.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stop: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stop => break,
            accepted = listener.accept() => if let Ok((tcp, _)) = accepted {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let number = shared.recorder.connected();
                    let open = Open { number, shared: Arc::clone(&shared) };
                    connection(tcp, number, &shared).await;
                    drop(open);
                });
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Marks its connection as closed when it is dropped, however that comes.
struct Open {
    number: usize,
    shared: Arc<Shared>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.recorder.note(|record| record.connections[self.number].open = false);
    }
}

async fn connection(mut tcp: TcpStream, number: usize, shared: &Arc<Shared>) {
    match shared.wires.take(|wire| wire != Wire::ResetUnread) {
        Some(Wire::ResetAccepted) => return tcp.set_zero_linger().unwrap(),
        Some(_) => return drop(tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await),
        None => {}
    }
    tcp.set_nodelay(true).unwrap();
    let Some(config) = shared.tls() else {
        return http(Transport::Plain(tcp), number, None, false, shared).await;
    };
    match TlsAcceptor::from(config).accept(tcp).into_fallible().await {
        Ok(tls) => {
            let session = tls.get_ref().1;
            let client = session.peer_certificates().and_then(|chain| chain.first());
            let client = client.map(|certificate| subject(certificate));
            let alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into());
            let version = session.protocol_version().map(|version| format!("{version:?}"));
            let two = alpn.as_deref() == Some("h2");
            shared.recorder.note(|record| {
                let connection = &mut record.connections[number];
                (connection.alpn, connection.tls) = (alpn, version);
                connection.client.clone_from(&client);
            });
            http(Transport::Tls(Box::new(tls)), number, client, two, shared).await;
        }
        Err((error, mut tcp)) => {
            shared.recorder.note(|record| {
                record.connections[number].refused = Some(error.to_string());
            });
            if shared.options.refuse_abruptly {
                return;
            }
            // Closing on unread bytes would send RST, which may overtake the alert.
            let _ = tcp.shutdown().await;
            let rest = async { while matches!(tcp.read(&mut [0; 4096]).await, Ok(1..)) {} };
            let _ = tokio::time::timeout(Duration::from_secs(5), rest).await;
        }
    }
}

fn subject(certificate: &[u8]) -> String {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).unwrap();
    parsed.subject().to_string()
}

/// Who is at the other end of a connection, and the control over its line.
pub struct Peer {
    pub connection: usize,
    pub client: Option<String>,
    pub control: Arc<Control>,
    /// What the connection is after HTTP.
    pub socket: Mutex<Option<socket::Opened>>,
}

async fn http(
    transport: Transport,
    connection: usize,
    client: Option<String>,
    two: bool,
    shared: &Arc<Shared>,
) {
    let control = Arc::new(Control::default());
    let line =
        Line { transport, control: Arc::clone(&control), shared: Arc::clone(shared), pause: None };
    let peer = Arc::new(Peer { connection, client, control, socket: Mutex::default() });
    let (shared, answering) = (Arc::clone(shared), Arc::clone(&peer));
    let service = service_fn(move |request| {
        exchange::answer(Arc::clone(&shared), Arc::clone(&answering), request)
    });
    let io = TokioIo::new(line);
    let ended = if two {
        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http.serve_connection(io, service).await
    } else {
        let http = hyper::server::conn::http1::Builder::new();
        http.serve_connection(io, service).with_upgrades().await
    };
    // How a connection ended is the client's to tell: half the tests break them on purpose.
    drop(ended);
    let opened = peer.socket.lock().unwrap().take();
    if let Some(opened) = opened {
        opened.run().await;
    }
}

/// What is still to go wrong below HTTP.
#[derive(Default)]
pub struct Wires(Mutex<VecDeque<Wire>>);

impl Wires {
    pub fn push(&self, wire: Wire) {
        self.0.lock().unwrap().push_back(wire);
    }

    fn take(&self, kind: impl Fn(Wire) -> bool) -> Option<Wire> {
        let mut wires = self.0.lock().unwrap();
        let at = wires.iter().position(|&wire| kind(wire))?;
        wires.remove(at)
    }
}

/// What is to be done to a connection, set while a request of it is served.
#[derive(Default)]
pub struct Control {
    order: Mutex<Order>,
}

#[derive(Default)]
struct Order {
    part: Option<(Bytes, Ending)>,
    slow: usize,
    pause: Duration,
    waker: Option<Waker>,
}

impl Control {
    /// Sends what was written, then these bytes; then ends the connection.
    pub fn part(&self, last: Bytes, ending: Ending) {
        let mut order = self.order.lock().unwrap();
        if order.part.is_none() {
            order.part = Some((last, ending));
            if let Some(waker) = order.waker.take() {
                waker.wake();
            }
        }
    }

    /// Whether the connection was told to end.
    pub fn parting(&self) -> bool {
        self.order.lock().unwrap().part.is_some()
    }

    /// The next so many bytes leave one by one.
    pub fn slow(&self, bytes: usize, pause: Duration) {
        let mut order = self.order.lock().unwrap();
        (order.slow, order.pause) = (bytes, pause);
    }
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_mut().0,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    /// With TLS, `close_notify` first.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// One connection as hyper reads and writes it.
struct Line {
    transport: Transport,
    control: Arc<Control>,
    shared: Arc<Shared>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Line {
    /// Ends the connection as ordered; what hyper wrote has been flushed.
    fn poll_part(&mut self, cx: &mut Context<'_>, ending: Ending) -> Poll<io::Result<()>> {
        loop {
            let mut last = match &self.control.order.lock().unwrap().part {
                Some((last, _)) if last.has_remaining() => last.clone(),
                _ => break,
            };
            let written = ready!(self.transport.poll_write(cx, &last))?;
            last.advance(written);
            self.control.order.lock().unwrap().part = Some((last, ending));
        }
        ready!(self.transport.poll_flush(cx))?;
        match ending {
            Ending::CloseNotify => ready!(self.transport.poll_shutdown(cx))?,
            Ending::NoNotify => ready!(Pin::new(self.transport.tcp()).poll_shutdown(cx))?,
            Ending::Reset => self.transport.tcp().set_zero_linger()?,
        }
        // hyper drops a connection that can't be flushed, and the socket with it.
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.control.order.lock().unwrap().waker = Some(cx.waker().clone());
        let before = buffer.filled().len();
        let read = match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Transport::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        };
        let some = read.is_ready() && buffer.filled().len() > before;
        if some && self.shared.wires.take(|wire| wire == Wire::ResetUnread).is_some() {
            self.transport.tcp().set_zero_linger()?;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (slow, length) = {
            let order = self.control.order.lock().unwrap();
            (order.slow > 0, order.pause)
        };
        if !slow {
            return self.transport.poll_write(cx, bytes);
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(length)));
        ready!(pause.as_mut().poll(cx));
        let written = ready!(self.transport.poll_write(cx, &bytes[..1]))?;
        self.pause = None;
        self.control.order.lock().unwrap().slow -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.transport.poll_flush(cx))?;
        let part = self.control.order.lock().unwrap().part.as_ref().map(|(_, ending)| *ending);
        match part {
            Some(ending) => self.poll_part(cx, ending),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(cx)
    }
}
