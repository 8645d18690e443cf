//! The program: parse, run, report, exit code.

use std::{process::ExitCode, time::Duration};

use countersign::{app, cli::Cli, panic, shutdown::Parent};

/// Name lookups, files on standard input, identities that are slow to open and keyrings are all that
/// leave the one thread; what they leave behind ends soon after.
const POOL_KEEP_ALIVE: Duration = Duration::from_millis(500);
const POOL_THREADS: usize = 4;

fn main() -> ExitCode {
    panic::conceal();
    let parent = Parent::now();
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to be told if this fails.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(POOL_THREADS)
        .thread_keep_alive(POOL_KEEP_ALIVE)
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(app::run(&cli, parent));
            // A blocked read of a file must not hold up the exit.
            runtime.shutdown_background();
            code
        }
        Err(_) => ExitCode::FAILURE,
    }
}
