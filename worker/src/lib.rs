//! Tintype's converter: claims renditions, makes them, stores them.
//!
//! [`run`] is the loop around the catalog, the blobs and the queue. [`convert`] makes the pictures: bytes in, bytes out. Between the two
//! are [`Converters`], which keep the one from harming the other; [`pool`] says how.
#![warn(missing_docs)]

mod backoff;
mod budget;
mod config;
pub mod convert;
mod converters;
mod heartbeat;
mod job;
mod making;
#[cfg(target_os = "linux")]
pub mod pool;
mod run;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

pub use config::{ConverterArgs, Sandbox, Settings, WorkerConfig};
pub use converters::{Converters, SandboxError};
pub use run::run;

/// Converts, when that is what this process was started for, until there is nothing left to do; `None` for every other process.
///
/// A program that has workers starts itself anew for its converters, so this comes first in its `main`.
pub fn serve_as_converter() -> Option<ExitCode> {
    #[cfg(target_os = "linux")]
    if pool::is_converter() {
        return Some(pool::serve(convert::convert));
    }
    None
}
