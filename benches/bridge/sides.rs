//! The sides of a comparison, asked to do the same work.
//!
//! Direct is the call made from this process. The limit is that and what every bridge adds, the
//! same lines through pipes to a process and back, one after the other. The bridge is the program.

use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _, stream::FuturesUnordered};
use tokio::process::Command;

use crate::{
    Outcome,
    call::{Call, INITIALIZE, INITIALIZED},
    certificates::Certificates,
    https::Https,
    pipe::Pipe,
};

/// The version of HTTP on both sides.
#[derive(Clone, Copy)]
pub(crate) enum Http {
    One,
    Two,
}

impl Http {
    pub(crate) const BOTH: [Self; 2] = [Self::One, Self::Two];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "1.1",
            Self::Two => "2",
        }
    }

    /// As ALPN has it.
    pub(crate) fn protocol(self) -> &'static [u8] {
        match self {
            Self::One => b"http/1.1",
            Self::Two => b"h2",
        }
    }
}

/// One of them, with a session started.
#[expect(clippy::large_enum_variant, reason = "there are three of them")]
pub(crate) enum Side {
    Direct { https: Https },
    Limit { https: Https, pipe: Pipe },
    Bridge { pipe: Pipe, sent: u64 },
}

impl Side {
    /// The direct client.
    pub(crate) async fn direct(
        certificates: &Certificates,
        port: u16,
        http: Http,
    ) -> Outcome<Self> {
        Ok(Self::Direct { https: Https::start(certificates, port, http).await? })
    }

    /// The direct client and a process that answers lines.
    pub(crate) async fn limit(certificates: &Certificates, port: u16, http: Http) -> Outcome<Self> {
        let https = Https::start(certificates, port, http).await?;
        Ok(Self::Limit { https, pipe: Pipe::spawn(ourselves(&["answers"])?)? })
    }

    /// The program.
    pub(crate) async fn bridge(command: Command) -> Outcome<Self> {
        let mut pipe = Pipe::spawn(command)?;
        pipe.send(INITIALIZE.to_owned()).await?;
        pipe.response().await?;
        pipe.send(INITIALIZED.to_owned()).await?;
        Ok(Self::Bridge { pipe, sent: 0 })
    }

    /// One call, to its answer's last byte.
    pub(crate) async fn call(&mut self, call: Call) -> Outcome<()> {
        match self {
            Self::Direct { https } => https.call(call).await,
            Self::Limit { https, pipe } => {
                pipe.send(call.request(1)).await?;
                pipe.response().await?;
                https.call(call).await
            }
            Self::Bridge { pipe, sent } => {
                *sent += 1;
                pipe.send(call.request(*sent)).await?;
                pipe.response().await
            }
        }
    }

    /// `total` small calls, `width` of them in flight.
    pub(crate) async fn flood(&mut self, width: usize, total: usize) -> Outcome<()> {
        match self {
            Self::Direct { https } => flood_direct(https, width, total).await,
            Self::Limit { https, pipe } => flood_limit(https, pipe, width, total).await,
            Self::Bridge { pipe, sent } => flood_bridge(pipe, sent, width, total).await,
        }
    }

    /// The process id of what is at the other end of the pipe.
    pub(crate) fn id(&self) -> Outcome<u32> {
        match self {
            Self::Direct { .. } => Err("it has no process of its own".into()),
            Self::Limit { pipe, .. } | Self::Bridge { pipe, .. } => pipe.id(),
        }
    }

    /// Ends it as a client does.
    pub(crate) async fn close(self) -> Outcome<()> {
        match self {
            Self::Direct { .. } => Ok(()),
            Self::Limit { pipe, .. } | Self::Bridge { pipe, .. } => pipe.close().await,
        }
    }
}

async fn flood_direct(https: &Https, width: usize, total: usize) -> Outcome<()> {
    let calls = futures_util::stream::iter((0..total).map(|_| https.call(Call::SMALL)));
    calls.buffer_unordered(width).try_collect().await
}

async fn flood_limit(https: &Https, pipe: &mut Pipe, width: usize, total: usize) -> Outcome<()> {
    let mut posts = FuturesUnordered::new();
    let mut sent = width.min(total);
    for _ in 0..sent {
        pipe.send(Call::SMALL.request(1)).await?;
    }
    let mut done = 0;
    while done < total {
        tokio::select! {
            back = pipe.responses() => {
                posts.extend((0..back?).map(|_| https.call(Call::SMALL)));
            }
            Some(answered) = posts.next() => {
                answered?;
                done += 1;
                if sent < total {
                    sent += 1;
                    pipe.send(Call::SMALL.request(1)).await?;
                }
            }
        }
    }
    Ok(())
}

async fn flood_bridge(pipe: &mut Pipe, id: &mut u64, width: usize, total: usize) -> Outcome<()> {
    let mut sent = 0;
    let mut done = 0;
    while done < total {
        while sent < total && sent - done < width {
            *id += 1;
            pipe.send(Call::SMALL.request(*id)).await?;
            sent += 1;
        }
        done += pipe.responses().await?;
    }
    Ok(())
}

/// The program's command line.
pub(crate) fn command(
    program: &Path,
    certificates: &Certificates,
    port: u16,
    http: Http,
) -> Command {
    before(program, certificates, port, http, "/mcp")
}

/// The same, before the server that is at `path`.
pub(crate) fn before(
    program: &Path,
    certificates: &Certificates,
    port: u16,
    http: Http,
    path: &str,
) -> Command {
    let mut command = Command::new(program);
    let (certificate, key) = certificates.client();
    command.env_clear().arg("--cert").arg(certificate).arg("--key").arg(key);
    command.arg("--cacert").arg(certificates.ca()).args(["--http", http.name()]);
    command.arg(format!("https://localhost:{port}{path}"));
    command
}

/// This program in another of its parts.
pub(crate) fn ourselves(part: &[&str]) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(part);
    Ok(command)
}
