//! Blobs in memory: for tests of what stands on the port, where a store has to be quick, empty, and on a clock of the test's own.

use std::{
    collections::BTreeMap,
    fmt,
    future::ready,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream, stream::BoxStream};

use super::{BlobWriter, Blobs, CHECKSUM_BLOCK_BYTES, Persisting, keys::KeyParts};
use crate::{BlobKey, Kind, ListedBlob, PartialBlob, StoreError, StoreId, Timestamp, random_hex};

/// A blob store in memory, gone with the process: it keeps every promise of the port but to outlive that. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    id: Option<StoreId>,
    published: BTreeMap<String, Written>,
    /// By the place of each.
    unpublished: BTreeMap<String, Written>,
}

#[derive(Debug, Clone)]
struct Written {
    bytes: BytesMut,
    at: Timestamp,
}

impl Memory {
    /// An empty store without a name, which asks this clock when something is written.
    pub fn new(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { shared: Arc::new(Shared { clock: Box::new(clock), state: Mutex::default() }) }
    }

    /// How many blobs are being written, or were and are neither published nor removed.
    pub fn unpublished_count(&self) -> usize {
        self.shared.state().unpublished.len()
    }
}

impl Shared {
    /// The state is whole between any two of its changes.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Blobs for Memory {
    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, StoreError> {
        KeyParts::of(key)?;
        let place = random_hex();
        let begun = Written { bytes: BytesMut::new(), at: (self.shared.clock)() };
        self.shared.state().unpublished.insert(place.clone(), begun);
        Ok(Box::new(Writer { shared: Arc::clone(&self.shared), key: key.clone(), place, kept: false }))
    }

    async fn read(&self, key: &BlobKey, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        KeyParts::of(key)?;
        pieces(self.shared.state().published.get(&key.0), key, range)
    }

    async fn read_partial(&self, partial: &PartialBlob) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        let now = (self.shared.clock)();
        let mut state = self.shared.state();
        let written = state.unpublished.get_mut(&partial.place).map(|written| {
            written.at = now;
            &*written
        });
        pieces(written, &partial.key, 0..partial.size_bytes)
    }

    async fn discard(&self, partial: &PartialBlob) -> Result<(), StoreError> {
        self.shared.state().unpublished.remove(&partial.place);
        self.delete(&partial.key).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        KeyParts::of(key)?;
        self.shared.state().published.remove(&key.0);
        Ok(())
    }

    async fn size_bytes(&self, key: &BlobKey) -> Result<Option<u64>, StoreError> {
        Ok(self.shared.state().published.get(&key.0).map(|blob| blob.bytes.len() as u64))
    }

    fn list(&self) -> BoxStream<'static, Result<ListedBlob, StoreError>> {
        let listed = |(key, blob): (&String, &Written)| {
            Ok(ListedBlob { key: BlobKey(key.clone()), size_bytes: blob.bytes.len() as u64, written_at: blob.at })
        };
        let all: Vec<_> = self.shared.state().published.iter().map(listed).collect();
        stream::iter(all).boxed()
    }

    async fn store_id(&self) -> Result<Option<StoreId>, StoreError> {
        Ok(self.shared.state().id.clone())
    }

    async fn set_store_id(&self, id: &StoreId) -> Result<(), StoreError> {
        self.shared.state().id.get_or_insert_with(|| id.clone());
        Ok(())
    }

    async fn sweep_unpublished(&self, before: Timestamp) -> Result<u64, StoreError> {
        let unpublished = &mut self.shared.state().unpublished;
        let count = unpublished.len();
        unpublished.retain(|_, begun| begun.at >= before);
        Ok((count - unpublished.len()) as u64)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state();
        f.debug_struct("Memory").field("published", &state.published.len()).field("unpublished", &state.unpublished.len()).finish()
    }
}

/// The bytes of `range` in pieces that end at blocks, taken now: what happens to the blob later does not change them.
fn pieces(blob: Option<&Written>, key: &BlobKey, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
    let blob = blob.ok_or_else(|| StoreError::new(Kind::Corrupt, format!("blob {key} is missing")))?;
    let size_bytes = blob.bytes.len() as u64;
    if size_bytes < range.end {
        let message = format!("blob {key} ends after {size_bytes} bytes, before byte {}", range.end);
        return Err(StoreError::new(Kind::Corrupt, message));
    }
    let mut left = Bytes::copy_from_slice(&blob.bytes[range.start as usize..range.end as usize]);
    let mut next = CHECKSUM_BLOCK_BYTES - range.start as usize % CHECKSUM_BLOCK_BYTES;
    let mut pieces = Vec::new();
    while !left.is_empty() {
        pieces.push(Ok(left.split_to(next.min(left.len()))));
        next = CHECKSUM_BLOCK_BYTES;
    }
    Ok(stream::iter(pieces).boxed())
}

struct Writer {
    shared: Arc<Shared>,
    key: BlobKey,
    place: String,
    kept: bool,
}

impl Writer {
    fn swept(&self) -> StoreError {
        StoreError::new(Kind::Conflict, format!("what was written of blob {} was removed", self.key))
    }
}

#[async_trait]
impl BlobWriter for Writer {
    fn persist_every_bytes(&self) -> u64 {
        CHECKSUM_BLOCK_BYTES as u64
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let now = (self.shared.clock)();
        let mut state = self.shared.state();
        let written = state.unpublished.get_mut(&self.place).ok_or_else(|| self.swept())?;
        written.bytes.extend_from_slice(&bytes);
        written.at = now;
        Ok(())
    }

    async fn persist(&mut self) -> Result<Persisting, StoreError> {
        let size_bytes = self.shared.state().unpublished.get(&self.place).map(|written| written.bytes.len() as u64);
        Ok(Box::pin(ready(size_bytes.ok_or_else(|| self.swept()))))
    }

    async fn keep(&mut self, _: u64) -> Result<String, StoreError> {
        self.kept = true;
        Ok(self.place.clone())
    }

    async fn publish(self: Box<Self>) -> Result<(), StoreError> {
        let now = (self.shared.clock)();
        let mut state = self.shared.state();
        let written = state.unpublished.remove(&self.place).ok_or_else(|| self.swept())?;
        state.published.insert(self.key.0.clone(), Written { at: now, ..written });
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.kept {
            self.shared.state().unpublished.remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::blobs::{Damage, Fixture};

    #[async_trait]
    impl Fixture for Memory {
        fn blobs(&self) -> &dyn Blobs {
            self
        }

        async fn damage(&self, key: &BlobKey, damage: Damage) {
            let mut state = self.shared.state();
            let blob = state.published.get_mut(&key.0).expect("the blob is there");
            match damage {
                Damage::FlipBit(offset) => blob.bytes[offset as usize] ^= 4,
                Damage::Truncate(size) => blob.bytes.truncate(size as usize),
                Damage::Remove => drop(state.published.remove(&key.0)),
            }
        }
    }

    crate::blobs_suite!(conformance, async { Memory::new(Timestamp::now) });
}
