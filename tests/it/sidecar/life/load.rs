//! Callers who ask one thing after another until they are told to go: some on HTTP/1.1, some on
//! HTTP/2. What each was answered, and what was lost.

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use http::Request;
use http_body_util::{BodyExt as _, Full};

use crate::support::sidecar::{Line, Sidecar, Two};

/// Callers at work.
pub(super) struct Load {
    callers: Vec<JoinHandle<Done>>,
    enough: Arc<AtomicBool>,
}

/// What became of the requests, by their paths.
#[derive(Default)]
pub(super) struct Done {
    pub(super) answered: Vec<String>,
    pub(super) lost: Vec<String>,
}

impl Load {
    /// As many callers with HTTP/1.1, as many with HTTP/2, each with a connection of its own.
    pub(super) fn start(sidecar: &Sidecar, ones: usize, twos: usize) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let mut callers = Vec::new();
        for caller in 0..ones {
            let (line, enough) = (sidecar.connect(), Arc::clone(&enough));
            callers.push(thread::spawn(move || one(line, caller, &enough)));
        }
        for caller in 0..twos {
            let (two, enough) = (sidecar.connect_two(), Arc::clone(&enough));
            callers.push(thread::spawn(move || side_by_side(&two, caller, &enough)));
        }
        Self { callers, enough }
    }

    /// Waits until all have gone because they were told to.
    pub(super) fn join(self) -> Done {
        let mut all = Done::default();
        for caller in self.callers {
            let done = caller.join().unwrap();
            all.answered.extend(done.answered);
            all.lost.extend(done.lost);
        }
        all
    }

    /// Has enough.
    pub(super) fn stop(self) -> Done {
        self.enough.store(true, Ordering::Relaxed);
        self.join()
    }
}

impl Done {
    fn note(&mut self, path: String, status: Option<u16>) {
        match status {
            Some(200) => self.answered.push(path),
            other => self.lost.push(format!("{path}: {other:?}")),
        }
    }
}

/// One request after another, until an answer says that it was the last of its connection.
fn one(mut line: Line, caller: usize, enough: &AtomicBool) -> Done {
    let mut done = Done::default();
    for number in 0.. {
        let path = format!("/mcp/one/{caller}/{number}");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if line.send(request).is_err() {
            // Closed before it was sent; but then an answer should have said so.
            done.lost.push(format!("{path}: not told"));
            break;
        }
        let answer = line.try_answer();
        let last = answer.as_ref().is_none_or(|it| it.header("connection") == Some("close"));
        done.note(path, answer.map(|answer| answer.status));
        if last || enough.load(Ordering::Relaxed) {
            break;
        }
    }
    done
}

/// Four at a time on one connection, until it takes no more.
fn side_by_side(two: &Two, caller: usize, enough: &AtomicBool) -> Done {
    let ask = async |lane: usize| {
        let mut done = Done::default();
        let mut sender = two.sender();
        for number in 0.. {
            if enough.load(Ordering::Relaxed) || sender.ready().await.is_err() {
                break;
            }
            let path = format!("/mcp/two/{caller}/{lane}/{number}");
            let uri = format!("http://localhost{path}");
            let request = Request::get(uri).body(Full::default()).unwrap();
            match sender.send_request(request).await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let whole = answer.into_body().collect().await.is_ok();
                    done.note(path, whole.then_some(status));
                }
                Err(error) if was_not_accepted(&error) => break,
                Err(error) => done.lost.push(format!("{path}: {error:?}")),
            }
        }
        done
    };
    two.runtime.block_on(async {
        let lanes = futures_util::future::join_all((0..4).map(ask)).await;
        let mut all = Done::default();
        for done in lanes {
            all.answered.extend(done.answered);
            all.lost.extend(done.lost);
        }
        all
    })
}

/// It was still here when the connection took no more, or the other end says that it never got to
/// it (RFC 9113, section 6.8); what it did carry all the same shows upstream.
fn was_not_accepted(error: &hyper::Error) -> bool {
    let frames = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    let told = |it: &h2::Error| it.is_go_away() && it.reason() == Some(h2::Reason::NO_ERROR);
    error.is_canceled() || frames.is_some_and(told)
}
