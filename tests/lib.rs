//! The harness of the end-to-end tests: real servers and workers as processes, a real PostgreSQL, a real NATS server, a real
//! bucket, real pictures.
//!
//! Nothing here sleeps: what a program says on its output, and calls that answer when something is so, tell when to go on.
#![warn(missing_docs)]

mod balancer;
mod breaker;
mod bucket;
mod client;
mod deployment;
mod frames;
mod gate;
pub mod http;
pub mod pictures;
mod program;
mod random;
mod raw;
mod settings;
mod watcher;
mod wire;

pub use balancer::Balancer;
pub use breaker::Breaker;
pub use bucket::Bucket;
pub use client::{Bearer, Client, Download, Refused, Upload, sign_in};
pub use deployment::{ADMIN_PASSWORD, Tintype, files_below};
pub use frames::Frames;
pub use gate::Gate;
pub use http::Http;
pub use program::{Program, own_binary};
pub use random::{Random, seed};
pub use raw::{RawAnswer, RawClient, grpc_message};
pub use settings::{corpus, number, required};
pub use watcher::{Told, Watcher};
pub use wire::{Fault, Wire};
