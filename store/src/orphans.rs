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
    resting_until: Option<Timestamp>,
}

impl OrphanSweeper {
    /// Looks at up to 500 blobs and removes those of them that are orphans. Returns how many. `Kind::Misconfigured`, and nothing is removed,
    /// when the blob store is not the catalog's own. After an error the pass begins anew.
    pub async fn step(&mut self, stores: &Stores, now: Timestamp) -> Result<u64, StoreError> {
        if self.resting_until.is_some_and(|until| now < until) {
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
            self.resting_until = Some(now.plus(PASS_INTERVAL));
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
        f.debug_struct("OrphanSweeper").field("in_pass", &self.listing.is_some()).field("resting_until", &self.resting_until).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        Created, Format, ImageHeader, Kind, NewImage, NewUser, Role, StoreId, UserId,
        blobs::BlobSink,
        open::{BlobsUrl, CatalogUrl, JobsUrl, Opener, StoreConfig},
        random_hex,
    };

    const MINUTE: Duration = Duration::from_mins(1);

    struct World {
        folder: tempfile::TempDir,
        stores: Stores,
        user: UserId,
        start: Timestamp,
        sweeper: OrphanSweeper,
    }

    impl World {
        async fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder can be made");
            let config = StoreConfig {
                data: folder.path().to_owned(),
                catalog: CatalogUrl::Sqlite("catalog.db".into()),
                blobs: BlobsUrl::Folder("blobs".into()),
                jobs: JobsUrl::Local,
            };
            let stores = Stores::open(&config, Opener::Server).await.expect("it opens");
            let start = Timestamp::now();
            let new =
                NewUser { name: "ada".into(), password_hash: "none".into(), role: Role::User, quota_bytes: NewUser::DEFAULT_QUOTA_BYTES };
            let user = stores.catalog.create_user(new, start).await.expect("the name is free").id;
            Self { folder, stores, user, start, sweeper: OrphanSweeper::default() }
        }

        async fn blob(&self) -> crate::StoredBlob {
            let sink = BlobSink::create(&*self.stores.blobs, BlobKey::original(self.user, Format::Png)).await.expect("a blob can be begun");
            sink.publish().await.expect("a blob can be published")
        }

        async fn image(&self) -> BlobKey {
            let new = NewImage {
                owner: self.user,
                file_name: "a.png".into(),
                labels: crate::Labels::new(),
                header: ImageHeader { format: Format::Png, width: 1, height: 1, frame_count: 1 },
                original: self.blob().await,
                renditions: Vec::new(),
                request_id: None,
            };
            match self.stores.catalog.create_image(new, self.start).await.expect("an image can be recorded") {
                Created::New(image) => image.blob,
                other => panic!("not created: {other:?}"),
            }
        }

        fn has(&self, key: &BlobKey) -> bool {
            self.folder.path().join("blobs").join(&key.0).exists()
        }

        async fn step(&mut self, after: Duration) -> Result<u64, StoreError> {
            self.sweeper.step(&self.stores, self.start.plus(after)).await
        }
    }

    #[tokio::test]
    async fn a_blob_without_a_row_is_removed_after_its_time_and_no_other() {
        let mut world = World::new().await;
        let (kept, orphan) = (world.image().await, world.blob().await.key);
        assert_eq!(world.step(KEEP_UNRECORDED / 2).await.expect("it sweeps"), 0, "its row may still come");
        assert!(world.has(&orphan));
        let later = KEEP_UNRECORDED + PASS_INTERVAL;
        assert_eq!(world.step(later).await.expect("it sweeps"), 1);
        assert!(world.has(&kept) && !world.has(&orphan));
    }

    #[tokio::test]
    async fn between_two_passes_it_rests() {
        let mut world = World::new().await;
        let begin = KEEP_UNRECORDED + MINUTE;
        assert_eq!(world.step(begin).await.expect("it sweeps"), 0);
        world.blob().await;
        assert_eq!(world.step(begin + PASS_INTERVAL / 2).await.expect("it rests"), 0);
        assert_eq!(world.step(begin + PASS_INTERVAL).await.expect("it sweeps"), 1);
    }

    #[tokio::test]
    async fn a_pass_goes_on_where_the_last_step_ended() {
        let mut world = World::new().await;
        let count = 2 * BATCH as u64 + 3;
        for _ in 0..count {
            world.blob().await;
        }
        let mut removed = Vec::new();
        for _ in 0..3 {
            removed.push(world.step(KEEP_UNRECORDED + MINUTE).await.expect("it sweeps"));
        }
        assert_eq!(removed, [BATCH as u64, BATCH as u64, 3]);
    }

    #[tokio::test]
    async fn a_row_whose_blob_is_gone_stays() {
        let mut world = World::new().await;
        let key = world.image().await;
        world.stores.blobs.delete(&key).await.expect("it can be removed behind the catalog's back");
        assert_eq!(world.step(KEEP_UNRECORDED + MINUTE).await.expect("it sweeps"), 0);
        assert!(world.stores.catalog.blob(&key).await.expect("the catalog answers").is_some());
    }

    #[tokio::test]
    async fn nothing_is_removed_from_a_store_of_another_name() {
        let mut world = World::new().await;
        let orphan = world.blob().await.key;
        let name = world.folder.path().join("blobs/store-id");
        let own = fs::read(&name).expect("it has a name");
        fs::write(&name, StoreId(random_hex()).0).expect("it can be written");
        let after = KEEP_UNRECORDED + MINUTE;
        assert_eq!(world.step(after).await.map_err(|error| error.kind()), Err(Kind::Misconfigured));
        assert!(world.has(&orphan));
        fs::write(&name, own).expect("it can be written");
        assert_eq!(world.step(after).await.expect("it sweeps"), 1, "after an error it does not rest");
        assert!(!world.has(&orphan));
    }
}
