//! Blob stores that fail, or keep others waiting, as each test needs.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use tintype_store::{
    BlobKey, Kind, ListedBlob, PartialBlob, StoreError, StoreId, Timestamp,
    blobs::{BlobWriter, Blobs, Persisting},
};
use tokio::sync::Semaphore;

/// Before what a store publishes.
#[derive(Debug)]
pub(super) struct Bar {
    reached: Semaphore,
    lifted: Semaphore,
    spoils: AtomicBool,
}

impl Default for Bar {
    fn default() -> Self {
        Self { reached: Semaphore::new(0), lifted: Semaphore::new(0), spoils: AtomicBool::new(false) }
    }
}

impl Bar {
    /// Waits until so many more blobs have come to it.
    pub(super) async fn reached(&self, count: u32) {
        self.reached.acquire_many(count).await.expect("nobody closes the semaphore").forget();
    }

    /// For good.
    pub(super) fn lift(&self) {
        self.lifted.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Whatever comes to it turns out to be damaged.
    pub(super) fn spoil(&self) {
        self.spoils.store(true, Ordering::SeqCst);
        self.lift();
    }
}

/// A blob store that publishes nothing as long as there is a bar.
#[derive(Debug)]
pub(super) struct Barred {
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) bar: Arc<Bar>,
}

struct BarredWriter {
    writer: Box<dyn BlobWriter>,
    bar: Arc<Bar>,
}

#[async_trait]
impl BlobWriter for BarredWriter {
    fn persist_every_bytes(&self) -> u64 {
        self.writer.persist_every_bytes()
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.writer.write(bytes).await
    }

    async fn persist(&mut self) -> Result<Persisting, StoreError> {
        self.writer.persist().await
    }

    async fn keep(&mut self, size_bytes: u64) -> Result<String, StoreError> {
        self.writer.keep(size_bytes).await
    }

    async fn publish(self: Box<Self>) -> Result<(), StoreError> {
        self.bar.reached.add_permits(1);
        let _lifted = self.bar.lifted.acquire().await.expect("nobody closes the semaphore");
        if self.bar.spoils.load(Ordering::SeqCst) {
            return Err(StoreError::new(Kind::Corrupt, "it came out shorter than it went in"));
        }
        self.writer.publish().await
    }
}

#[async_trait]
impl Blobs for Barred {
    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, StoreError> {
        Ok(Box::new(BarredWriter { writer: self.blobs.create(key).await?, bar: Arc::clone(&self.bar) }))
    }

    async fn read(&self, key: &BlobKey, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        self.blobs.read(key, range).await
    }

    async fn read_partial(&self, partial: &PartialBlob) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        self.blobs.read_partial(partial).await
    }

    async fn discard(&self, partial: &PartialBlob) -> Result<(), StoreError> {
        self.blobs.discard(partial).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        self.blobs.delete(key).await
    }

    async fn size_bytes(&self, key: &BlobKey) -> Result<Option<u64>, StoreError> {
        self.blobs.size_bytes(key).await
    }

    fn list(&self) -> BoxStream<'static, Result<ListedBlob, StoreError>> {
        self.blobs.list()
    }

    async fn store_id(&self) -> Result<Option<StoreId>, StoreError> {
        self.blobs.store_id().await
    }

    async fn set_store_id(&self, id: &StoreId) -> Result<(), StoreError> {
        self.blobs.set_store_id(id).await
    }

    async fn sweep_unpublished(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.blobs.sweep_unpublished(before).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.blobs.ping().await
    }
}

/// A blob store that does not answer.
#[derive(Debug)]
pub(super) struct Away;

impl Away {
    fn error() -> StoreError {
        StoreError::new(Kind::Unavailable, "the blob store is away")
    }
}

#[async_trait]
impl Blobs for Away {
    async fn create(&self, _: &BlobKey) -> Result<Box<dyn BlobWriter>, StoreError> {
        Err(Self::error())
    }

    async fn read(&self, _: &BlobKey, _: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        Err(Self::error())
    }

    async fn read_partial(&self, _: &PartialBlob) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        Err(Self::error())
    }

    async fn discard(&self, _: &PartialBlob) -> Result<(), StoreError> {
        Err(Self::error())
    }

    async fn delete(&self, _: &BlobKey) -> Result<(), StoreError> {
        Err(Self::error())
    }

    async fn size_bytes(&self, _: &BlobKey) -> Result<Option<u64>, StoreError> {
        Err(Self::error())
    }

    fn list(&self) -> BoxStream<'static, Result<ListedBlob, StoreError>> {
        stream::iter([Err(Self::error())]).boxed()
    }

    async fn store_id(&self) -> Result<Option<StoreId>, StoreError> {
        Err(Self::error())
    }

    async fn set_store_id(&self, _: &StoreId) -> Result<(), StoreError> {
        Err(Self::error())
    }

    async fn sweep_unpublished(&self, _: Timestamp) -> Result<u64, StoreError> {
        Err(Self::error())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Err(Self::error())
    }
}
