//! What Tintype knows and keeps: the domain types, the ports [`Catalog`](catalog::Catalog), [`Blobs`](blobs::Blobs) and
//! [`JobQueue`](jobs::JobQueue), and their adapters.
//!
//! The catalog is the truth; blobs are bytes that never change once they have a name; a job is only a hint to look at the catalog.
#![warn(missing_docs)]

pub mod args;
pub mod blobs;
pub mod catalog;
#[cfg(test)]
pub mod conformance;
mod doomed;
mod error;
pub mod events;
pub mod header;
pub mod jobs;
mod model;
pub mod open;
pub mod orphans;
mod presence;
mod schemes;
pub mod sweep;
pub mod verify;
#[cfg(test)]
mod world;

pub use error::{Kind, StoreError};
pub use model::*;
pub use presence::Presence;
pub use schemes::Schemes;
