//! The one recovery path for everything that is stuck.

use std::{error::Error, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use crate::{StoreError, Timestamp, UploadLink, open::Stores};

pub use crate::doomed::{remove_doomed, remove_doomed_soon};

/// What one statement or message takes.
const BATCH: u32 = 500;
/// How many batches of a kind one sweep takes: enough to catch up quickly, few enough not to hold up what comes after.
const MAX_BATCHES: u32 = 20;

/// How long one step goes on removing, one after the other, what a slow store may take long about: recovery waits for it.
const REMOVAL_TIME: Duration = Duration::from_secs(10);

/// No lease is as long, and nothing waits for its next attempt as long: what lies further ahead was written by a clock that was wrong.
const FARTHEST_AHEAD: Duration = Duration::from_mins(2);

/// When something counts as stuck.
#[derive(Debug, Clone)]
pub struct SweepConfig {
    /// How often a server sweeps.
    pub interval: Duration,
    /// A pending rendition is told to the queue again after this time.
    pub resend_after: Duration,
    /// How often a rendition is begun before it counts as failed.
    pub max_attempts: u32,
    /// Unfinished uploads that can be resumed are removed after this time without anything new.
    pub keep_uploads: Duration,
    /// Unpublished bytes are removed after this time without a write; longer than `keep_uploads`, whose bytes these may be.
    pub keep_unpublished: Duration,
    /// Request ids, changes and heartbeats are kept this long.
    pub keep_history: Duration,
}

impl Default for SweepConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            resend_after: Duration::from_secs(15),
            max_attempts: 3,
            keep_uploads: Duration::from_hours(24),
            keep_unpublished: Duration::from_hours(25),
            keep_history: Duration::from_hours(7 * 24),
        }
    }
}

impl SweepConfig {
    /// Keeps unfinished uploads for so long, and unpublished bytes for longer than that.
    #[must_use]
    pub fn keeping_uploads(self, keep_uploads: Duration) -> Self {
        let keep_unpublished = self.keep_unpublished.max(keep_uploads + Duration::from_hours(1));
        Self { keep_uploads, keep_unpublished, ..self }
    }
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Leases that had run out.
    pub expired_leases: u64,
    /// Pending renditions told to the queue again.
    pub resent: u64,
    /// Images of deleted users removed.
    pub removed_images: u64,
    /// Blobs of deleted images removed.
    pub removed_blobs: u64,
    /// Unfinished uploads removed.
    pub removed_uploads: u64,
    /// Links of uploads removed, with what came by them.
    pub removed_links: u64,
    /// Unpublished files removed.
    pub removed_unpublished: u64,
}

/// Sweeps once. Safe beside anything, any number at a time: every step is a conditional write. A step that fails does not keep the others
/// from being tried; the first error is returned, further ones are logged.
///
/// Bounded: what is left over is taken by the next sweep. Nothing is removed from a blob store that is not the catalog's own.
pub async fn sweep(stores: &Stores, config: &SweepConfig, now: Timestamp) -> Result<SweepReport, StoreError> {
    let results = [
        pull_back_times(stores, now).await,
        expire_leases(stores, config, now).await,
        resend(stores, config, now).await,
        remove_deleted_users(stores, now).await,
        remove_doomed(stores, now).await,
        remove_uploads(stores, config, now).await,
        remove_links(stores, now).await,
        remove_unpublished(stores, config, now).await,
        stores.catalog.prune(now.minus(config.keep_history), BATCH * MAX_BATCHES).await.map(|()| 0),
    ];
    for error in results.iter().filter_map(|result| result.as_ref().err()).skip(1) {
        warn!(error = error as &dyn Error, "another step of the sweep failed");
    }
    let [pulled_back, expired_leases, resent, removed_images, removed_blobs, removed_uploads, removed_links, removed_unpublished, pruned] =
        results;
    pulled_back?;
    let report = SweepReport {
        expired_leases: expired_leases?,
        resent: resent?,
        removed_images: removed_images?,
        removed_blobs: removed_blobs?,
        removed_uploads: removed_uploads?,
        removed_links: removed_links?,
        removed_unpublished: removed_unpublished?,
    };
    pruned.map(|_| report)
}

async fn pull_back_times(stores: &Stores, now: Timestamp) -> Result<u64, StoreError> {
    let pulled = stores.catalog.pull_back_times(now.plus(FARTHEST_AHEAD), now).await?;
    if pulled > 0 {
        warn!(
            "{pulled} renditions were to wait until a time far ahead, and no longer do: has the clock of this or another machine been set"
        );
    }
    Ok(pulled)
}

