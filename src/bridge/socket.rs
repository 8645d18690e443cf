//! One WebSocket (RFC 6455): its handshake a request like any other, with the same credentials; then
//! one message a text frame, both ways.
//!
//! Sees to it that a peer that vanished is noticed, and that a slow one holds the client back. What a
//! message means is the machine's to say; nothing is sent again here.

mod handshake;
mod heard;
mod outbox;

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt as _, SinkExt as _, StreamExt as _,
    future::pending,
    stream::{SplitSink, SplitStream},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message as Frame, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use self::heard::{Ear, Listening};
pub(super) use self::outbox::Outbox;
use super::exchange::{self, Wire};
use crate::{
    failure::{Failure, Stage},
    mcp::{
        exchange::{End, Event, ExchangeId},
        message::Message,
    },
    service::Outlived,
};

/// A peer that was silent for so long is asked for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(30);
/// Pings that may go unanswered before it is taken for dead.
const UNANSWERED: u32 = 2;
/// Most messages are small, and there is one connection.
const BUFFER: usize = 16 << 10;

type Socket = WebSocketStream<Listening<TokioIo<Upgraded>>>;

/// Opens a WebSocket, and carries messages on it to its end.
pub(super) async fn run(
    wire: &Wire,
    on: &(dyn Fn(Event) + Send + Sync),
    id: ExchangeId,
    outbox: &Outbox,
) -> End {
    let _ending = outbox.ending();
    let (upgraded, outlived) = match open(wire).await {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    let upgraded = match upgraded.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => return wire.broken(format!("broke off after the handshake: {error}")),
    };
    let ear = Ear::default();
    let heard = Listening::new(upgraded, ear.clone());
    let socket = Socket::from_raw_socket(heard, Role::Client, Some(config(wire))).await;
    on(Event::Head(id, None));
    let (sink, stream) = socket.split();
    let silence = Notify::new();
    let reader = Reader { wire, on, id, stream, ear, silence: &silence };
    tokio::select! {
        end = reader.read() => end,
        never = write(sink, outbox, &silence) => match never {},
        failure = outlived => End::Broken(failure),
    }
}

/// The handshake.
async fn open(
    wire: &Wire,
) -> Result<(OnUpgrade, impl Future<Output = Failure> + Send + use<>), End> {
    let (request, key) = handshake::request(&wire.settings.uri).map_err(End::Broken)?;
    let response = exchange::answer(wire, request, Some(wire.settings.idle_timeout)).await?;
    let (mut head, body) = response.into_parts();
    if !handshake::agreed(&head, &key) {
        return Err(exchange::refusal(head, body).await);
    }
    let outlived = head.extensions.remove::<Outlived>();
    let outlived = async move {
        match outlived {
            Some(outlived) => outlived.0().await,
            None => pending().await,
        }
    };
    match head.extensions.remove::<OnUpgrade>() {
        Some(upgrade) => Ok((upgrade, outlived)),
        None => Err(wire.broken("kept no connection after the handshake")),
    }
}

fn config(wire: &Wire) -> WebSocketConfig {
    let limit = Some(wire.settings.max_message);
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_message_size(limit)
        .max_frame_size(limit)
}

impl Wire {
    fn broken(&self, what: impl AsRef<str>) -> End {
        let what = format!("{} {}", self.settings.upstream, what.as_ref());
        End::Broken(Failure::new(Stage::Response, what))
    }
}

/// Sends what the outbox is given, and pings when it was silent on the other side. Waits for ever once
/// it has closed or failed: how it ended is read.
async fn write(
    mut sink: SplitSink<Socket, Frame>,
    outbox: &Outbox,
    silence: &Notify,
) -> Infallible {
    loop {
        let frame = tokio::select! {
            () = silence.notified() => Frame::Ping(bytes::Bytes::new()),
            body = outbox.next() => match body.map(Utf8Bytes::try_from) {
                Some(Ok(text)) => Frame::Text(text),
                // Messages are text: they were parsed.
                Some(Err(_)) => continue,
                None => Frame::Close(None),
            },
        };
        let last = frame.is_close();
        if let Err(error) = sink.send(frame).await {
            tracing::debug!(%error, "a WebSocket takes nothing any more");
            return pending().await;
        }
        if last {
            return pending().await;
        }
    }
}

