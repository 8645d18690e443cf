//! A tunnel through a proxy: a stream to the proxy becomes a stream to the upstream.
//!
//! The proxy learns the upstream's host and port and our login for the proxy, nothing else: the
//! client certificate and every other credential travel inside the tunnel.

use std::{
    convert::Infallible,
    future::{pending, ready},
    io,
    pin::pin,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::{client::conn::http1, upgrade};
use hyper_util::{client::legacy::connect::proxy::SocksV5, rt::TokioIo};
use rustls::{
    ClientConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    sign::CertifiedKey,
};
use tower::{Service as _, service_fn};

use super::{
    connector::{resolve, server_name},
    proxy::{Kind, Proxy},
    stream::{Stream, rustls_error},
    url::UpstreamUrl,
};
use crate::{
    failure::{Failure, Stage},
    tls::Tls,
};

impl Proxy {
    /// Asks the proxy at the other end of `stream` for a tunnel to `upstream`.
    pub(super) async fn tunnel(
        &self,
        stream: Stream,
        upstream: &UpstreamUrl,
        tls: &Tls,
    ) -> Result<Stream, Failure> {
        match self.kind {
            Kind::Http => self.connect(stream, upstream).await,
            Kind::Https => self.connect(self.secure(stream, tls).await?, upstream).await,
            Kind::Socks5 => {
                let addresses = resolve(upstream.host(), upstream.port()).await?;
                let target = addresses.first().map(ToString::to_string).unwrap_or_default();
                self.socks(stream, &target).await
            }
            Kind::Socks5h => self.socks(stream, &upstream.authority()).await,
        }
    }

    /// TLS to the proxy: with the same roots, and without telling it who we are.
    async fn secure(&self, stream: Stream, tls: &Tls) -> Result<Stream, Failure> {
        let mut config = ClientConfig::clone(&tls.config);
        config.client_auth_cert_resolver = Arc::new(Nobody);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        let name = server_name(&self.host)?;
        stream.secure(&Arc::new(config), name).await.map_err(|error| {
            let what = format!("no TLS with the proxy {self}");
            match rustls_error(&error) {
                Some(said) => {
                    let said = tls.explain(said, &self.host);
                    let failure = Failure::new(Stage::Tls, format!("{what}: {}", said.what()));
                    match said.next_step() {
                        Some(hint) => failure.hint(hint.to_owned()),
                        None => failure,
                    }
                }
                None => Failure::new(Stage::Tls, format!("{what}: {error}"))
                    .hint("does it speak TLS: most proxies are given as http://HOST:PORT"),
            }
        })
    }

    /// CONNECT (RFC 9110, section 9.3.6).
    async fn connect(&self, stream: Stream, upstream: &UpstreamUrl) -> Result<Stream, Failure> {
        let target = upstream.authority();
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = target.parse().map_err(|error| self.broke(error))?;
        let host = target.try_into().map_err(|error| self.broke(error))?;
        request.headers_mut().insert(header::HOST, host);
        if let Some(value) = self.authorization().await? {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, value);
        }

        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broke(error))?;
        let asked = async {
            let response = sender.send_request(request).await.map_err(|error| self.broke(error))?;
            self.judge(response.status(), upstream)?;
            upgrade::on(response).await.map_err(|error| self.broke(error))
        };
        // The connection moves the bytes; how it went is what `asked` says.
        let moved = async {
            let _ = connection.with_upgrades().await;
            pending::<Infallible>().await
        };
        let upgraded = match select(pin!(asked), pin!(moved)).await {
            Either::Left((upgraded, _)) => upgraded?,
            Either::Right((never, _)) => match never {},
        };
        let parts = upgraded
            .downcast::<TokioIo<Stream>>()
            .map_err(|_| self.broke("the tunnel is not the stream it was asked on"))?;
        if !parts.read_buf.is_empty() {
            // Neither TLS nor HTTP begins with the server: these bytes are the proxy's.
            return Err(self.broke("it sent data before the upstream could"));
        }
        Ok(parts.io.into_inner())
    }

    fn judge(&self, status: StatusCode, upstream: &UpstreamUrl) -> Result<(), Failure> {
        let failure = match status {
            status if status.is_success() => return Ok(()),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if self.has_login() => {
                failure(format!("the proxy {self} refused our user or password (407)"))
                    .hint("look at --proxy-user, or at the user in HTTPS_PROXY")
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                failure(format!("the proxy {self} demands a user and a password (407)"))
                    .hint("give them with --proxy-user USER:REFERENCE")
            }
            status => failure(format!(
                "the proxy {self} opened no tunnel to {}: it answered {status}",
                upstream.authority()
            ))
            .hint(match status {
                StatusCode::FORBIDDEN => "does the proxy allow this host and port",
                _ => "can the proxy reach it; NO_PROXY excepts a host from the proxy",
            }),
        };
        Err(failure)
    }

    /// SOCKS 5 (RFC 1928), with a user and a password (RFC 1929) where there are any.
    async fn socks(&self, stream: Stream, target: &str) -> Result<Stream, Failure> {
        let target: Uri = format!("tcp://{target}/").parse().map_err(|error| self.broke(error))?;
        let mut stream = Some(TokioIo::new(stream));
        let connected = service_fn(move |_: Uri| {
            ready(stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
        });
        let mut socks = SocksV5::new(Uri::default(), connected);
        if let Some((user, password)) = self.pair().await? {
            let password = std::str::from_utf8(password.expose()).map_err(|_| {
                Failure::new(Stage::Credential, "the password of --proxy-user is not UTF-8")
            })?;
            socks = socks.with_auth(user.to_owned(), password.to_owned());
        }
        let stream = socks.call(target).await.map_err(|error| {
            let hint = match self.has_login() {
                true => "look at --proxy-user, and whether the proxy can reach the upstream",
                false => "does it demand a user (--proxy-user), and can it reach the upstream",
            };
            failure(format!("the proxy {self} opened no tunnel: {error}")).hint(hint)
        })?;
        Ok(stream.into_inner())
    }

    fn broke(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        let error = error.into();
        failure(format!("the proxy {self} opened no tunnel: {error}"))
            .hint("is it a proxy, and of the kind that its URL says: http, https or socks5h")
            .caused_by(error)
    }
}

fn failure(what: String) -> Failure {
    Failure::new(Stage::Connect, what)
}

/// The identity that a proxy sees.
#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
