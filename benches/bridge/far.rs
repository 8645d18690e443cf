//! The network to a far upstream: bytes pass after a delay, in order and at any rate. Ends with
//! its stdin.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Instant,
};

use crate::{Outcome, pipe, table};

const READ: usize = 64 * 1024;

/// Relays to `port`, each direction `millis` late; its own port is the first line of stdout.
pub(crate) async fn run(port: &str, millis: &str) -> Outcome<()> {
    let (port, delay) = (port.parse()?, Duration::from_millis(millis.parse()?));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    table::say(&listener.local_addr()?.port().to_string());
    let accepting = async {
        loop {
            let (near, _) = listener.accept().await?;
            tokio::spawn(relay(near, port, delay));
        }
    };
    tokio::select! {
        failed = accepting => failed,
        () = pipe::released() => Ok(()),
    }
}

async fn relay(near: TcpStream, port: u16, delay: Duration) -> Outcome<()> {
    // Loopback accepts at once: what TCP's own handshake takes is added to the first bytes.
    let open = Instant::now() + 2 * delay;
    let far = TcpStream::connect(("127.0.0.1", port)).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::try_join!(
        carry(near_read, far_write, open, delay),
        carry(far_read, near_write, open, delay)
    )?;
    Ok(())
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    open: Instant,
    delay: Duration,
) -> Outcome<()> {
    let (sender, mut under_way) = mpsc::unbounded_channel::<(Instant, Bytes)>();
    let leaving = async move {
        loop {
            let mut bytes = BytesMut::with_capacity(READ);
            if from.read_buf(&mut bytes).await? == 0 {
                return Outcome::Ok(());
            }
            let _ = sender.send((Instant::now().max(open) + delay, bytes.freeze()));
        }
    };
    let arriving = async move {
        while let Some((due, bytes)) = under_way.recv().await {
            tokio::time::sleep_until(due).await;
            to.write_all(&bytes).await?;
        }
        to.shutdown().await?;
        Outcome::Ok(())
    };
    tokio::try_join!(leaving, arriving)?;
    Ok(())
}
