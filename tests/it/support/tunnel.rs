//! A proxy that speaks CONNECT and nothing else: every tunnel leads to one address, whatever name
//! was asked for, and what it was told is kept.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A running proxy; its thread ends with the test's process.
pub struct Tunnel {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    /// One that leads to `target`.
    pub fn to(target: SocketAddr) -> Self {
        Self::start(target, None)
    }

    /// The same, for those whose `Proxy-Authorization` is this; others are answered 407.
    pub fn guarded(target: SocketAddr, authorization: &str) -> Self {
        Self::start(target, Some(authorization.to_owned()))
    }

    fn start(target: SocketAddr, demanded: Option<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (kept, demanded) = (Arc::clone(&kept), demanded.clone());
                thread::spawn(move || drop(carry(client, target, demanded.as_deref(), &kept)));
            }
        });
        Self { address, heads }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As `--proxy` takes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of all requests so far: `CONNECT host:port HTTP/1.1` and the headers.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn carry(
    client: TcpStream,
    target: SocketAddr,
    demanded: Option<&str>,
    heads: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    heads.lock().unwrap().push(head.clone());
    if demanded.is_some_and(|value| !authorized(&head, value)) {
        return (&client).write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\
              content-length: 0\r\n\r\n",
        );
    }
    let upstream = TcpStream::connect(target)?;
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut down, mut up) = (client, upstream.try_clone()?);
    let back = thread::spawn(move || {
        let copied = io::copy(&mut &upstream, &mut down);
        let _ = down.shutdown(Shutdown::Both);
        copied
    });
    io::copy(&mut reader, &mut up)?;
    up.shutdown(Shutdown::Write)?;
    let _ = back.join();
    Ok(())
}

fn authorized(head: &str, demanded: &str) -> bool {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .any(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization") && value == demanded)
}
