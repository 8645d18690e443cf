//! A SPIFFE agent on a socket of its own: the one call of the Workload API that the program makes,
//! answered with messages written by hand (SPIFFE Workload API, section 5.2), and again whenever
//! something is pushed.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::{body::Frame, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::UnixListener, runtime::Runtime, sync::watch};

use super::pki::{Authority, Identity, SPIFFE_ID};

/// A running agent; it ends when it is dropped.
pub struct Agent {
    socket: PathBuf,
    pushed: watch::Sender<Bytes>,
    _runtime: Runtime,
}

impl Agent {
    /// One whose socket is in `folder`, and which gives this SVID and these roots at first.
    pub fn start(folder: &Path, svid: &Identity, roots: &[&Authority]) -> Self {
        let socket = folder.join("agent.sock");
        let pushed = watch::Sender::new(answer(svid, roots));
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(async { UnixListener::bind(&socket).unwrap() });
        runtime.spawn(serve(listener, pushed.clone()));
        Self { socket, pushed, _runtime: runtime }
    }

    /// As `--spiffe` takes it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Gives these to everyone who listens, and to whoever asks from now on.
    pub fn push(&self, svid: &Identity, roots: &[&Authority]) {
        self.pushed.send_replace(answer(svid, roots));
    }
}

async fn serve(listener: UnixListener, pushed: watch::Sender<Bytes>) {
    while let Ok((stream, _)) = listener.accept().await {
        let pushed = pushed.clone();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            assert_eq!(request.uri().path(), "/SpiffeWorkloadAPI/FetchX509SVID");
            let mut current = pushed.subscribe();
            current.mark_changed();
            let frames = futures_util::stream::unfold(current, |mut current| async {
                current.changed().await.ok()?;
                let frame = Frame::data(current.borrow_and_update().clone());
                Some((Ok::<_, Infallible>(frame), current))
            });
            let response = http::Response::builder().header("content-type", "application/grpc");
            let response = response.body(StreamBody::new(frames)).unwrap();
            async { Ok::<_, Infallible>(response) }
        });
        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
    }
}

/// X509SVIDResponse with one SVID, framed as gRPC has it.
fn answer(svid: &Identity, roots: &[&Authority]) -> Bytes {
    let bundle: Vec<u8> = roots.iter().flat_map(|root| root.der().to_vec()).collect();
    let svid = [
        field(1, SPIFFE_ID.as_bytes()),
        field(2, &svid.cert_der()),
        field(3, svid.key_der().secret_der()),
        field(4, &bundle),
    ];
    let message = field(1, &svid.concat());
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

/// A field of protobuf that has a length.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = value.len();
    while length > 0x7f {
        field.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend_from_slice(value);
    field
}
