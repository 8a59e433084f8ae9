use std::{mem, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tintype_store::{
    BlobKey, ListedBlob, PartialBlob, StoreError, StoreId, Timestamp,
    blobs::{BlobWriter, Blobs, Persisting, memory::Memory},
};

use super::faults::Faults;

/// The blobs in memory as one process has them, with its faults.
#[derive(Debug)]
pub(super) struct FaultyBlobs {
    pub(super) inner: Memory,
    pub(super) faults: Faults,
}

#[async_trait]
impl Blobs for FaultyBlobs {
    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, StoreError> {
        self.faults.before().await?;
        let writer = Writer { inner: Some(self.inner.create(key).await?), faults: self.faults.clone() };
        self.faults.after(Ok(Box::new(writer) as Box<dyn BlobWriter>)).await
    }

    async fn read(&self, key: &BlobKey, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        self.faults.before().await?;
        let read = self.inner.read(key, range).await;
        self.faults.after(read).await
    }

    async fn read_partial(&self, partial: &PartialBlob) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        self.faults.before().await?;
        let read = self.inner.read_partial(partial).await;
        self.faults.after(read).await
    }

    async fn discard(&self, partial: &PartialBlob) -> Result<(), StoreError> {
        self.faults.before().await?;
        let discarded = self.inner.discard(partial).await;
        self.faults.after(discarded).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        self.faults.before().await?;
        let deleted = self.inner.delete(key).await;
        self.faults.after(deleted).await
    }

    async fn size_bytes(&self, key: &BlobKey) -> Result<Option<u64>, StoreError> {
        self.faults.before().await?;
        let size_bytes = self.inner.size_bytes(key).await;
        self.faults.after(size_bytes).await
    }

    fn list(&self) -> BoxStream<'static, Result<ListedBlob, StoreError>> {
        self.inner.list()
    }

    async fn store_id(&self) -> Result<Option<StoreId>, StoreError> {
        self.faults.before().await?;
        let id = self.inner.store_id().await;
        self.faults.after(id).await
    }

    async fn set_store_id(&self, id: &StoreId) -> Result<(), StoreError> {
        self.inner.set_store_id(id).await
    }

    async fn sweep_unpublished(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.faults.before().await?;
        let swept = self.inner.sweep_unpublished(before).await;
        self.faults.after(swept).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }
}

struct Writer {
    /// `None` once it is published.
    inner: Option<Box<dyn BlobWriter>>,
    faults: Faults,
}

impl Writer {
    fn inner(&mut self) -> &mut dyn BlobWriter {
        &mut **self.inner.as_mut().expect("nobody writes to what is published")
    }
}

#[async_trait]
impl BlobWriter for Writer {
    fn persist_every_bytes(&self) -> u64 {
        self.inner.as_ref().map_or(u64::MAX, |inner| inner.persist_every_bytes())
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.faults.before().await?;
        let written = self.inner().write(bytes).await;
        self.faults.clone().after(written).await
    }

    async fn persist(&mut self) -> Result<Persisting, StoreError> {
        self.faults.before().await?;
        let persisting = self.inner().persist().await?;
        let faults = self.faults.clone();
        Ok(Box::pin(async move { faults.after(persisting.await).await }))
    }

    async fn keep(&mut self, size_bytes: u64) -> Result<String, StoreError> {
        self.faults.before().await?;
        let kept = self.inner().keep(size_bytes).await;
        self.faults.clone().after(kept).await
    }

    async fn publish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.faults.before().await?;
        let inner = self.inner.take().expect("it is published once");
        let published = inner.publish().await;
        self.faults.after(published).await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nobody removes what a dead process had begun.
        if self.faults.life.is_over() {
            mem::forget(self.inner.take());
        }
    }
}