/// Removes images of deleted users, and the users with their last image. Returns how many images.
///
/// Also good right after a deletion. One batch at a time, for each image is a transaction of its own, and other steps of a sweep wait.
pub async fn remove_deleted_users(stores: &Stores, now: Timestamp) -> Result<u64, StoreError> {
    let images = stores.catalog.images_of_deleted_users(BATCH).await?;
    let mut removed = 0;
    for image in &images {
        removed += u64::from(stores.catalog.delete_image(*image, now).await?);
    }
    if images.len() < BATCH as usize {
        stores.catalog.forget_deleted_users().await?;
    }
    Ok(removed)
}

async fn expire_leases(stores: &Stores, config: &SweepConfig, now: Timestamp) -> Result<u64, StoreError> {
    let mut expired = 0;
    for _ in 0..MAX_BATCHES {
        let batch = stores.catalog.expire_leases(config.max_attempts, BATCH, now).await?;
        expired += batch;
        if batch > 0 {
            stores.nudges.nudge();
        }
        if batch < u64::from(BATCH) {
            break;
        }
    }
    Ok(expired)
}

/// Tells the queue of what it has not heard of lately. What cannot be told now is told again after [`SweepConfig::resend_after`].
async fn resend(stores: &Stores, config: &SweepConfig, now: Timestamp) -> Result<u64, StoreError> {
    let mut resent = 0;
    for _ in 0..MAX_BATCHES {
        let untold = stores.catalog.untold(now.minus(config.resend_after), BATCH, now).await?;
        if untold.is_empty() {
            break;
        }
        stores.jobs.publish(&untold).await?;
        resent += untold.len() as u64;
        if untold.len() < BATCH as usize {
            break;
        }
    }
    Ok(resent)
}

