//! The command line of Tintype: images in, images out. See `tintype --help`.

mod account_args;
mod args;
mod commands;
mod credentials;
mod edit_args;
mod environment;
mod exit;
mod files;
mod output;
mod pem;
mod progress;
mod signals;
mod table;
mod unfinished;

use std::{process::ExitCode, time::Duration};

use args::Args;
use clap::Parser as _;

/// How long what blocks a thread at the end is waited for.
const GRACE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&error.into()),
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            // Signals are heard before anything is begun.
            biased;
            code = signals::stop() => code,
            ended = commands::run(args) => ended.unwrap_or_else(|error| exit::report(&error)),
        }
    });
    // A password prompt that Ctrl-C has ended still gives the terminal its echo back; one that nobody answers must not keep the process.
    runtime.shutdown_timeout(GRACE);
    ended
}
