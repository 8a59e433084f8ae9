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

use std::process::ExitCode;

use args::Args;
use clap::Parser as _;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&error.into()),
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = commands::run(args) => ended.unwrap_or_else(|error| exit::report(&error)),
            code = signals::stop() => code,
        }
    });
    // What still blocks a thread, a password prompt say, must not keep the process.
    runtime.shutdown_background();
    ended
}