/// Removes uploads that nobody goes on with, the rows first: what is left when this ends in between is unpublished or an orphan.
async fn remove_uploads(stores: &Stores, config: &SweepConfig, now: Timestamp) -> Result<u64, StoreError> {
    let stale = stores.catalog.stale_uploads(now.minus(config.keep_uploads), BATCH).await?;
    if stale.is_empty() {
        return Ok(0);
    }
    stores.check_same_store().await?;
    let (mut removed, mut failed) = (0, None);
    let begin = Instant::now();
    for upload in stale.iter().take_while(|_| begin.elapsed() < REMOVAL_TIME) {
        if !stores.catalog.drop_upload(upload.owner, &upload.upload_id, upload.hold).await? {
            // Somebody goes on with it after all.
            continue;
        }
        match stores.blobs.discard(&upload.partial).await {
            Ok(()) => removed += 1,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(removed), Err)
}

/// Removes what came by URLs that have ended, the bytes first: the row alone knows where they are. Bytes that come later are orphans.
async fn remove_links(stores: &Stores, now: Timestamp) -> Result<u64, StoreError> {
    let stale = stores.catalog.stale_upload_links(now.minus(UploadLink::GRACE), BATCH).await?;
    if stale.is_empty() {
        return Ok(0);
    }
    stores.check_same_store().await?;
    let (mut removed, mut failed) = (0, None);
    let begin = Instant::now();
    for link in stale.iter().take_while(|_| begin.elapsed() < REMOVAL_TIME) {
        let gone = match &link.key {
            Some(key) => stores.blobs.delete(key).await,
            None => Ok(()),
        };
        match gone {
            Ok(()) => {
                stores.catalog.forget_upload_link(link).await?;
                removed += 1;
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(removed), Err)
}

async fn remove_unpublished(stores: &Stores, config: &SweepConfig, now: Timestamp) -> Result<u64, StoreError> {
    stores.check_same_store().await?;
    stores.blobs.sweep_unpublished(now.minus(config.keep_unpublished)).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::{
        BlobKey, Claim, Hold, Kind, OpenUpload, RenditionId, RenditionState, StoreId, UserWrite,
        blobs::BlobSink,
        conformance::catalog::support::announced,
        jobs::{Delivery, JobQueue},
        random_hex,
        world::World,
    };

    impl World {
        /// An upload of which a few bytes are durable and that nobody goes on with.
        async fn interrupted_upload(&self) -> OpenUpload {
            let mut sink = self.sink().await;
            sink.write(Bytes::from_static(b"the beginning")).await.expect("bytes can be written");
            sink.persist().await.expect("bytes can be made durable");
            let partial = sink.keep(0).await.expect("it can be kept").expect("something is durable");
            let (owner, updated_at) = (self.user, self.start);
            let upload = OpenUpload { owner, upload_id: "upload".into(), hold: Hold(1), partial, updated_at };
            self.stores.catalog.record_upload(&upload, true).await.expect("it can be recorded");
            upload
        }

        async fn sweep(&self, after: Duration) -> Result<SweepReport, StoreError> {
            sweep(&self.stores, &SweepConfig::default(), self.start.plus(after)).await
        }

        async fn hinted(&self) -> Vec<RenditionId> {
            let mut ids = Vec::new();
            for delivery in self.stores.jobs.lease(1000).await.expect("hints can be leased") {
                ids.push(delivery.rendition());
                delivery.ack().await.expect("a hint can be acked");
            }
            ids
        }
    }

    /// A queue whose server is away.
    #[derive(Debug)]
    struct Away;

    #[async_trait]
    impl JobQueue for Away {
        async fn publish(&self, _ids: &[RenditionId]) -> Result<(), StoreError> {
            Err(StoreError::new(Kind::Unavailable, "the queue is away"))
        }

        async fn lease(&self, _max: usize) -> Result<Vec<Box<dyn Delivery>>, StoreError> {
            Err(StoreError::new(Kind::Unavailable, "the queue is away"))
        }

        fn ack_wait(&self) -> Option<Duration> {
            None
        }

        async fn ping(&self) -> Result<(), StoreError> {
            Err(StoreError::new(Kind::Unavailable, "the queue is away"))
        }
    }

    #[tokio::test]
    async fn nothing_stuck_nothing_done() {
        let world = World::new().await;
        let image = world.image().await;
        assert_eq!(world.sweep(Duration::ZERO).await.expect("it sweeps"), SweepReport::default());
        assert!(world.has(&image.blob));
    }

    #[tokio::test]
    async fn a_rendition_nobody_heard_of_is_told_again_and_again() {
        let world = World::new().await;
        let rendition = world.image().await.renditions[0].id;
        for round in 1..=3 {
            let later = (SweepConfig::default().resend_after + Duration::from_secs(1)) * round;
            assert_eq!(world.sweep(later).await.expect("it sweeps").resent, 1);
            assert_eq!(world.sweep(later).await.expect("it sweeps").resent, 0, "not twice at once");
            assert_eq!(world.hinted().await, [rendition]);
        }
    }

    #[tokio::test]
    async fn more_than_one_batch_is_told_in_one_sweep() {
        let world = World::new().await;
        let count = BATCH as usize + 1;
        for _ in 0..count {
            world.image().await;
        }
        let later = SweepConfig::default().resend_after + Duration::from_secs(1);
        assert_eq!(world.sweep(later).await.expect("it sweeps").resent, count as u64);
        assert_eq!(world.hinted().await.len(), count);
    }

    #[tokio::test]
    async fn a_lease_that_ran_out_is_given_back_and_told() {
        let world = World::new().await;
        let rendition = world.image().await.renditions[0].id;
        let claim = world.stores.catalog.claim(rendition, "worker", Duration::from_mins(1), world.start).await;
        assert!(matches!(claim, Ok(Claim::Granted(_))), "{claim:?}");
        let early = world.sweep(Duration::from_secs(59)).await.expect("it sweeps");
        assert_eq!((early.expired_leases, early.resent), (0, 0));
        let late = world.sweep(Duration::from_secs(61)).await.expect("it sweeps");
        assert_eq!((late.expired_leases, late.resent), (1, 1));
        let state = world.stores.catalog.rendition(rendition).await.expect("the catalog answers").map(|rendition| rendition.state);
        assert_eq!(state, Some(RenditionState::Pending));
    }

    #[tokio::test]
    async fn a_failed_step_does_not_keep_the_others_from_being_tried() {
        let mut world = World::new().await;
        let rendition = world.image().await.renditions[0].id;
        let deleted = world.deleted_image().await;
        let local = std::mem::replace(&mut world.stores.jobs, Arc::new(Away));
        let after = SweepConfig::default().resend_after + Duration::from_secs(1);
        let error = world.sweep(after).await.expect_err("the queue is away");
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(!world.has(&deleted.blob), "its bytes are removed all the same");
        world.stores.jobs = local;
        assert_eq!(world.sweep(after * 2).await.expect("it sweeps").resent, 1, "what could not be told is told later");
        assert_eq!(world.hinted().await, [rendition]);
    }

    #[tokio::test]
    async fn images_of_deleted_users_are_removed_with_their_blobs() {
        let world = World::new().await;
        let image = world.image().await;
        let deleted = world.stores.catalog.delete_user(world.user, world.start).await.expect("a user can be deleted");
        assert!(matches!(deleted, UserWrite::Done(_)), "{deleted:?}");
        let report = world.sweep(Duration::ZERO).await.expect("it sweeps");
        assert_eq!((report.removed_images, report.removed_blobs), (1, 1));
        assert!(!world.has(&image.blob));
        assert_eq!(world.sweep(Duration::ZERO).await.expect("it sweeps"), SweepReport::default());
    }

    #[tokio::test]
    async fn nothing_is_removed_from_a_store_that_has_lost_its_name_or_has_another() {
        let world = World::new().await;
        let deleted = world.deleted_image().await;
        let upload = world.interrupted_upload().await;
        let sink = world.sink().await;
        let name = world.folder.path().join("blobs/store-id");
        let own = std::fs::read(&name).expect("it has a name");
        let later = SweepConfig::default().keep_unpublished * 2;
        std::fs::remove_file(&name).expect("it has a name");
        assert_eq!(world.sweep(later).await.map_err(|error| error.kind()), Err(Kind::Unavailable));
        std::fs::write(&name, StoreId(random_hex()).0).expect("it can be written");
        assert_eq!(world.sweep(later).await.map_err(|error| error.kind()), Err(Kind::Misconfigured));
        assert!(world.has(&deleted.blob));
        assert!(world.stores.blobs.read_partial(&upload.partial).await.is_ok(), "nothing of the upload is removed");
        std::fs::write(&name, own).expect("it can be written");
        let report = world.sweep(later).await.expect("it sweeps");
        assert_eq!((report.removed_blobs, report.removed_uploads, report.removed_unpublished), (1, 1, 1), "nothing was forgotten");
        assert!(!world.has(&deleted.blob));
        drop(sink);
    }

    #[tokio::test]
    async fn an_upload_is_kept_for_its_time_and_goes_with_its_bytes() {
        let world = World::new().await;
        let upload = world.interrupted_upload().await;
        let keep = SweepConfig::default().keep_uploads;
        assert_eq!(world.sweep(keep / 2).await.expect("it sweeps").removed_uploads, 0);
        assert!(world.stores.blobs.read_partial(&upload.partial).await.is_ok());
        assert_eq!(world.sweep(keep + Duration::from_mins(1)).await.expect("it sweeps").removed_uploads, 1);
        assert_eq!(world.stores.blobs.read_partial(&upload.partial).await.err().map(|error| error.kind()), Some(Kind::Corrupt));
    }

    #[tokio::test]
    async fn unpublished_bytes_are_kept_for_their_time() {
        let world = World::new().await;
        let sink = world.sink().await;
        let keep = SweepConfig::default().keep_unpublished;
        assert_eq!(world.sweep(keep / 2).await.expect("it sweeps").removed_unpublished, 0);
        assert_eq!(world.sweep(keep + Duration::from_mins(1)).await.expect("it sweeps").removed_unpublished, 1);
        drop(sink);
    }

    #[tokio::test]
    async fn what_came_by_a_url_that_has_ended_is_removed_with_it() {
        let world = World::new().await;
        let mut sink = BlobSink::create(&*world.stores.blobs, BlobKey::arriving(world.user)).await.expect("a blob can be begun");
        sink.write(Bytes::from_static(b"it came")).await.expect("bytes can be written");
        let key = sink.publish().await.expect("a blob can be published").key;
        let file = announced(b"it came");
        let (id, upload_id) = (random_hex(), "upload".to_owned());
        let link = UploadLink { id, owner: world.user, upload_id, file, direct: false, key: None, expires_at: world.start };
        world.stores.catalog.create_upload_link(link.clone(), world.start).await.expect("it can be recorded");
        assert!(world.stores.catalog.receive_upload(&link.id, &key).await.expect("an answer"));
        assert_eq!(world.sweep(UploadLink::GRACE).await.expect("it sweeps"), SweepReport::default());
        assert!(world.has(&key));
        let report = world.sweep(UploadLink::GRACE + Duration::from_secs(1)).await.expect("it sweeps");
        assert_eq!(report, SweepReport { removed_links: 1, ..SweepReport::default() });
        assert!(!world.has(&key));
        let user = world.stores.catalog.user(world.user).await.expect("an answer").expect("a user");
        assert_eq!(user.unfinished_bytes, 0);
    }
}
