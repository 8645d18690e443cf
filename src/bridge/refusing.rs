//! The bridge that can't be: its configuration does not hold.
//!
//! A client shows the errors of a server's answers and hardly ever what it wrote to standard
//! error before it died. So each request is answered with what is wrong, until the client goes.

use crate::{
    bridge::{
        stdin::{Line, Lines},
        stdout::Stdout,
    },
    failure::Failure,
    mcp::{fault, message::Message},
    stdio::{Input, Output},
};

/// The longest line that is read only to be refused.
const MAX_LINE: usize = 64 * 1024 * 1024;

/// Answers every request with `failure` until the end of input or `stop`.
pub async fn refuse<T>(failure: &Failure, stop: impl Future<Output = T>) {
    let mut lines = Lines::new(Input::stdin(), MAX_LINE);
    let stdout = Stdout::new(Output::stdout());
    let answering = async {
        while let Some(line) = lines.next().await {
            for answer in answers(line, failure) {
                stdout.push(answer);
            }
        }
        stdout.drained().await;
    };
    tokio::select! {
        () = answering => {}
        _ = stop => {}
        () = stdout.run() => {}
    }
}

fn answers(line: Line, failure: &Failure) -> Vec<bytes::Bytes> {
    match line {
        Line::TooLong(_, false) => Vec::new(),
        Line::TooLong(id, true) => vec![fault::unreadable(id.as_ref(), failure)],
        Line::Message(bytes) => match Message::parse(bytes) {
            Ok(message) => message.request_ids().map(|id| fault::answer(id, failure)).collect(),
            Err(error) => fault::malformed(&error),
        },
    }
}
