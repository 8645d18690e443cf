//! One connection, HTTP/1.1 by hand: bytes go out as they are, answers are taken apart, and a
//! stream is read chunk by chunk. Every read has a deadline.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::support::process::DEADLINE;

/// A connection to the sidecar.
pub struct Line {
    stream: BufReader<Socket>,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    /// The first value of this header, whose name is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Line {
    /// A connection over TCP.
    pub fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(Socket::Tcp(stream))
    }

    /// A connection over a Unix socket.
    pub fn unix(path: &Path) -> Self {
        Self::over(Socket::Unix(UnixStream::connect(path).unwrap()))
    }

    fn over(socket: Socket) -> Self {
        let line = Self { stream: BufReader::new(socket) };
        line.patience(DEADLINE);
        line
    }

    fn patience(&self, time: Duration) {
        match self.stream.get_ref() {
            Socket::Tcp(stream) => stream.set_read_timeout(Some(time)),
            Socket::Unix(stream) => stream.set_read_timeout(Some(time)),
        }
        .unwrap();
    }

    /// Sends these bytes; an error if the other end is closed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        match self.stream.get_mut() {
            Socket::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Socket::Unix(stream) => stream.write_all(bytes.as_ref()),
        }
    }

    /// Sends these bytes as far as the other end takes them: its answer tells why if it does not.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.send(bytes);
    }

    /// Sends no more, and still reads.
    pub fn close_writing(&self) {
        match self.stream.get_ref() {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
        .unwrap();
    }

    /// The head of the next answer; none if the connection ended instead.
    pub fn try_head(&mut self) -> Option<Answer> {
        let start = self.text_line()?;
        let status = start.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {start:?}"));
        Some(Answer { status, headers: self.fields()?, ..Answer::default() })
    }

    /// The head of the next answer.
    #[track_caller]
    pub fn head(&mut self) -> Answer {
        self.try_head().expect("the connection ended without an answer")
    }

    /// The next answer, whole; none if the connection ended before its end.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let mut answer = self.try_head()?;
        let length = answer.header("content-length").map(|length| length.parse().unwrap());
        if let Some(length) = length {
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body).ok()?;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.try_chunk()? {
                answer.body.extend(chunk);
            }
            answer.trailers = self.fields()?;
        }
        Some(answer)
    }

    /// The next answer, whole.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("the connection ended without a whole answer")
    }

    /// So many bytes of a body that has a length.
    pub fn body(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        body
    }

    /// The next chunk of a body, none after the last; no answer if the connection ended instead.
    #[expect(clippy::option_option, reason = "an end and an end too early are two things")]
    pub fn try_chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let size = usize::from_str_radix(&self.text_line()?, 16).unwrap();
        if size == 0 {
            return Some(None);
        }
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).ok()?;
        chunk.truncate(size);
        Some(Some(chunk))
    }

    /// The next chunk of a body as text.
    #[track_caller]
    pub fn chunk(&mut self) -> String {
        let chunk = self.try_chunk().expect("the connection ended within a body");
        String::from_utf8(chunk.expect("the body ended")).unwrap()
    }

    /// Whether the other end closed the connection and sent nothing before; waits for it.
    #[track_caller]
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            Err(error) => panic!("neither closed nor anything to read: {error}"),
        }
    }

    /// Waits for the end of the connection, whatever comes before it.
    #[track_caller]
    pub fn ends(&mut self) {
        match self.stream.read_to_end(&mut Vec::new()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("it does not end: {error}"),
        }
    }

    /// Whether nothing comes for so long, the end of the connection neither.
    pub fn is_silent(&mut self, time: Duration) -> bool {
        self.patience(time);
        let waited = self.stream.fill_buf().map(<[u8]>::len);
        self.patience(DEADLINE);
        waited.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Header fields up to the empty line.
    fn fields(&mut self) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.text_line()?;
            if line.is_empty() {
                return Some(fields);
            }
            let (name, value) = line.split_once(':').unwrap();
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next line without its end; none if the connection ended. Panics at the deadline.
    fn text_line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => line.strip_suffix("\r\n").map(str::to_owned),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no line: {error}"),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}
