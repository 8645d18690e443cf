//! The work through the bridge against the same work without it, as a table.
//!
//! `cargo bench --bench bridge` builds the dist binary, measures and prints; `-- --quick` is a
//! smoke run of seconds with whatever binary is there. `docs/BENCHMARKS.md` says what is measured.
//! The server, the other end of the limit's pipe and the far network are this program again, in
//! processes of their own. Nothing is asserted of a figure.

mod answers;
mod call;
mod certificates;
mod effort;
mod far;
mod figures;
mod gateway;
mod https;
mod pipe;
mod process;
mod program;
mod sides;
mod signing;
mod table;
mod translation;

use std::process::ExitCode;

/// What can fail here fails the run, with its own words.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["gateway", directory] => on_one_thread(gateway::run(directory)),
        ["far", port, millis] => on_one_thread(far::run(port, millis)),
        ["answers"] => answers::run(),
        _ => on_one_thread(figures::run(&words)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            table::say(&format!("the benchmark failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// One thread a process, as the bridge has: what is compared are the same means.
fn on_one_thread(work: impl Future<Output = Outcome<()>>) -> Outcome<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
