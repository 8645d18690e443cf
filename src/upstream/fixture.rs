//! Upstreams for the tests of this stage: real sockets, real TLS, certificates made in memory.
#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::{Settings, client, proxy, url::UpstreamUrl};
use crate::{
    failure::Failure,
    service::{HttpService, Request, Response},
    tls::{self, Http, Minimum, Tls, identity, roots},
};

pub(super) type Answer = http::Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A CA whose leaves are for `localhost` and 127.0.0.1.
pub(super) struct Ca {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self { pem: cert.pem(), der: cert.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn leaf(&self) -> (rcgen::Certificate, KeyPair) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server of this CA, which may demand client certificates of this CA.
    pub(super) fn server(&self, demands_identity: bool, alpn: &[&str]) -> Arc<ServerConfig> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if demands_identity {
            let mut roots = RootCertStore::empty();
            roots.add(self.der.clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (cert, key) = self.leaf();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![cert.der().clone()], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A generation that trusts this CA, with a client certificate of it or without.
    pub(super) async fn trusted(&self, with_identity: bool, http: Http) -> Arc<Tls> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let identity = with_identity.then(|| {
            let (cert, key) = self.leaf();
            let both = format!("{}{}", cert.pem(), key.serialize_pem());
            let file = identity::Source::File(write("client.pem", &both));
            identity::Settings::Pair(identity::Pair {
                cert: file.clone(),
                key: file,
                passphrase: None,
            })
        });
        let roots =
            roots::Settings { cacert: vec![write("ca.pem", &self.pem)], ..Default::default() };
        let settings = tls::Settings {
            identity,
            roots,
            pins: Vec::new(),
            server_name: None,
            server_id: None,
            spiffe: None,
            minimum: Minimum::Tls12,
            http,
        };
        Arc::new(tls::load(&settings).await.unwrap())
    }
}

/// A server for one test.
pub(super) struct Server {
    pub(super) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Gives each connection to `serve`, with its number from 1.
    pub(super) async fn raw<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, count.fetch_add(1, Ordering::SeqCst) + 1));
            }
        });
        Self { port, connections }
    }

    /// HTTP/1.1 and HTTP/2; `answer` gets each request and the number of its connection.
    pub(super) async fn http<F>(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(http::Request<Incoming>, usize) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::raw(move |stream, number| {
            let (tls, answer) = (tls.clone(), answer.clone());
            async move {
                match tls {
                    None => converse(stream, number, answer).await,
                    // A handshake that fails is what some tests are about.
                    Some(tls) => {
                        if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                            converse(stream, number, answer).await;
                        }
                    }
                }
            }
        })
        .await
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn url(&self, scheme: &str) -> UpstreamUrl {
        UpstreamUrl::parse(&format!("{scheme}://127.0.0.1:{}/mcp", self.port)).unwrap()
    }
}

async fn converse<S, F>(
    stream: S,
    number: usize,
    answer: impl Fn(http::Request<Incoming>, usize) -> F + Clone + Send + Sync + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer(request, number);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // The client may leave in the middle.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

pub(super) fn answer(text: impl Into<Bytes>) -> Answer {
    http::Response::new(Full::new(text.into()).boxed_unsync())
}

/// Reads the head of a request byte by byte, and nothing after it.
pub(super) async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Closes a connection so that the other side gets a reset.
pub(super) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

pub(super) fn settings(url: UpstreamUrl) -> Settings {
    Settings {
        url,
        proxy: proxy::Settings::default(),
        connect_timeout: Duration::from_secs(10),
        maximum_age: Duration::from_secs(300),
        upgrades: false,
    }
}

/// A client and the sender that rotates its TLS configuration.
pub(super) fn started(
    settings: &Settings,
    tls: Arc<Tls>,
) -> (HttpService, watch::Sender<Arc<Tls>>) {
    let (rotate, current) = watch::channel(tls);
    (client(settings, current).unwrap(), rotate)
}

pub(super) fn request(url: &UpstreamUrl) -> Request {
    let mut request = Request::new(Bytes::from_static(b"{}"));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = url.uri().clone();
    request
}

pub(super) async fn post(service: &HttpService, url: &UpstreamUrl) -> Result<Response, Failure> {
    service.clone().oneshot(request(url)).await
}

/// The whole body, as text.
pub(super) async fn text(response: Response) -> Result<String, Failure> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}
