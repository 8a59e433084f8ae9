//! Blobs as objects of a bucket, of Amazon's S3 or any store that speaks its protocol.
//!
//! `<prefix>/user_1/<32 hexadecimal digits>/original.png` for a blob and `<prefix>/store-id`. A blob of one part is one PUT; a larger one is
//! a multipart upload that is recorded in the catalog before its first part is sent, so that what a crash left open is found and ended.

mod bucket;
mod config;
mod partial;
mod read;
mod sign;
#[cfg(test)]
mod tests;
mod writer;

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    Error, ObjectStoreExt,
    list::{PaginatedListOptions, PaginatedListStore},
};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use self::{bucket::Bucket, writer::S3Writer};
use super::{BlobWriter, Blobs, SignedPut};
use crate::{AnnouncedFile, BlobKey, ListedBlob, OpenWrite, PartialBlob, StoreError, StoreId, Timestamp, catalog::Writes};

pub use config::S3Config;

/// The unit in which larger blobs are sent: 8 MiB. Blobs up to this size are one request. A writer holds two parts at most: the one that is
/// being filled and one on its way.
pub const PART_BYTES: usize = 8 << 20;

/// How many stale uploads one sweep ends.
const SWEEP_LIMIT: u32 = 100;
/// After this time it begins with no further one, whatever the store takes for each.
const SWEEP_TIME: Duration = Duration::from_secs(10);

/// Blobs in a bucket. Cheap to clone; all clones are one. Any number of processes may use one bucket.
#[derive(Debug, Clone)]
pub struct S3 {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bucket: Bucket,
    writes: Arc<dyn Writes>,
    /// Uploads that were given up and are being removed.
    cleanups: TaskTracker,
}

impl S3 {
    /// Opens the bucket; `writes` keeps what is on its way there.
    ///
    /// `Kind::Misconfigured` when there is no such bucket, when these credentials may not read it, or when the settings contradict each other;
    /// `Kind::Unavailable` when it does not answer.
    pub async fn open(config: &S3Config, writes: Arc<dyn Writes>) -> Result<Self, StoreError> {
        let bucket = Bucket::new(config)?;
        bucket.check_settings().await?;
        let cleanups = TaskTracker::new();
        // Only says that waiting for it can end.
        cleanups.close();
        Ok(Self { shared: Arc::new(Shared { bucket, writes, cleanups }) })
    }
}

#[async_trait]
impl Blobs for S3 {
    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, StoreError> {
        let path = self.shared.bucket.path(key)?;
        Ok(Box::new(S3Writer::new(Arc::clone(&self.shared), key.clone(), path)))
    }

    async fn read(&self, key: &BlobKey, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        read::read(Arc::clone(&self.shared), key, range).await
    }

    async fn read_partial(&self, partial: &PartialBlob) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        self.shared.put_together(partial).await?;
        self.read(&partial.key, 0..partial.size_bytes).await
    }

    async fn discard(&self, partial: &PartialBlob) -> Result<(), StoreError> {
        self.shared.discard(partial).await?;
        self.delete(&partial.key).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        let bucket = &self.shared.bucket;
        let path = bucket.path(key)?;
        match bucket.soon(bucket.client.delete(&path)).await {
            Ok(()) => Ok(()),
            Err(Error::NotFound { .. }) => bucket.check_same_bucket().await,
            Err(error) => Err(bucket.failed(format_args!("remove blob {key} from"), error)),
        }
    }

    async fn size_bytes(&self, key: &BlobKey) -> Result<Option<u64>, StoreError> {
        let bucket = &self.shared.bucket;
        let path = bucket.path(key)?;
        match bucket.soon(bucket.client.head(&path)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(Error::NotFound { .. }) => bucket.check_same_bucket().await.map(|()| None),
            Err(error) => Err(bucket.failed(format_args!("look at blob {key} in"), error)),
        }
    }

    fn list(&self) -> BoxStream<'static, Result<ListedBlob, StoreError>> {
        let first = Some(PaginatedListOptions::default());
        let pages = stream::try_unfold((Arc::clone(&self.shared), first), |(shared, options)| async move {
            let Some(options) = options else { return Ok(None) };
            let (blobs, next) = shared.page(options).await?;
            Ok::<_, StoreError>(Some((stream::iter(blobs.into_iter().map(Ok)), (shared, next))))
        });
        pages.try_flatten().boxed()
    }

    async fn store_id(&self) -> Result<Option<StoreId>, StoreError> {
        self.shared.bucket.store_id().await
    }

    async fn set_store_id(&self, id: &StoreId) -> Result<(), StoreError> {
        self.shared.bucket.set_store_id(id).await
    }

    async fn sweep_unpublished(&self, before: Timestamp) -> Result<u64, StoreError> {
        let deadline = Instant::now() + SWEEP_TIME;
        // What is being removed already is not stale. Where that takes too long it may be ended twice, which does no harm.
        let _ = timeout_at(deadline, self.shared.cleanups.wait()).await;
        let stale = self.shared.writes.stale_writes(before, SWEEP_LIMIT).await?;
        let (mut removed, mut failed) = (0, None);
        for write in stale.iter().take_while(|_| Instant::now() < deadline) {
            match self.shared.give_up(write).await {
                Ok(()) => removed += 1,
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(removed), Err)
    }

    async fn sign_put(&self, key: &BlobKey, file: &AnnouncedFile, ttl: Duration) -> Result<Option<SignedPut>, StoreError> {
        self.shared.bucket.sign_put(key, file, ttl).await.map(Some)
    }

    /// Only reads, and not even that when other requests are answered: each has its price.
    async fn ping(&self) -> Result<(), StoreError> {
        self.shared.bucket.ping().await
    }
}

impl Shared {
    /// Up to 1,000 blobs, and how to ask for those after them.
    async fn page(&self, options: PaginatedListOptions) -> Result<(Vec<ListedBlob>, Option<PaginatedListOptions>), StoreError> {
        let bucket = &self.bucket;
        let page = bucket.soon(bucket.client.list_paginated(Some(bucket.prefix()), options)).await;
        let page = page.map_err(|error| bucket.failed("list", error))?;
        let blobs = page.result.objects.into_iter().filter_map(|object| {
            let key = bucket.key(&object.location)?;
            Some(ListedBlob { key, size_bytes: object.size, written_at: Timestamp(object.last_modified.timestamp_micros()) })
        });
        let next = page.page_token.map(|token| PaginatedListOptions { page_token: Some(token), ..PaginatedListOptions::default() });
        Ok((blobs.collect(), next))
    }

    /// Ends an upload and removes its parts; also fine when it has ended. Then its record is dropped.
    async fn give_up(&self, write: &OpenWrite) -> Result<(), StoreError> {
        let failed = |error| self.bucket.failed(format_args!("end the upload of {} to", write.key), error);
        let path = self.bucket.path(&write.key)?;
        let ids = match &write.multipart_id {
            Some(id) => vec![id.clone()],
            // It ended before the answer came, or was recorded.
            None => self.bucket.open_uploads(&path).await.map_err(failed)?,
        };
        for id in &ids {
            match self.bucket.abort(&path, id).await {
                // The bucket is there, the upload is not.
                Err(Error::NotFound { .. }) => self.bucket.check_same_bucket().await?,
                aborted => aborted.map_err(failed)?,
            }
        }
        self.writes.forget_write(&write.key).await
    }
}
