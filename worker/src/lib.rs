//! Tintype's converter: claims renditions, makes them, stores them.
//!
//! [`run`] is the loop around the catalog, the blobs and the queue. [`convert`] is what it calls for the pictures: bytes in, bytes out.
#![warn(missing_docs)]

mod backoff;
mod config;
pub mod convert;
mod heartbeat;
mod job;
mod making;
mod run;
#[cfg(test)]
mod tests;

pub use config::{Settings, WorkerConfig};
pub use run::run;
