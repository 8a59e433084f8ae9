//! `tintype-server`: reads the settings, serves, and says why it ended.

use std::process::ExitCode;

use tintype_server::Config;

fn main() -> ExitCode {
    #[cfg(feature = "embedded")]
    if let Some(code) = tintype_server::serve_as_converter() {
        return code;
    }
    match Config::load().and_then(tintype_server::main) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tintype-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}
