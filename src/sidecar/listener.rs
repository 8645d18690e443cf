//! Where callers come in: loopback and other TCP addresses, Unix sockets, and sockets that a service
//! manager opened before us.
//!
//! A Unix socket is there for its owner alone unless a mode says otherwise. One that nobody listens
//! on any more is replaced; one that somebody does is left to them.

use std::{
    fmt, fs,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};

use super::{
    keepalive,
    peer::{From, Peer},
};
use crate::{
    failure::{Failure, Stage},
    tls::inbound::Current,
};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
    /// A socket that was opened for us, by its number among those (`LISTEN_FDS`, from 0).
    Inherited(usize),
}

impl Address {
    /// Whether others than this machine can reach it.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        matches!(self, Self::Tcp(address) if !is_local(address.ip()))
    }
}

fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether others than this machine reach a socket with this address; also if it can't be told.
fn is_reached(bound: io::Result<SocketAddr>) -> bool {
    bound.map_or(true, |address| !is_local(address.ip()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(index) => write!(f, "fd:{}", index + FIRST_INHERITED),
        }
    }
}

/// The first file descriptor of socket activation (sd_listen_fds(3)).
pub const FIRST_INHERITED: usize = 3;

/// Who may open a Unix socket.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The mode of the socket.
    pub mode: u32,
    /// The group that owns it, if not ours.
    pub group: Option<u32>,
}

/// A socket that listens.
pub struct Listener {
    kind: Kind,
    exposed: bool,
    tls: Option<Current>,
}

enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, Option<Node>),
}

/// The file of a Unix socket, taken away with it.
struct Node {
    path: PathBuf,
    inode: u64,
}

impl Drop for Node {
    fn drop(&mut self) {
        // Somebody else's by now, perhaps.
        if fs::symlink_metadata(&self.path).is_ok_and(|it| it.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A connection, before anything of it was read.
pub(super) enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Listener {
    /// Opens a listener. Must be called within the runtime.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`], with the address and the next step.
    pub fn open(
        address: &Address,
        access: Access,
        inherited: &mut listenfd::ListenFd,
    ) -> Result<Self, Failure> {
        let kind = match address {
            Address::Tcp(socket) => tcp(*socket).map_err(|error| unopened(address, &error))?,
            Address::Unix(path) => unix(path, access)?,
            Address::Inherited(index) => given(inherited, *index)
                .and_then(|kind| kind.ok_or_else(|| ErrorKind::NotFound.into()))
                .map_err(|error| unopened(address, &error))?,
        };
        let exposed = match &kind {
            Kind::Tcp(listener) => is_reached(listener.local_addr()),
            Kind::Unix(..) => false,
        };
        Ok(Self { kind, exposed, tls: None })
    }

    /// The same with TLS, if it is a TCP listener: who comes by a Unix socket is known already.
    #[must_use]
    pub fn secured(self, tls: &Current) -> Self {
        let tls = matches!(self.kind, Kind::Tcp(_)).then(|| tls.clone());
        Self { tls, ..self }
    }

    /// What its connections are secured with, if they are.
    pub(super) fn tls(&self) -> Option<&Current> {
        self.tls.as_ref()
    }

    /// Whether others than this machine can reach it: known of inherited ones only now.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.exposed
    }

    /// Where it listens, for people: with the port that was chosen.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.kind {
            Kind::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.to_string(),
                Err(_) => "a TCP socket".to_owned(),
            },
            Kind::Unix(_, Some(node)) => format!("unix:{}", node.path.display()),
            Kind::Unix(_, None) => "a Unix socket".to_owned(),
        }
    }

    /// The next connection, and who is at its other end.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let (stream, from) = match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // An event must not wait for the next (Nagle's algorithm); slower without.
                let _ = stream.set_nodelay(true);
                let _ = keepalive::keep(&stream);
                (Stream::Tcp(stream), From::Tcp(address))
            }
            Kind::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                (Stream::Unix(stream), From::Unix(uid))
            }
        };
        Ok((stream, Peer { from, names: Arc::new([]), exposed: self.exposed }))
    }
}

fn tcp(address: SocketAddr) -> io::Result<Kind> {
    let socket = if address.is_ipv4() {
        tokio::net::TcpSocket::new_v4()
    } else {
        tokio::net::TcpSocket::new_v6()
    }?;
    // A sidecar that was restarted gets its port back at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(Kind::Tcp(socket.listen(BACKLOG)?))
}

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

fn unix(path: &Path, access: Access) -> Result<Kind, Failure> {
    let address = || Address::Unix(path.to_owned());
    let unopened = |error: io::Error| unopened(&address(), &error);
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let what = format!("{} is there already, and is no socket", path.display());
            let refused = Failure::new(Stage::Configuration, what);
            return Err(refused.hint("name another path (--listen), or move it away"));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(unopened)?;
            }
            _ => {
                let what = format!("another process listens on {} already", path.display());
                let refused = Failure::new(Stage::Configuration, what);
                return Err(refused.hint("stop it, or name another path (--listen)"));
            }
        },
        Err(_) => {}
    }
    // Until its mode is set, whoever connects is asked for its user by the guard.
    let listener = UnixListener::bind(path).map_err(unopened)?;
    let inode = fs::symlink_metadata(path).map_err(unopened)?.ino();
    let node = Node { path: path.to_owned(), inode };
    if let Some(group) = access.group {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(unopened)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(access.mode)).map_err(unopened)?;
    Ok(Kind::Unix(listener, Some(node)))
}

/// A socket that a service manager opened.
fn given(inherited: &mut listenfd::ListenFd, index: usize) -> io::Result<Option<Kind>> {
    if let Ok(Some(listener)) = inherited.take_tcp_listener(index) {
        listener.set_nonblocking(true)?;
        return TcpListener::from_std(listener).map(|it| Some(Kind::Tcp(it)));
    }
    let Some(listener) = inherited.take_unix_listener(index)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener).map(|it| Some(Kind::Unix(it, None)))
}

fn unopened(address: &Address, error: &io::Error) -> Failure {
    let (why, hint) = match (error.kind(), address) {
        (_, Address::Inherited(_)) => (
            "no such socket was handed over".to_owned(),
            "LISTEN_FDS and LISTEN_PID say which are: start it by a socket unit of systemd",
        ),
        (ErrorKind::AddrInUse, _) => (
            "another process listens there".to_owned(),
            "stop it, or choose another port (--listen); port 0 takes a free one",
        ),
        (ErrorKind::AddrNotAvailable, _) => (
            "this machine has no such address".to_owned(),
            "127.0.0.1 and [::1] are its own; name one that it has (--listen)",
        ),
        (ErrorKind::PermissionDenied, _) => (
            "it is not permitted".to_owned(),
            "ports below 1024 are for root, and the folder of a socket must be writable",
        ),
        (ErrorKind::NotFound, _) => (
            "its folder is not there".to_owned(),
            "make the folder first, or name another path (--listen)",
        ),
        _ => (error.to_string(), "name another address (--listen)"),
    };
    Failure::new(Stage::Configuration, format!("cannot listen on {address}: {why}")).hint(hint)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Neither keeps anything back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_socket_whose_address_cannot_be_told_is_exposed() {
        assert!(is_reached(Err(ErrorKind::InvalidInput.into())));
        for (address, reached) in
            [("127.0.0.1:1", false), ("[::1]:1", false), ("0.0.0.0:1", true), ("[::]:1", true)]
        {
            assert_eq!(is_reached(Ok(address.parse().unwrap())), reached, "{address}");
        }
    }
}
