use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{BlobWriter, Blobs, CHECKSUM_BLOCK_BYTES, ContentHasher, writing::Writing};
use crate::{BlobKey, Kind, PartialBlob, StoreError, StoredBlob};

/// Whole blocks that wait while another one is measured and written.
const WAITING_BLOCKS: usize = 1;

/// Writes a blob in whole blocks, whatever the size of the pieces that come, and measures it on the way. Both happen beside the caller, and what
/// went wrong is told by a later call. Holds three blocks at most, and what of a larger piece waits to be written.
///
/// No call loses anything when it is cut off: what it took is still written.
pub struct BlobSink {
    key: BlobKey,
    size_bytes: u64,
    /// The block that is being filled.
    block: BytesMut,
    /// Whole blocks that were not handed over yet.
    queued: VecDeque<Bytes>,
    work: Work,
    persisted: watch::Receiver<u64>,
}

enum Work {
    Idle(Box<Writing>),
    Running {
        /// `None` when its end is awaited.
        blocks: Option<mpsc::Sender<Bytes>>,
        task: JoinHandle<Result<Box<Writing>, StoreError>>,
    },
    /// It failed, and that was told.
    Failed,
}

impl BlobSink {
    /// Begins a blob under a fresh key.
    pub async fn create(blobs: &dyn Blobs, key: BlobKey) -> Result<Self, StoreError> {
        let writer = blobs.create(&key).await?;
        Ok(Self::new(key, writer))
    }

    fn new(key: BlobKey, writer: Box<dyn BlobWriter>) -> Self {
        let sender = watch::Sender::new(0);
        let persisted = sender.subscribe();
        let writing = Writing { writer, hasher: ContentHasher::default(), persisted: sender };
        Self { key, size_bytes: 0, block: BytesMut::new(), queued: VecDeque::new(), work: Work::Idle(Box::new(writing)), persisted }
    }

