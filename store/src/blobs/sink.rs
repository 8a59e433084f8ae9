use bytes::{Bytes, BytesMut};

use super::{BlobWriter, Blobs, CHECKSUM_BLOCK_BYTES, ContentHasher};
use crate::{BlobKey, PartialBlob, StoreError, StoredBlob};

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

    /// Makes durable what can be by now. Returns how many bytes, from the first on, are on stable storage: all that came in a folder, a part or
    /// two less on S3.
    pub async fn persist(&mut self) -> Result<u64, StoreError> {
        self.flush().await?;
        self.writer.persist().await
    }

    /// Makes durable what can be by now and lets it outlive the sink: it can be found again and read, or has to be discarded. `None` when no more
    /// than `above_bytes` are durable: then the sink is as it was.
    pub async fn keep(&mut self, above_bytes: u64) -> Result<Option<PartialBlob>, StoreError> {
        let size_bytes = self.persist().await?;
        if size_bytes <= above_bytes {
            return Ok(None);
        }
        // Where not all is durable the rest begins with a part, and so with a block.
        let blocks = size_bytes.div_ceil(CHECKSUM_BLOCK_BYTES as u64) as usize;
        let block_crc32c = self.hasher.block_crc32c()[..blocks].to_vec();
        let place = self.writer.keep().await?;
        Ok(Some(PartialBlob { key: self.key.clone(), place, size_bytes, block_crc32c }))
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;

    use super::*;

    /// Notes the size of every write.
    struct Recorder(Arc<Mutex<Vec<usize>>>);

    #[async_trait]
    impl BlobWriter for Recorder {
        async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
            self.0.lock().expect("no test panics with the lock").push(bytes.len());
            Ok(())
        }

        async fn persist(&mut self) -> Result<u64, StoreError> {
            Ok(0)
        }

        async fn keep(&mut self) -> Result<String, StoreError> {
            Ok(String::new())
        }

        async fn publish(self: Box<Self>) -> Result<(), StoreError> {
            Ok(())
        }
    }

    async fn writes(pieces: &[usize]) -> Vec<usize> {
        let sizes = Arc::default();
        let writer = Box::new(Recorder(Arc::clone(&sizes)));
        let key = BlobKey("of no use".into());
        let mut sink = BlobSink { key, writer, hasher: ContentHasher::default(), block: BytesMut::new() };
        for piece in pieces {
            sink.write(vec![7; *piece].into()).await.expect("the recorder never fails");
        }
        let blob = sink.publish().await.expect("the recorder never fails");
        assert_eq!(blob.digest.size_bytes, pieces.iter().sum::<usize>() as u64);
        sizes.lock().expect("no test panics with the lock").clone()
    }

    #[tokio::test]
    async fn pieces_become_whole_blocks() {
        const BLOCK: usize = CHECKSUM_BLOCK_BYTES;
        assert_eq!(writes(&[]).await, Vec::<usize>::new());
        assert_eq!(writes(&[0, 5, 0, 6]).await, [11]);
        assert_eq!(writes(&[BLOCK, BLOCK]).await, [BLOCK, BLOCK]);
        assert_eq!(writes(&[1, 2 * BLOCK + 3]).await, [BLOCK, BLOCK, 4]);
        assert_eq!(writes(&[BLOCK / 3; 7]).await, [BLOCK, BLOCK, 7 * (BLOCK / 3) - 2 * BLOCK]);
    }
}
