//! The probe for images without a shell: asks a running sidecar whether it is ready.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::listener::Address;
use crate::failure::{Failure, Stage};

/// As long as the sidecar's own checks may take, and a little more.
const PATIENCE: Duration = Duration::from_secs(7);
/// Its reasons are shorter.
const ANSWER_AT_MOST: usize = 16 * 1024;

/// Asks `/readyz` of the sidecar whose `--admin` address this is.
///
/// # Errors
///
/// It is not ready, with its reasons, or not there.
pub async fn check(address: &Address) -> Result<(), Failure> {
    let asked = async {
        match address {
            Address::Tcp(socket) => ask(TcpStream::connect(socket).await?).await,
            Address::Unix(path) => ask(UnixStream::connect(path).await?).await,
            Address::Inherited(_) => Err("its socket is not ours".into()),
        }
    };
    let (ready, said) = match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => (false, format!("{address} does not answer: {error}")),
        Err(_) => (false, format!("{address} does not answer in time")),
    };
    if ready { Ok(()) } else { Err(Failure::new(Stage::Connect, format!("not ready: {said}"))) }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn ask<S>(stream: S) -> Result<(bool, String), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/readyz").header(header::HOST, "localhost");
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let ready = response.status().is_success();
    let body = Limited::new(response.into_body(), ANSWER_AT_MOST).collect().await?.to_bytes();
    connection.abort();
    let said = String::from_utf8_lossy(&body).replace(char::is_control, " ");
    Ok((ready, said.trim().to_owned()))
}
