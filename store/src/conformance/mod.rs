//! One list of cases per port, run against every adapter.

pub mod blobs;
pub(crate) mod catalog;
pub mod jobs;
