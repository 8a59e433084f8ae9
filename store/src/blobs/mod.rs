//! The port to the bytes: immutable once they have a name. Adapters: [`Folder`](folder::Folder), [`S3`](s3::S3), and for tests
//! [`Memory`](memory::Memory).
//!
//! Callers use the two halves that keep the promises: [`BlobSink`] writes and measures, [`read_checked`] reads and compares.

mod checksum;
pub mod folder;
mod keys;
pub mod memory;
mod read;
pub mod s3;
mod sink;
mod writing;

use std::{fmt::Debug, ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};

use crate::{AnnouncedFile, BlobKey, ListedBlob, PartialBlob, StoreError, StoreId, Timestamp};

pub use checksum::ContentHasher;
pub use read::{read_checked, read_partial_checked};
pub use sink::BlobSink;

/// Bytes that share one checksum, and the unit in which blobs are read and sent: 256 KiB.
pub const CHECKSUM_BLOCK_BYTES: usize = 256 << 10;

/// Where blobs are kept.
#[async_trait]
pub trait Blobs: Debug + Send + Sync + 'static {
    /// Begins a blob. Nothing can be read under `key` before [`BlobWriter::publish`].
    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, StoreError>;

    /// Streams the bytes of `range` in pieces that begin and end at multiples of [`CHECKSUM_BLOCK_BYTES`] or at the ends of the range.
    /// One piece is held at a time, and what nobody polls is not read. `Kind::Corrupt` when the blob is missing or shorter than the range.
    async fn read(&self, key: &BlobKey, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError>;

    /// Streams all bytes of a blob that was kept before it was published, in pieces like [`read`](Self::read). Whoever still writes it can
    /// add nothing to what is read here, and for [`sweep_unpublished`](Self::sweep_unpublished) it was written to just now. `Kind::Corrupt` when it
    /// is gone, say because it was published after all.
    async fn read_partial(&self, partial: &PartialBlob) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError>;

    /// Removes what was kept of a blob, and the blob itself should it have been published; also fine when there is nothing.
    async fn discard(&self, partial: &PartialBlob) -> Result<(), StoreError>;

    /// Removes a blob; also fine when there is none.
    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError>;

    /// How many bytes a published blob has; `None` when there is none. Reads none of them.
    async fn size_bytes(&self, key: &BlobKey) -> Result<Option<u64>, StoreError>;

    /// Streams what is published, in no order and in constant memory. What comes or goes meanwhile may be in it or not.
    fn list(&self) -> BoxStream<'static, Result<ListedBlob, StoreError>>;

    /// The id written by [`set_store_id`](Self::set_store_id); `None` in a new store.
    async fn store_id(&self) -> Result<Option<StoreId>, StoreError>;

    /// Names the store, durably. Of several at once one wins; ask for the result with [`store_id`](Self::store_id).
    async fn set_store_id(&self, id: &StoreId) -> Result<(), StoreError>;

    /// Removes what writers left behind that were last written to before `before` and never published; a store that cannot tell counts from
    /// when they began, and leaves what unfinished uploads name. Bounded: what is left over is taken by the next call. Returns how many.
    async fn sweep_unpublished(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Signs a request with which somebody without an account puts this file under `key` by himself, for `ttl` from now. What came by it is read
    /// like any blob, and is to be compared with what was announced. `None`, as here, where the store is reached through this program alone.
    async fn sign_put(&self, _key: &BlobKey, _file: &AnnouncedFile, _ttl: Duration) -> Result<Option<SignedPut>, StoreError> {
        Ok(None)
    }

    /// Answers when blobs can be read and, where trying costs nothing, written.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Bytes on their way to stable storage. Dropping it stops nothing.
pub type Persisting = BoxFuture<'static, Result<u64, StoreError>>;

/// A PUT that the blob store takes from anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPut {
    /// Where to.
    pub url: String,
    /// Names, in lower case, and values of the headers that have to be sent just so.
    pub headers: Vec<(String, String)>,
}

/// A blob being written. Dropping it before [`publish`](Self::publish) removes what was written, unless it is to be kept.
#[async_trait]
pub trait BlobWriter: Send + Sync {
    /// After how many bytes it is worth to make them durable: each time costs a flush of the disk, or a request.
    fn persist_every_bytes(&self) -> u64;

    /// Appends.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Begins to make durable what can be before the end of the blob is known: in a folder all that was written, on S3 whole parts. What it
    /// returns tells at its end how many bytes, from the first on, are on stable storage; meanwhile more may be written.
    async fn persist(&mut self) -> Result<Persisting, StoreError>;

    /// Lets the first `size_bytes`, which [`persist`](Self::persist) told to be durable, outlive this writer, for [`Blobs::read_partial`] and
    /// [`Blobs::discard`], and returns the place by which they find them. Durable when it returns. A later call tells the place of more.
    async fn keep(&mut self, size_bytes: u64) -> Result<String, StoreError>;

    /// Makes the blob readable under its key. Durable when it returns: bytes, name and folders. `Kind::Conflict` when somebody has removed what
    /// was written.
    async fn publish(self: Box<Self>) -> Result<(), StoreError>;
}
