//! What every Tintype binary does first and last: logs, metrics, signals, draining. Nothing of the domain.
#![warn(missing_docs)]

mod descriptors;
mod logs;
mod memory;
mod metrics;
mod metrics_port;
mod shutdown;

pub use descriptors::raise_descriptor_limit;
pub use logs::{LogFormat, init_logs};
pub use memory::{bound_heaps, memory_bytes};
pub use metrics::Metrics;
pub use metrics_port::serve_metrics;
pub use shutdown::Shutdown;
