//! What every Tintype binary does first and last: logs, signals, draining. Nothing of the domain.
#![warn(missing_docs)]

mod logs;
mod shutdown;

pub use logs::{LogFormat, init_logs};
pub use shutdown::Shutdown;
