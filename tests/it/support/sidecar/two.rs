//! One connection with HTTP/2 by prior knowledge, spoken by hyper.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, runtime::Runtime, time::timeout};

use crate::support::process::DEADLINE;

/// A connection to the sidecar.
pub struct Two {
    pub runtime: Runtime,
    sender: http2::SendRequest<Full<Bytes>>,
}

impl Two {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let io = TokioIo::new(stream);
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// What sends requests, for those that go side by side.
    pub fn sender(&self) -> http2::SendRequest<Full<Bytes>> {
        self.sender.clone()
    }

    /// The head of the answer; the body is still to come.
    #[track_caller]
    pub fn send(&self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let sent = self.sender().send_request(request);
        self.runtime.block_on(async { timeout(DEADLINE, sent).await }).expect("no answer")
    }

    /// The whole answer.
    #[track_caller]
    pub fn ask(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let (head, body) = self.send(request).unwrap().into_parts();
        let body = self.runtime.block_on(body.collect()).unwrap().to_bytes();
        Response::from_parts(head, body)
    }
}