    /// The next bytes. Not durable when it returns.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        self.size_bytes += bytes.len() as u64;
        while self.block.len() + bytes.len() >= CHECKSUM_BLOCK_BYTES {
            let rest = bytes.split_off(CHECKSUM_BLOCK_BYTES - self.block.len());
            let block = self.take_block(bytes);
            self.queued.push_back(block);
            bytes = rest;
        }
        self.block.extend_from_slice(&bytes);
        self.hand_over().await
    }

    /// How many bytes came.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// SHA-256 of the bytes that came.
    pub async fn sha256(&mut self) -> Result<[u8; 32], StoreError> {
        Ok(self.flushed().await?.hasher.clone().finish().sha256)
    }

    /// Makes durable what can be by now. Returns how many bytes, from the first on, are on stable storage: all that came in a folder, a part or
    /// two less on S3.
    pub async fn persist(&mut self) -> Result<u64, StoreError> {
        self.flushed().await?.persist().await
    }

    /// Waits until more than `above_bytes` are on stable storage, and returns how many are. Every so many ([`BlobWriter::persist_every_bytes`])
    /// become durable by themselves soon after they came, on S3 when more follow. Waits for ever when no more will be; fails when that can be known.
    pub async fn persisted(&mut self, above_bytes: u64) -> Result<u64, StoreError> {
        if let Ok(persisted) = self.persisted.wait_for(|persisted| *persisted > above_bytes).await {
            return Ok(*persisted);
        }
        self.idle().await?;
        Err(failed_before())
    }

    /// Lets what is durable by now outlive the sink: it can be found again and read, or has to be discarded. `None` when no more than
    /// `above_bytes` are durable: then the sink is as it was.
    pub async fn keep(&mut self, above_bytes: u64) -> Result<Option<PartialBlob>, StoreError> {
        let writing = self.idle().await?;
        let (mut size_bytes, measured_bytes) = (*writing.persisted.borrow(), writing.hasher.size_bytes());
        if size_bytes < measured_bytes {
            // Checksums are of whole blocks, but for the last one of all.
            size_bytes -= size_bytes % CHECKSUM_BLOCK_BYTES as u64;
        }
        if size_bytes <= above_bytes {
            return Ok(None);
        }
        let blocks = size_bytes.div_ceil(CHECKSUM_BLOCK_BYTES as u64) as usize;
        let block_crc32c = writing.hasher.block_crc32c()[..blocks].to_vec();
        let place = writing.writer.keep(size_bytes).await?;
        Ok(Some(PartialBlob { key: self.key.clone(), place, size_bytes, block_crc32c }))
    }

    /// Makes the blob readable. Durable when it returns.
    pub async fn publish(mut self) -> Result<StoredBlob, StoreError> {
        self.flushed().await?;
        let Work::Idle(writing) = self.work else { return Err(failed_before()) };
        writing.writer.publish().await?;
        Ok(StoredBlob { key: self.key, digest: writing.hasher.finish() })
    }

    /// Has all that came measured and written.
    async fn flushed(&mut self) -> Result<&mut Writing, StoreError> {
        if !self.block.is_empty() {
            let block = self.take_block(Bytes::new());
            self.queued.push_back(block);
        }
        self.hand_over().await?;
        self.idle().await
    }

    /// Hands over what is queued, and waits only while too much of it waits already.
    async fn hand_over(&mut self) -> Result<(), StoreError> {
        while !self.queued.is_empty() {
            if let Work::Running { blocks: Some(blocks), .. } = &self.work
                && let Ok(room) = blocks.reserve().await
            {
                if let Some(block) = self.queued.pop_front() {
                    room.send(block);
                }
                continue;
            }
            // It does not run, or it failed.
            self.idle().await?;
            self.run();
        }
        Ok(())
    }

    /// Sets it running, if it can.
    fn run(&mut self) {
        self.work = match std::mem::replace(&mut self.work, Work::Failed) {
            Work::Idle(writing) => {
                let (blocks, receiver) = mpsc::channel(WAITING_BLOCKS);
                Work::Running { blocks: Some(blocks), task: tokio::spawn(writing.run(receiver)) }
            }
            work => work,
        };
    }

    /// Waits until what was handed over is measured and written.
    async fn idle(&mut self) -> Result<&mut Writing, StoreError> {
        if let Work::Running { blocks, task } = &mut self.work {
            *blocks = None;
            let ended = task.await;
            self.work = Work::Failed;
            let ended = ended.map_err(|error| StoreError::caused_by(Kind::Internal, "writing a blob did not come to its end", error))?;
            self.work = Work::Idle(ended?);
        }
        match &mut self.work {
            Work::Idle(writing) => Ok(writing),
            _ => Err(failed_before()),
        }
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

fn failed_before() -> StoreError {
    StoreError::new(Kind::Internal, "the blob could not be written before")
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::{Arc, Mutex},
    };

    use async_trait::async_trait;
    use futures_util::FutureExt;

    use super::*;
    use crate::blobs::Persisting;

    /// Notes the size of every write, and has room for so many.
    struct Recorder {
        sizes: Arc<Mutex<Vec<usize>>>,
        room: usize,
    }

    #[async_trait]
    impl BlobWriter for Recorder {
        fn persist_every_bytes(&self) -> u64 {
            8 << 20
        }

        async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
            let mut sizes = self.sizes.lock().expect("no test panics with the lock");
            if sizes.len() == self.room {
                return Err(StoreError::new(Kind::Full, "there is no more room"));
            }
            sizes.push(bytes.len());
            Ok(())
        }

        async fn persist(&mut self) -> Result<Persisting, StoreError> {
            let size_bytes = self.sizes.lock().expect("no test panics with the lock").iter().sum::<usize>();
            Ok(Box::pin(ready(Ok(size_bytes as u64))))
        }

        async fn keep(&mut self, _: u64) -> Result<String, StoreError> {
            Ok(String::new())
        }

        async fn publish(self: Box<Self>) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn sink(room: usize) -> (BlobSink, Arc<Mutex<Vec<usize>>>) {
        let sizes = Arc::default();
        let writer = Box::new(Recorder { sizes: Arc::clone(&sizes), room });
        (BlobSink::new(BlobKey("of no use".into()), writer), sizes)
    }

    async fn writes(pieces: &[usize]) -> Vec<usize> {
        let (mut sink, sizes) = sink(usize::MAX);
        for piece in pieces {
            sink.write(vec![7; *piece].into()).await.expect("there is room");
        }
        let blob = sink.publish().await.expect("there is room");
        assert_eq!(blob.digest.size_bytes, pieces.iter().sum::<usize>() as u64);
        sizes.lock().expect("no test panics with the lock").clone()
    }

    #[tokio::test]
    async fn what_becomes_durable_is_told_without_another_call() {
        let (mut sink, _) = sink(usize::MAX);
        sink.write(vec![7; 9 << 20].into()).await.expect("there is room");
        let first = sink.persisted(0).await.expect("8 MiB are durable");
        sink.write(vec![7; 9 << 20].into()).await.expect("there is room");
        let second = sink.persisted(first).await.expect("and 8 MiB more");
        assert!((8 << 20..=9 << 20).contains(&first) && (16 << 20..=18 << 20).contains(&second), "{first}, then {second}");
        let kept = sink.keep(0).await.expect("it is kept").expect("something is durable");
        assert!(kept.size_bytes >= second && kept.block_crc32c.len() == (kept.size_bytes >> 18) as usize, "{kept:?}");
    }

    #[tokio::test]
    async fn a_failure_is_told_by_whoever_asks_next() {
        const BLOCK: usize = CHECKSUM_BLOCK_BYTES;
        let (mut waiting, _) = sink(1);
        waiting.write(vec![7; 2 * BLOCK].into()).await.expect("it is taken");
        assert_eq!(waiting.persisted(0).await.map_err(|error| error.kind()), Err(Kind::Full));
        assert_eq!(waiting.write(vec![7; BLOCK].into()).await.map_err(|error| error.kind()), Err(Kind::Internal), "it was told");
        let (mut publishing, _) = sink(1);
        publishing.write(vec![7; 2 * BLOCK].into()).await.expect("it is taken");
        assert_eq!(publishing.publish().await.map_err(|error| error.kind()), Err(Kind::Full));
    }

    #[tokio::test]
    async fn a_call_that_is_cut_off_loses_nothing() {
        let bytes: Bytes = (0..20 * CHECKSUM_BLOCK_BYTES + 5).map(|at| (at % 251) as u8).collect();
        let mut whole = ContentHasher::default();
        whole.update(&bytes);
        let (mut sink, _) = sink(usize::MAX);
        assert!(sink.write(bytes).now_or_never().is_none(), "it has to wait");
        assert!(sink.persist().now_or_never().is_none(), "it has to wait");
        assert_eq!(sink.publish().await.expect("there is room").digest, whole.finish());
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
