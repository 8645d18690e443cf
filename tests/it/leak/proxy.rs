//! The credentials of a proxy that takes them, refuses, and says what it was given.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{Canary, FORMATS, loud};
use crate::support::{
    jsonrpc::Client,
    process::{Countersign, DEADLINE},
};

/// A proxy that answers each CONNECT with this, `ECHO` being what it was sent; what it was sent.
fn refusing(answer: &'static str) -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(String::new()));
    let ears = Arc::clone(&heard);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), Vec::new());
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => break,
                }
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let sent = head.lines().find_map(|line| line.split_once("uthorization: "));
            let echo = format!("{} {}", sent.map_or("", |(_, sent)| sent), Canary::TEXT);
            let _ = stream.write_all(answer.replace("ECHO", &echo).as_bytes());
            ears.lock().unwrap().push_str(&head);
        }
    });
    (address, heard)
}

/// Refuses like this, under both log formats, with the credentials given in each way.
fn refuses(answer: &'static str) {
    let pair = BASE64_STANDARD.encode(format!("alice:{}", Canary::TEXT));
    for format in FORMATS {
        for way in ["flag", "variable", "profile"] {
            let (proxy, heard) = refusing(answer);
            let folder = tempfile::tempdir().unwrap();
            let program = Countersign::to("https://mcp.example/mcp").env("CANARY", Canary::TEXT);
            let address = format!("http://{proxy}");
            let with = format!("http://alice:{}@{proxy}", super::canary::percent(Canary::TEXT));
            let program = match way {
                "flag" => program.args(["--proxy", &address, "--proxy-user", "alice:env:CANARY"]),
                "variable" => program.env("HTTPS_PROXY", &with),
                _ => {
                    let file = folder.path().join("c.toml");
                    let lines = format!("proxy = \"{address}\"\nproxy_user = \"alice:env:CANARY\"");
                    fs::write(&file, format!("[profile.test]\n{lines}\n")).unwrap();
                    program.arg("--config").arg(file)
                }
            };
            let mut client = Client::start(&loud(program, format));
            let id = client.initialize("2025-11-25");
            let error = client.error(&id);
            Canary::new().assert_unsaid(&client.process);
            client.process.close_stdin();
            client.process.wait_exit(DEADLINE);
            Canary::new().assert_unsaid(&client.process);
            assert_eq!(error["data"]["stage"], "connect", "{way}: {error}");
            assert!(heard.lock().unwrap().contains(&pair), "{way}: it was given to the proxy");
        }
    }
}

#[test]
fn that_wants_others() {
    refuses(
        "HTTP/1.1 407 ECHO\r\nProxy-Authenticate: Basic realm=\"ECHO\"\r\nX-Said: ECHO\r\n\
         Content-Length: 4\r\n\r\nECHO",
    );
}

#[test]
fn that_forbids_the_upstream() {
    refuses("HTTP/1.1 403 ECHO\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nECHO");
}

#[test]
fn that_is_broken() {
    refuses("HTTP/1.1 502 Bad Gateway\r\n\r\n<title>ECHO</title>");
    refuses("ECHO ECHO\r\n\r\n");
    refuses("");
}

#[test]
fn that_speaks_no_tls_behind_it() {
    let (proxy, heard) = refusing("HTTP/1.1 200 OK\r\n\r\nECHO ECHO ECHO ECHO");
    let program = Countersign::to("https://mcp.example/mcp").env("CANARY", Canary::TEXT).args([
        "--proxy",
        &format!("http://{proxy}"),
        "--proxy-user",
        "alice:env:CANARY",
    ]);
    let mut client = Client::start(&loud(program, "text"));
    let id = client.initialize("2025-11-25");
    client.error(&id);
    Canary::new().assert_unsaid(&client.process);
    assert!(heard.lock().unwrap().starts_with("CONNECT mcp.example:443 "));
}
