//! The tour's MCP client, and the bridge that it starts.
//!
//! The two are joined by a socket pair, as by hosts that run on Node. Nothing waits for ever.

use std::{os::unix::net::UnixStream as Pair, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

use super::{
    super::{Demo, Flags, broken},
    wrong,
};
use crate::{
    bridge,
    failure::Failure,
    stdio::{Input, Output},
};

/// Far more than any step takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// One end of the socket pair; the bridge has the other. Dropped, it is a client that exits.
pub(super) struct Client {
    lines: Lines<BufReader<OwnedReadHalf>>,
    stdin: OwnedWriteHalf,
}

/// Starts a bridge with these flags and its client.
pub(super) async fn start(demo: &Demo, flags: &Flags) -> Result<(Client, JoinHandle<()>), Failure> {
    let (settings, service) = demo.bridge(flags).await?;
    let (streams, client) = pair().map_err(broken("a socket pair"))?;
    // It ends when its client leaves, and for no other reason.
    let stop = std::future::pending::<()>();
    let bridge = tokio::spawn(bridge::run(settings, service, streams, stop));
    Ok((client, bridge))
}

fn pair() -> std::io::Result<((Input, Output), Client)> {
    let (ours, theirs) = Pair::pair()?;
    let output = Output::socket(theirs.try_clone()?.into())?;
    let input = Input::of(theirs.into())?;
    ours.set_nonblocking(true)?;
    let (stdout, stdin) = UnixStream::from_std(ours)?.into_split();
    Ok(((input, output), Client { lines: BufReader::new(stdout).lines(), stdin }))
}

impl Client {
    /// Writes one message.
    pub(super) async fn say(&mut self, line: &str) -> Result<(), Failure> {
        let line = format!("{line}\n");
        let written = within("room for a message", self.stdin.write_all(line.as_bytes())).await?;
        written.map_err(broken("a message to the bridge"))
    }

    /// Waits for one message.
    pub(super) async fn hear(&mut self) -> Result<String, Failure> {
        let line = within("an answer of the bridge", self.lines.next_line()).await?;
        let line = line.map_err(broken("an answer of the bridge"))?;
        line.ok_or_else(|| wrong("the bridge hung up"))
    }
}

/// What `future` gives, in time.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, Failure> {
    let given = tokio::time::timeout(PATIENCE, future).await;
    given.map_err(|_| wrong(&format!("waited for {what} for {} s", PATIENCE.as_secs())))
}
