use crate::open::{BlobsUrl, CatalogUrl, JobsUrl, StoreConfig};

/// By which URL schemes the backends were picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schemes {
    /// `sqlite` or `postgres`.
    pub catalog: &'static str,
    /// `file` or `s3`.
    pub blobs: &'static str,
    /// `local` or `nats`.
    pub jobs: &'static str,
}

impl From<&StoreConfig> for Schemes {
    fn from(config: &StoreConfig) -> Self {
        Self {
            catalog: match config.catalog {
                CatalogUrl::Sqlite(_) => "sqlite",
                CatalogUrl::Postgres(_) => "postgres",
            },
            blobs: match config.blobs {
                BlobsUrl::Folder(_) => "file",
                BlobsUrl::S3(_) => "s3",
            },
            jobs: match config.jobs {
                JobsUrl::Local => "local",
                JobsUrl::Nats(_) => "nats",
            },
        }
    }
}
