//! A WebSocket at any path, as RFC 6455 has its server.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, future::pending};
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::{
    io::AsyncWriteExt as _,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{Answer, Instead, Said, Shared, status};

pub(super) fn answer(shared: &Arc<Shared>, mut request: Request<Incoming>) -> Answer {
    let instead = shared.note(|record| record.take(|it| !matches!(it, Instead::RefusePost(_))));
    if let Some(Instead::Refuse(code, text)) = instead {
        return status(code, text);
    }
    let headers = request.headers();
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else { return status(426, "") };
    assert_eq!(headers["sec-websocket-version"], "13");
    assert_eq!(headers["sec-websocket-protocol"], "mcp");
    let accept = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.to_str().unwrap());
    let accept = BASE64_STANDARD.encode(Sha1::digest(accept));
    let protocol = match &instead {
        Some(Instead::Subprotocol(name)) => *name,
        _ => Some("mcp"),
    };
    let (shared, deaf) = (Arc::clone(shared), matches!(instead, Some(Instead::Deaf)));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let upgraded = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
        let (sayer, said) = unbounded_channel();
        let channel = shared.opened(sayer);
        if deaf {
            return pending().await;
        }
        carry(&shared, channel, socket, said).await;
        shared.closed(channel);
    });
    let mut response = Response::builder()
        .status(101)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", accept);
    if let Some(name) = protocol {
        response = response.header("sec-websocket-protocol", name);
    }
    let body = Empty::<Bytes>::new().map_err(|never| match never {});
    response.body(UnsyncBoxBody::new(body)).unwrap()
}

async fn carry(
    shared: &Shared,
    channel: usize,
    mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    mut said: UnboundedReceiver<Said>,
) {
    loop {
        tokio::select! {
            said = said.recv() => match said {
                Some(Said::Text(text)) => drop(socket.send(Message::text(text)).await),
                Some(Said::Slowly(text, pause)) => slowly(&mut socket, &text, pause).await,
                Some(Said::End) => drop(socket.close(None).await),
                Some(Said::Leave) => {
                    socket.send(Message::Close(None)).await.unwrap();
                    shared.closed(channel);
                    return pending().await;
                }
                Some(Said::Break) | None => return,
            },
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    shared.heard(channel, &serde_json::from_str(&text).unwrap());
                }
                Some(Ok(Message::Ping(_))) => shared.note(|record| record.pings += 1),
                Some(Ok(Message::Close(_))) => shared.note(|record| record.closes += 1),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

/// How many pieces a message is said in.
const PIECES: usize = 10;

/// One frame (RFC 6455, section 5.2) in pieces; nothing is read in between.
async fn slowly(
    socket: &mut WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    text: &str,
    pause: Duration,
) {
    let length = u16::try_from(text.len()).unwrap();
    assert!(length > 125, "shorter ones have another head");
    let frame = [&[0x81, 126][..], &length.to_be_bytes(), text.as_bytes()].concat();
    for piece in frame.chunks(frame.len().div_ceil(PIECES)) {
        tokio::time::sleep(pause).await;
        socket.get_mut().write_all(piece).await.unwrap();
        socket.get_mut().flush().await.unwrap();
    }
}
