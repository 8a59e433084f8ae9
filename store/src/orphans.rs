//! Blobs that no row names: what is left when a process dies between the bytes and the row.

use std::{fmt, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use crate::{BlobKey, ListedBlob, StoreError, Timestamp, open::Stores};

/// How many blobs one step looks at.
const BATCH: usize = 500;
/// Blobs removed at once.
const AT_ONCE: usize = 8;

/// When a blob without a row is no more waited for. Longer than any upload or conversion may take, so that no row comes after all.
pub const KEEP_UNRECORDED: Duration = Duration::from_hours(48);
/// From the end of one pass through the store to the beginning of the next.
pub const PASS_INTERVAL: Duration = Duration::from_hours(1);

/// Goes through the blob store again and again, a few blobs at a time, and removes those that are older than [`KEEP_UNRECORDED`] and that no
/// row of the catalog names. A row whose blob is gone is not its concern.
///
/// Safe beside anything, any number at a time. Where it is in its pass is forgotten with the process: the next one begins anew.
#[derive(Default)]
pub struct OrphanSweeper {
    listing: Option<BoxStream<'static, Result<ListedBlob, StoreError>>>,
    passed_at: Option<Timestamp>,
}

impl OrphanSweeper {
    /// Looks at up to 500 blobs and removes those of them that are orphans. Returns how many. `Kind::Misconfigured`, and nothing is removed,
    /// when the blob store is not the catalog's own. After an error the pass begins anew.
    pub async fn step(&mut self, stores: &Stores, now: Timestamp) -> Result<u64, StoreError> {
        // A time that is still to come was told by a clock that has been set back since.
        if self.passed_at.is_some_and(|at| (at..at.plus(PASS_INTERVAL)).contains(&now)) {
            return Ok(0);
        }
        let mut listing = self.listing.take().unwrap_or_else(|| stores.blobs.list());
        let mut seen = Vec::with_capacity(BATCH);
        while seen.len() < BATCH {
            match listing.try_next().await? {
                Some(blob) => seen.push(blob),
                None => break,
            }
        }
        if seen.len() < BATCH {
            self.passed_at = Some(now);
        } else {
            self.listing = Some(listing);
        }
        let written_before = now.minus(KEEP_UNRECORDED);
        let old: Vec<BlobKey> = seen.into_iter().filter(|blob| blob.written_at < written_before).map(|blob| blob.key).collect();
        let removed = remove_unrecorded(stores, &old).await;
        if removed.is_err() {
            *self = Self::default();
        }
        removed
    }
}

/// A key is written once and recorded right after: what is old and has no row now never gets one.
async fn remove_unrecorded(stores: &Stores, keys: &[BlobKey]) -> Result<u64, StoreError> {
    if keys.is_empty() {
        return Ok(0);
    }
    let orphans = stores.catalog.unrecorded(keys).await?;
    if orphans.is_empty() {
        return Ok(0);
    }
    stores.check_same_store().await?;
    let removals = orphans.into_iter().map(|key| async move {
        tracing::info!(blob.key = %key, "removing blob {key}, which no row names");
        stores.blobs.delete(&key).await
    });
    stream::iter(removals).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(|removed| removed.len() as u64)
}

impl fmt::Debug for OrphanSweeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrphanSweeper").field("in_pass", &self.listing.is_some()).field("passed_at", &self.passed_at).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Kind, StoreId, random_hex, world::World};

    const MINUTE: Duration = Duration::from_mins(1);

    impl World {
        async fn step(&self, sweeper: &mut OrphanSweeper, after: Duration) -> Result<u64, StoreError> {
            sweeper.step(&self.stores, self.start.plus(after)).await
        }
    }

    #[tokio::test]
    async fn a_blob_without_a_row_is_removed_after_its_time_and_no_other() {
        let (world, mut sweeper) = (World::new().await, OrphanSweeper::default());
        let (kept, orphan) = (world.image().await.blob, world.blob().await.key);
        assert_eq!(world.step(&mut sweeper, KEEP_UNRECORDED / 2).await.expect("it sweeps"), 0, "its row may still come");
        assert!(world.has(&orphan));
        let later = KEEP_UNRECORDED + PASS_INTERVAL;
        assert_eq!(world.step(&mut sweeper, later).await.expect("it sweeps"), 1);
        assert!(world.has(&kept) && !world.has(&orphan));
    }

    #[tokio::test]
    async fn between_two_passes_it_rests() {
        let (world, mut sweeper) = (World::new().await, OrphanSweeper::default());
        let begin = KEEP_UNRECORDED + MINUTE;
        assert_eq!(world.step(&mut sweeper, begin).await.expect("it sweeps"), 0);
        world.blob().await;
        assert_eq!(world.step(&mut sweeper, begin + PASS_INTERVAL / 2).await.expect("it rests"), 0);
        assert_eq!(world.step(&mut sweeper, begin + PASS_INTERVAL).await.expect("it sweeps"), 1);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_make_it_rest_for_longer() {
        let (world, mut sweeper) = (World::new().await, OrphanSweeper::default());
        let ahead = 100 * KEEP_UNRECORDED;
        assert_eq!(world.step(&mut sweeper, ahead).await.expect("it sweeps"), 0);
        world.blob().await;
        assert_eq!(world.step(&mut sweeper, ahead / 2).await.expect("it sweeps"), 1);
    }

    #[tokio::test]
    async fn a_pass_goes_on_where_the_last_step_ended() {
        let (world, mut sweeper) = (World::new().await, OrphanSweeper::default());
        let count = 2 * BATCH as u64 + 3;
        for _ in 0..count {
            world.blob().await;
        }
        let mut removed = Vec::new();
        for _ in 0..3 {
            removed.push(world.step(&mut sweeper, KEEP_UNRECORDED + MINUTE).await.expect("it sweeps"));
        }
        assert_eq!(removed, [BATCH as u64, BATCH as u64, 3]);
    }

    #[tokio::test]
    async fn a_row_whose_blob_is_gone_stays() {
        let (world, mut sweeper) = (World::new().await, OrphanSweeper::default());
        let key = world.image().await.blob;
        world.stores.blobs.delete(&key).await.expect("it can be removed behind the catalog's back");
        assert_eq!(world.step(&mut sweeper, KEEP_UNRECORDED + MINUTE).await.expect("it sweeps"), 0);
        assert!(world.stores.catalog.blob(&key).await.expect("the catalog answers").is_some());
    }

    #[tokio::test]
    async fn nothing_is_removed_from_a_store_of_another_name() {
        let (world, mut sweeper) = (World::new().await, OrphanSweeper::default());
        let orphan = world.blob().await.key;
        let name = world.folder.path().join("blobs/store-id");
        let own = fs::read(&name).expect("it has a name");
        fs::write(&name, StoreId(random_hex()).0).expect("it can be written");
        let after = KEEP_UNRECORDED + MINUTE;
        assert_eq!(world.step(&mut sweeper, after).await.map_err(|error| error.kind()), Err(Kind::Misconfigured));
        assert!(world.has(&orphan));
        fs::write(&name, own).expect("it can be written");
        assert_eq!(world.step(&mut sweeper, after).await.expect("it sweeps"), 1, "after an error it does not rest");
        assert!(!world.has(&orphan));
    }
}
