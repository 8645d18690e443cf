//! The bytes under HTTP: TCP, or TLS over another stream (through a proxy, TLS over TLS).
//!
//! Reads and writes pass through. Added is one thing: what the other side says as it ends TLS is
//! heard and kept. With TLS 1.3 a server refuses a client certificate after the client is done, so
//! that refusal and request cross: a write may fail first, and HTTP/2 keeps an error's text alone.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// ALPN's name of HTTP/2 over TLS (RFC 9113, section 3.2).
pub(super) const H2: &[u8] = b"h2";

/// A connection, as far as it has come.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<Secured>),
}

pub(super) struct Secured {
    inner: TlsStream<Stream>,
    /// A write's error that is held back until the reader has said what it knows.
    failed: Option<io::Error>,
    last_words: LastWords,
}

/// What ended the TLS of a connection, once it has. It explains the errors of HTTP.
#[derive(Clone, Default)]
pub(super) struct LastWords(Arc<OnceLock<rustls::Error>>);

impl LastWords {
    pub(super) fn get(&self) -> Option<&rustls::Error> {
        self.0.get()
    }
}

impl Stream {
    /// The TLS handshake over this stream.
    pub(super) async fn secure(
        self,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let inner = TlsConnector::from(Arc::clone(config)).connect(name, self).await?;
        Ok(Self::Tls(Box::new(Secured { inner, failed: None, last_words: LastWords::default() })))
    }

    /// Where what ends its TLS will be heard.
    pub(super) fn last_words(&self) -> LastWords {
        match self {
            Self::Tcp(_) => LastWords::default(),
            Self::Tls(tls) => tls.last_words.clone(),
        }
    }

    /// Whether both sides agreed on HTTP/2.
    pub(super) fn is_h2(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Tls(tls) => tls.inner.get_ref().1.alpn_protocol() == Some(H2),
        }
    }
}

impl Secured {
    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &outcome
            && let Some(said) = rustls_error(error)
        {
            // The first is the one that counts.
            let _ = self.last_words.0.set(said.clone());
        }
        outcome
    }

    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(Pin<&mut TlsStream<Stream>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let failed = match self.failed.take() {
            Some(failed) => failed,
            None => match attempt(Pin::new(&mut self.inner), cx) {
                Poll::Ready(Err(error)) if is_closed_by_peer(&error) => error,
                outcome => return outcome,
            },
        };
        // The reset came after what was said before it, which the kernel still has. It may not
        // have told us yet that there is something to read: the connection is at its end, so
        // that it will.
        let mut unwanted = [0; 512];
        match self.read(cx, &mut ReadBuf::new(&mut unwanted)) {
            Poll::Pending => {
                self.failed = Some(failed);
                Poll::Pending
            }
            Poll::Ready(Err(said)) if rustls_error(&said).is_some() => Poll::Ready(Err(said)),
            Poll::Ready(_) => Poll::Ready(Err(failed)),
        }
    }
}

fn is_closed_by_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

/// What rustls said, where an error of the stream comes from it.
pub(super) fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => tls.read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => tls.write(cx, |inner, cx| inner.poll_write(cx, buf)),
        }
    }

    // Head and body of a request go out in one record and one system call.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => tls.write(cx, |inner, cx| inner.poll_write_vectored(cx, bufs)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.inner.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => tls.write(cx, |inner, cx| inner.poll_flush(cx)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(&mut tls.inner).poll_shutdown(cx),
        }
    }
}
