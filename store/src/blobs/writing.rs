use bytes::Bytes;
use futures_util::future::OptionFuture;
use tokio::sync::{mpsc, watch};

use super::{BlobWriter, ContentHasher, Persisting};
use crate::StoreError;

/// The half of a [`BlobSink`](super::BlobSink) that runs beside its caller: measures, writes and makes durable while the next bytes arrive.
pub(super) struct Writing {
    pub(super) writer: Box<dyn BlobWriter>,
    pub(super) hasher: ContentHasher,
    /// How many bytes are on stable storage.
    pub(super) persisted: watch::Sender<u64>,
}

impl Writing {
    /// Takes blocks until no more can come, and waits for what it began.
    pub(super) async fn run(mut self: Box<Self>, mut blocks: mpsc::Receiver<Bytes>) -> Result<Box<Self>, StoreError> {
        let mut persisting: Option<Persisting> = None;
        let mut asked_at = 0;
        loop {
            tokio::select! {
                block = blocks.recv() => match block {
                    Some(block) => self.take(block).await?,
                    None => break,
                },
                Some(persisted) = OptionFuture::from(persisting.as_mut()) => {
                    persisting = None;
                    self.persisted.send_replace(persisted?);
                }
            }
            let size_bytes = self.hasher.size_bytes();
            // A store that makes durable in larger steps is asked again with the next block.
            if persisting.is_none() && size_bytes > asked_at && size_bytes - *self.persisted.borrow() >= self.writer.persist_every_bytes() {
                asked_at = size_bytes;
                persisting = Some(self.writer.persist().await?);
            }
        }
        if let Some(persisting) = persisting {
            self.persisted.send_replace(persisting.await?);
        }
        Ok(self)
    }

    /// Makes durable what can be, and waits for it.
    pub(super) async fn persist(&mut self) -> Result<u64, StoreError> {
        let persisted = self.writer.persist().await?.await?;
        self.persisted.send_replace(persisted);
        Ok(persisted)
    }

    /// Measures while the store writes.
    async fn take(&mut self, block: Bytes) -> Result<(), StoreError> {
        let hasher = &mut self.hasher;
        let (written, ()) = tokio::join!(self.writer.write(block.clone()), async { hasher.update(&block) });
        written
    }
}