/// Follows what comes.
struct Reader<'a> {
    wire: &'a Wire,
    on: &'a (dyn Fn(Event) + Send + Sync),
    id: ExchangeId,
    stream: SplitStream<Socket>,
    ear: Ear,
    silence: &'a Notify,
}

impl Reader<'_> {
    async fn read(mut self) -> End {
        let patience = PING_AFTER.min(self.wire.settings.idle_timeout / (UNANSWERED + 1));
        let (mut unanswered, mut noticed) = (0, None);
        loop {
            self.wire.outlet.room().await;
            let next = tokio::time::timeout(patience, self.stream.next()).await;
            // Within a frame no pong can come, only more of it.
            let heard = self.ear.heard();
            unanswered = match next {
                Ok(_) => 0,
                Err(_) if heard => 0,
                Err(_) if unanswered == UNANSWERED => return self.dead(patience),
                Err(_) => {
                    self.silence.notify_one();
                    unanswered + 1
                }
            };
            match next {
                Err(_) => {}
                Ok(Some(Ok(Frame::Text(text)))) => self.deliver(text, &mut noticed).await,
                Ok(Some(Ok(Frame::Binary(_)))) => {
                    tracing::warn!("a binary frame is skipped: MCP messages are text");
                }
                Ok(Some(Ok(Frame::Close(frame)))) => {
                    // Nothing can be sent any more, so that nothing waits for the connection's end, which
                    // may never come. One look at it sends the reply (RFC 6455, section 5.5.1).
                    let _ = self.stream.next().now_or_never();
                    return self.closed(frame);
                }
                Ok(Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_)))) => {}
                Ok(None | Some(Err(Error::ConnectionClosed))) => return self.closed(None),
                Ok(Some(Err(error))) => return self.broke(&error),
            }
        }
    }

    async fn deliver(&self, text: Utf8Bytes, noticed: &mut Option<Instant>) {
        match Message::parse(text.into()) {
            Ok(message) => {
                exchange::report(self.wire, self.on, (self.id, message), noticed).await;
            }
            // Something of a gateway's; the answer may be in the next frame.
            Err(error) => tracing::warn!(%error, "a frame that is no MCP message is skipped"),
        }
    }

    fn dead(&self, patience: Duration) -> End {
        let silent = humantime::format_duration(patience * (UNANSWERED + 1));
        self.wire.broken(format!(
            "was silent for {silent} on its WebSocket, and answered {UNANSWERED} pings with nothing"
        ))
    }

    /// The reason that may come with the code is the upstream's own words, and not told.
    fn closed(&self, frame: Option<CloseFrame>) -> End {
        match frame {
            Some(frame) => {
                let code = u16::from(frame.code);
                self.wire.broken(format!("closed the WebSocket (code {code})"))
            }
            None => self.wire.broken("closed the WebSocket"),
        }
    }

    fn broke(&self, error: &Error) -> End {
        match error {
            Error::Capacity(_) => {
                let limit = self.wire.settings.max_message;
                let upstream = &self.wire.settings.upstream;
                let what = format!("{upstream} sent a message of more than {limit} bytes");
                let failure = Failure::new(Stage::Protocol, what);
                End::Broken(failure.hint("raise --max-message to let it pass"))
            }
            Error::Io(error) => {
                self.wire.broken(format!("broke off its WebSocket: {}", error.kind()))
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                self.wire.broken("broke off its WebSocket")
            }
            error => self.wire.broken(format!("does not keep to RFC 6455: {error}")),
        }
    }
}
