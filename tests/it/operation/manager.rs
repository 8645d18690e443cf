//! The service manager is told: ready when everything listens, alive, stopping.

use std::{net::TcpStream, os::unix::net::UnixDatagram};

use rustix::process::Signal;

use super::serve;
use crate::support::{
    pki::Pki,
    process::{DEADLINE, Process},
    upstream::Upstream,
};

struct Manager(UnixDatagram);

impl Manager {
    fn heard(&self) -> String {
        let mut bytes = [0; 64];
        let length = self.0.recv(&mut bytes).expect("nothing was said in time");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn hears(&self, what: &str) {
        while self.heard() != what {}
    }
}

fn listens(process: &Process) {
    process.wait_for_stderr(": listening on ");
    let said = process.stderr();
    let address = said.split_once(": listening on ").unwrap().1;
    TcpStream::connect(address.lines().next().unwrap()).unwrap();
}

#[test]
fn a_manager_is_told_of_the_whole_life() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let path = folder.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(DEADLINE)).unwrap();
    let program = serve(&pki, &upstream).identity(&pki.client);
    let program = program.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let mut process = program.start();
    assert_eq!(manager.heard(), "READY=1");
    listens(&process);
    for _ in 0..3 {
        assert_eq!(manager.heard(), "WATCHDOG=1");
    }
    process.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(0));
}

#[test]
fn a_manager_that_is_not_there_ends_nothing() {
    let pki = Pki::new();
    let upstream = Upstream::mutual(&pki);
    let program = serve(&pki, &upstream).identity(&pki.client);
    let process = program.env("NOTIFY_SOCKET", "/nowhere/notify").start();
    listens(&process);
    assert!(process.stderr().contains("warning: NOTIFY_SOCKET: "), "{}", process.stderr());
}
