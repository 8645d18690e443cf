//! WebSockets of the upstream, spoken by tungstenite: the handshake's answer, and what goes on in one.

use std::io;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::{Seen, connection::Peer};
use crate::support::script::{Reply, Socket};

/// One that was agreed on.
pub struct Opened {
    upgrade: OnUpgrade,
    socket: Socket,
}

impl Peer {
    /// The answer that opens it; what follows goes on when the answer is out.
    pub fn open(&self, seen: &Seen, upgrade: OnUpgrade, socket: Socket) -> Reply {
        *self.socket.lock().unwrap() = Some(Opened { upgrade, socket });
        let key = seen.header("sec-websocket-key").unwrap_or_default();
        Reply::new(101)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", &derive_accept_key(key.as_bytes()))
    }
}

impl Opened {
    /// Returns when either side has ended it.
    pub async fn run(self) {
        let Ok(upgraded) = self.upgrade.await else { return };
        let stream = TokioIo::new(upgraded);
        // How it ended is for the test to tell: half of them break it on purpose.
        let _ = match self.socket {
            Socket::Echo => return echo(stream).await,
            Socket::Bytes => bytes(stream).await,
            Socket::Speak(count) => speak(stream, count).await,
            Socket::Leave => leave(stream).await,
            Socket::Hold => std::future::pending().await,
        };
    }
}

async fn echo(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        // A close is answered by the library.
        if !message.is_close() && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn bytes(stream: impl AsyncRead + AsyncWrite) -> io::Result<()> {
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await?;
    to.write_all(b" and an end").await?;
    to.shutdown().await
}

async fn speak(mut stream: impl AsyncRead + AsyncWrite + Unpin, count: usize) -> io::Result<()> {
    stream.write_all(&vec![b'x'; count]).await?;
    stream.flush().await?;
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

async fn leave(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.read_u8().await?;
    stream.shutdown().await
}
