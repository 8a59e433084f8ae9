//! Removes the bytes of what was deleted.

use std::{future::ready, pin::pin, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, error::Elapsed, timeout_at};

use crate::{Kind, StoreError, Timestamp, open::Stores};

/// Blobs removed at once.
const AT_ONCE: usize = 8;

/// How much is removed.
struct Portion {
    /// Blobs that one statement names.
    batch: u32,
    max_batches: u32,
    time: Duration,
}

/// By a sweep: enough to catch up quickly, short enough not to hold up what comes after.
const SWEPT: Portion = Portion { batch: 500, max_batches: 20, time: Duration::from_secs(10) };
/// While somebody waits: some images' worth.
const SOON: Portion = Portion { batch: 32, max_batches: 1, time: Duration::from_secs(2) };

/// Removes the blobs of deleted images, the bytes first and then what the catalog knows of them. Returns how many.
///
/// A blob that cannot be removed, or not in the time there is, does not keep the others from it: it stays doomed, and its turn comes after theirs.
/// A store that is slow about it does not hold up the other steps of a sweep: after 10 s this ends.
pub async fn remove_doomed(stores: &Stores, now: Timestamp) -> Result<u64, StoreError> {
    remove(stores, &SWEPT, now).await
}

/// As much of [`remove_doomed`] as is done while somebody waits who was promised that the images are gone, not their bytes: a few blobs, for 2 s
/// at most.
pub async fn remove_doomed_soon(stores: &Stores, now: Timestamp) -> Result<u64, StoreError> {
    remove(stores, &SOON, now).await
}

