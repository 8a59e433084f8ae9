//! `tintype-server`: reads the settings, serves, and says why it ended.

use std::process::ExitCode;

use tintype_server::Config;

fn main() -> ExitCode {
    match Config::load().and_then(tintype_server::main) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tintype-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}
