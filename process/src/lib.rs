//! What every Tintype binary does first and last: logs, signals, draining. Nothing of the domain.
#![warn(missing_docs)]

mod logs;
mod memory;
mod shutdown;

pub use logs::{LogFormat, init_logs};
pub use memory::{bound_heaps, memory_bytes};
pub use shutdown::Shutdown;