async fn remove(stores: &Stores, portion: &Portion, now: Timestamp) -> Result<u64, StoreError> {
    let deadline = Instant::now() + portion.time;
    let late = |late: Elapsed| StoreError::caused_by(Kind::Unavailable, format!("blobs were not removed within {:?}", portion.time), late);
    let mut removed = 0;
    for batch in 0..portion.max_batches {
        if Instant::now() >= deadline {
            break;
        }
        let doomed = stores.catalog.doomed_blobs(portion.batch).await?;
        if doomed.is_empty() {
            break;
        }
        if batch == 0 {
            timeout_at(deadline, stores.check_same_store()).await.unwrap_or_else(|elapsed| Err(late(elapsed)))?;
        }
        let was_full = doomed.len() >= portion.batch as usize;
        let (mut gone, mut left, mut failed) = (Vec::with_capacity(doomed.len()), Vec::new(), None);
        let removals = stream::iter(doomed).take_while(|_| ready(Instant::now() < deadline));
        let removals = removals.map(async |key| {
            let removal = timeout_at(deadline, stores.blobs.delete(&key)).await;
            (key, removal.unwrap_or_else(|elapsed| Err(late(elapsed))))
        });
        let mut removals = pin!(removals.buffer_unordered(AT_ONCE));
        while let Some((key, removal)) = removals.next().await {
            match removal {
                Ok(()) => gone.push(key),
                Err(error) => {
                    left.push(key);
                    failed = failed.or(Some(error));
                }
            }
        }
        stores.catalog.forget_blobs(&gone).await?;
        removed += gone.len() as u64;
        if let Some(error) = failed {
            stores.catalog.postpone_blobs(&left, now).await?;
            return Err(error);
        }
        if !was_full {
            break;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::{fs, ops::Range, sync::Arc};

    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::stream::BoxStream;

    use super::*;
    use crate::{
        BlobKey, ListedBlob, PartialBlob, StoreId,
        blobs::{BlobWriter, Blobs},
        world::World,
    };

    /// Blobs of which one is never removed, nor is anything said of it.
    #[derive(Debug)]
    struct Hanging {
        inner: Arc<dyn Blobs>,
        key: BlobKey,
    }

    #[async_trait]
    impl Blobs for Hanging {
        async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, StoreError> {
            self.inner.create(key).await
        }

        async fn read(&self, key: &BlobKey, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
            self.inner.read(key, range).await
        }

        async fn read_partial(&self, partial: &PartialBlob) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
            self.inner.read_partial(partial).await
        }

        async fn discard(&self, partial: &PartialBlob) -> Result<(), StoreError> {
            self.inner.discard(partial).await
        }

        async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
            if *key == self.key {
                std::future::pending::<()>().await;
            }
            self.inner.delete(key).await
        }

        async fn size_bytes(&self, key: &BlobKey) -> Result<Option<u64>, StoreError> {
            self.inner.size_bytes(key).await
        }

        fn list(&self) -> BoxStream<'static, Result<ListedBlob, StoreError>> {
            self.inner.list()
        }

        async fn store_id(&self) -> Result<Option<StoreId>, StoreError> {
            self.inner.store_id().await
        }

        async fn set_store_id(&self, id: &StoreId) -> Result<(), StoreError> {
            self.inner.set_store_id(id).await
        }

        async fn sweep_unpublished(&self, before: Timestamp) -> Result<u64, StoreError> {
            self.inner.sweep_unpublished(before).await
        }

        async fn ping(&self) -> Result<(), StoreError> {
            self.inner.ping().await
        }
    }

    impl World {
        fn later(&self) -> Timestamp {
            self.start.plus(Duration::from_secs(1))
        }

        async fn doomed(&self) -> Vec<BlobKey> {
            self.stores.catalog.doomed_blobs(1000).await.expect("doomed blobs")
        }
    }

    #[tokio::test]
    async fn blobs_of_deleted_images_are_removed() {
        let world = World::new().await;
        let (deleted, kept) = (world.deleted_image().await, world.image().await);
        assert_eq!(remove_doomed(&world.stores, world.later()).await.expect("they can be removed"), 1);
        assert!(!world.has(&deleted.blob) && world.has(&kept.blob));
        assert_eq!(remove_doomed(&world.stores, world.later()).await.expect("there is nothing left"), 0);
    }

    #[tokio::test]
    async fn while_somebody_waits_a_few_blobs_are_removed_however_many_there_are() {
        let world = World::new().await;
        for _ in 0..=SOON.batch {
            world.deleted_image().await;
        }
        let soon = Portion { time: Duration::from_mins(1), ..SOON };
        assert_eq!(remove(&world.stores, &soon, world.later()).await.expect("they can be removed"), u64::from(SOON.batch));
        assert_eq!(world.doomed().await.len(), 1);
        assert_eq!(remove_doomed(&world.stores, world.later()).await.expect("the rest can be removed"), 1);
    }

    #[tokio::test]
    async fn a_removal_that_hangs_keeps_nobody_waiting_and_nothing_else_from_being_removed_and_forgotten() {
        let mut world = World::new().await;
        let hanging = world.deleted_image().await.blob;
        let others = [world.deleted_image().await.blob, world.deleted_image().await.blob];
        world.stores.blobs = Arc::new(Hanging { inner: world.stores.blobs.clone(), key: hanging.clone() });
        let soon = Portion { time: Duration::from_secs(10), ..SOON };
        let error = remove(&world.stores, &soon, world.later()).await.expect_err("one is not removed");
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert!(others.iter().all(|key| !world.has(key)));
        assert_eq!(world.doomed().await, [hanging]);
    }

    #[tokio::test]
    async fn blobs_that_cannot_be_removed_do_not_take_the_turn_of_others() {
        let world = World::new().await;
        let portion = Portion { batch: 2, max_batches: 1, time: SWEPT.time };
        let mut stuck = [world.deleted_image().await.blob, world.deleted_image().await.blob];
        for key in &stuck {
            let path = world.folder.path().join("blobs").join(&key.0);
            fs::remove_file(&path).expect("it is there");
            fs::create_dir(&path).expect("a folder cannot be removed as a file");
        }
        let image = world.image().await;
        assert!(world.stores.catalog.delete_image(image.id, world.later()).await.expect("an image can be deleted"));
        remove(&world.stores, &portion, world.later().plus(Duration::from_secs(1))).await.expect_err("neither can be removed");
        remove(&world.stores, &portion, world.later().plus(Duration::from_secs(2))).await.expect_err("one of them cannot be removed");
        assert!(!world.has(&image.blob));
        let mut doomed = world.doomed().await;
        doomed.sort_by(|a, b| a.0.cmp(&b.0));
        stuck.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(doomed, stuck);
    }
}
