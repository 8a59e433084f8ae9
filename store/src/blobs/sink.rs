use bytes::{Bytes, BytesMut};

use super::{BlobWriter, Blobs, CHECKSUM_BLOCK_BYTES, ContentHasher};
use crate::{BlobKey, StoreError, StoredBlob};

/// Writes a blob in whole blocks, whatever the size of the pieces that come, and measures it on the way. Holds one block at most.
pub struct BlobSink {
    key: BlobKey,
    writer: Box<dyn BlobWriter>,
    hasher: ContentHasher,
    block: BytesMut,
}

impl BlobSink {
    /// Begins a blob under a fresh key.
    pub async fn create(blobs: &dyn Blobs, key: BlobKey) -> Result<Self, StoreError> {
        let writer = blobs.create(&key).await?;
        Ok(Self { key, writer, hasher: ContentHasher::default(), block: BytesMut::new() })
    }

    /// The next bytes. Not durable when it returns.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        self.hasher.update(&bytes);
        while self.block.len() + bytes.len() >= CHECKSUM_BLOCK_BYTES {
            let rest = bytes.split_off(CHECKSUM_BLOCK_BYTES - self.block.len());
            let block = self.take_block(bytes);
            self.writer.write(block).await?;
            bytes = rest;
        }
        self.block.extend_from_slice(&bytes);
        Ok(())
    }

    /// How many bytes came.
    pub fn size_bytes(&self) -> u64 {
        self.hasher.size_bytes()
    }

    /// SHA-256 of the bytes that came.
    pub fn sha256(&self) -> [u8; 32] {
        self.hasher.clone().finish().sha256
    }

    /// Returns when all bytes that came are on stable storage.
    pub async fn persist(&mut self) -> Result<(), StoreError> {
        self.flush().await?;
        self.writer.persist().await
    }

    /// Makes the blob readable. Durable when it returns.
    pub async fn publish(mut self) -> Result<StoredBlob, StoreError> {
        self.flush().await?;
        self.writer.publish().await?;
        Ok(StoredBlob { key: self.key, digest: self.hasher.finish() })
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = self.take_block(Bytes::new());
        self.writer.write(block).await
    }

    /// What is held and then `bytes`, without a copy when nothing is held.
    fn take_block(&mut self, bytes: Bytes) -> Bytes {
        if self.block.is_empty() {
            return bytes;
        }
        self.block.extend_from_slice(&bytes);
        self.block.split().freeze()
    }
}
