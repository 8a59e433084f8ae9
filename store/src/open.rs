//! From settings to stores: the URL scheme picks the adapter.

use std::{path::PathBuf, sync::Arc};

use crate::{StoreError, blobs::Blobs, catalog::Catalog, jobs::JobQueue};

/// `sqlite:PATH` (relative to the data folder) or `postgres://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogUrl {
    /// One file.
    Sqlite(PathBuf),
    /// A server; the whole URL.
    Postgres(String),
}

/// `file:PATH` (relative to the data folder).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobsUrl {
    /// A local or shared folder.
    Folder(PathBuf),
}

/// `local:` or `nats://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobsUrl {
    /// Inside this process.
    Local,
    /// A server with JetStream; the whole URL.
    Nats(String),
}

/// Where everything is.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The data folder, for whatever is local.
    pub data: PathBuf,
    /// The catalog.
    pub catalog: CatalogUrl,
    /// The blob store.
    pub blobs: BlobsUrl,
    /// The queue.
    pub jobs: JobsUrl,
}

/// Who opens the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    /// Migrates the catalog, under a lock, and names a new store.
    Server,
    /// Waits until a server has done so.
    Worker,
}

/// The open stores. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Stores {
    /// The truth.
    pub catalog: Arc<dyn Catalog>,
    /// The bytes.
    pub blobs: Arc<dyn Blobs>,
    /// The hints.
    pub jobs: Arc<dyn JobQueue>,
    /// No other process can be using the catalog: it is a file under a lock that this process holds.
    pub exclusive: bool,
}

impl Stores {
    /// Opens all three and checks that they belong together: a combination that cannot work, or a catalog and a blob store with different
    /// ids, is `Kind::Misconfigured`. Waits up to 10 s for the lock of the data folder.
    pub async fn open(config: &StoreConfig, opener: Opener) -> Result<Self, StoreError> {
        let _ = (config, opener);
        Err(StoreError::new(crate::Kind::Internal, "not written yet"))
    }
}
