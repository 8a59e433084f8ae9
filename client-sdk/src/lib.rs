//! The client library of Tintype, an image service: upload images, have them made in other formats, list them and stream them back.
//!
//! ```no_run
//! use tintype_client::{Client, Format};
//!
//! # async fn example() -> tintype_client::Result<()> {
//! let client = Client::builder("http://127.0.0.1:50051").password("admin", "Admin555").build()?;
//!
//! let image = client.upload("cat.png").send().await?;
//! println!("stored {} as image {}: {} x {} pixels", image.file_name, image.id, image.width, image.height);
//!
//! client.download(image.id).format(Format::Jpeg).wait().to_path("cat.jpeg").await?;
//! let small = client.create_rendition(image.id, Format::WebP).width(320).send().await?;
//! client.download_rendition(small.id).wait().to_path("cat.webp").await?;
//! client.delete(image.id).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What is required is an argument, what is optional a method of the builder that comes back, and [`Upload::send`],
//! [`DownloadRequest::send`] and their like do the work. Everything runs on Tokio.
//!
//! - A [`Client`] is cheap to clone and meant to be shared.
//! - Calls that fail for a passing reason are repeated as the [`RetryPolicy`] says: reads, deletions, and uploads, which carry a
//!   request id so that no attempt makes a second image.
//! - Uploads and downloads hold a few chunks of 256 KiB in memory, whatever the size of the file.
//! - A download goes on where it stopped when the connection breaks, and is checked against its SHA-256.
//! - A [`Watch`] tells what happens to images, and goes on where it was after a lost connection or a server's end.
//! - An [`Error`] has the server's code, reason and details.
#![warn(missing_docs)]

mod admin;
mod builder;
mod bulk;
mod client;
mod colours;
mod download;
mod edits;
mod error;
mod limits;
mod links;
mod list;
mod model;
mod retry;
mod shares;
mod sign_in;
mod source;
mod spec;
mod stats;
mod token;
mod tokens;
mod transfers;
mod upload;
mod upload_stream;
mod users;
mod verify;
mod watch;
mod wire;

pub use admin::{Admin, FailurePage, Failures};
pub use async_trait::async_trait;
pub use builder::{ClientBuilder, TlsOptions};
pub use bulk::{Archived, DownloadImages, Fetched};
pub use client::Client;
pub use colours::{ColourType, Colours};
pub use download::{Download, DownloadInfo, DownloadRequest};
pub use edits::{CreateRendition, UpdateImage};
pub use error::{Error, ErrorKind, FieldViolation, Result};
pub use limits::Limits;
pub use links::{CreateDownloadUrl, CreateUploadUrl, DownloadUrl, UploadUrl};
pub use list::{ListImages, Page};
pub use model::{Format, Image, ImageState, Rendition, RenditionFailure, RenditionState, Role, Scope, TokenInfo, User};
pub use retry::RetryPolicy;
pub use shares::{Access, Owner, Party, Share, ShareRole};
pub use sign_in::SignIn;
pub use source::Source;
pub use spec::{Effort, Fit, RenditionSpec};
pub use stats::{Failure, FailureCount, ServerInfo, Stats, WorkerInfo};
pub use tintype_proto::v1::{ErrorReason, FailureReason, VerifyFindingKind, VerifyRepair};
pub use token::{Secret, Token, TokenProvider};
pub use tokens::{TokenPage, Tokens};
pub use tonic::Code;
pub use upload::{Upload, UploadProgress, UploadState, Uploaded};
pub use users::{CreateUser, UpdateUser, UserPage, Users};
pub use verify::{CheckEvent, CheckProgress, Finding, VerifiedBytes, Verify, Verifying};
pub use watch::{Event, Watch, Watching};
