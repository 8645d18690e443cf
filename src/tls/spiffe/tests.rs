//! A Workload API on a real socket, whose answers are written by hand (SPIFFE Workload API,
//! section 5.2), and the client against it.
#![allow(clippy::unwrap_used)]

use std::{convert::Infallible, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::{body::Frame, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{PKCS_ECDSA_P256_SHA256, SanType};
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::*;
use crate::tls::{
    Settings as All, Tls, load,
    pki::{Ca, Folder, HOST, Leaf, server, settings, shake},
    reload,
};

const ID: &str = "spiffe://prod.example/agent";

/// An agent that says whatever was pushed last, and everything that is pushed from then on.
struct Fake {
    pushed: watch::Sender<Bytes>,
    serving: JoinHandle<()>,
}

impl Fake {
    fn start(socket: &Path, first: Bytes) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let pushed = watch::Sender::new(first);
        let source = pushed.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let source = source.clone();
                let service = service_fn(move |request: http::Request<_>| {
                    let _: &http::Request<hyper::body::Incoming> = &request;
                    assert_eq!(request.uri().path(), "/SpiffeWorkloadAPI/FetchX509SVID");
                    // Every client has to say that it is one, or it is none (section 4).
                    assert_eq!(request.headers()["workload.spiffe.io"], "true");
                    let mut current = source.subscribe();
                    current.mark_changed();
                    let frames = futures_util::stream::unfold(current, |mut current| async {
                        current.changed().await.ok()?;
                        let frame = Frame::data(current.borrow_and_update().clone());
                        Some((Ok::<_, Infallible>(frame), current))
                    });
                    let response = http::Response::builder()
                        .header("content-type", "application/grpc")
                        .body(StreamBody::new(frames));
                    async { Ok::<_, Infallible>(response.unwrap()) }
                });
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { pushed, serving }
    }

    fn push(&self, answer: Bytes) {
        self.pushed.send_replace(answer);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
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

/// X509SVIDResponse with one SVID, framed as gRPC has it.
fn answer(svid: &Leaf, ca: &Ca) -> Bytes {
    let svid = [
        field(1, ID.as_bytes()),
        field(2, &svid.der),
        field(3, &svid.key.serialize_der()),
        field(4, &ca.der),
    ];
    let message = field(1, &svid.concat());
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

fn svid(ca: &Ca) -> Leaf {
    ca.leaf_of(&PKCS_ECDSA_P256_SHA256, "svid", |params| {
        params.subject_alt_names = vec![SanType::URI(ID.try_into().unwrap())];
        params.is_ca = rcgen::IsCa::ExplicitNoCa;
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    })
}

fn authority() -> Ca {
    Ca::of("ca", |params| {
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params.subject_alt_names = vec![SanType::URI("spiffe://prod.example".try_into().unwrap())];
    })
}

fn from_agent(socket: &Path) -> All {
    All {
        spiffe: Some(Settings { endpoint: format!("unix://{}", socket.display()) }),
        identity: Some(identity()),
        ..settings(roots(crate::tls::roots::Settings::default()))
    }
}

#[tokio::test]
async fn identity_and_roots_come_from_the_agent_and_follow_what_it_pushes() {
    let (folder, ca) = (Folder::new(), authority());
    let socket = folder.path("agent.sock");
    let first = svid(&ca);
    let agent = Fake::start(&socket, answer(&first, &ca));
    let settings = from_agent(&socket);
    let tls = load(&settings).await.unwrap();
    let gateway = Arc::new(server(&ca.leaf(HOST), Some(&ca)));
    let presented = async |tls: &Tls| shake(tls, Arc::clone(&gateway)).await.unwrap().client;
    assert_eq!(presented(&tls).await, Some(first.der));

    let (_hangup, signals) = mpsc::channel(1);
    let (generations, future) = reload::start(settings, tls, signals);
    let mut current = generations.watch();
    let reloading = tokio::spawn(future.unwrap());
    current.mark_unchanged();
    let second = svid(&ca);
    agent.push(answer(&second, &ca));
    current.changed().await.unwrap();
    let tls = Arc::clone(&current.borrow_and_update());
    assert_eq!(presented(&tls).await, Some(second.der));
    assert_eq!(tls.identity.as_ref().unwrap().subject, "CN=svid");
    reloading.abort();
}

#[tokio::test]
async fn an_agent_that_is_away_is_told_with_its_socket() {
    let folder = Folder::new();
    let socket = folder.path("none.sock");
    tokio::time::pause();
    let failure = load(&from_agent(&socket)).await.unwrap_err();
    assert!(failure.what().contains("none.sock (--spiffe)"), "{failure}");
    assert!(failure.next_step().unwrap().contains("registration entry"));
}
