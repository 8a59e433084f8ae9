//! The integrity check: every row against its blob, every blob against its row.

use std::{mem, time::Duration};

use futures_util::TryStreamExt;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use crate::{
    BlobKey, CheckPosition, CheckProgress, Damage, Finding, ImageId, Kind, ListedBlob, RecordedBlob, RenditionId, StoreError, StoredBlob,
    Timestamp, blobs::ContentHasher, open::Stores, orphans::KEEP_UNRECORDED,
};

/// Rows that one query returns.
const ROW_BATCH: u32 = 32;
/// Blobs that one query looks for among the rows.
const BLOB_BATCH: usize = 500;
/// While there is no news, it is told how far it is after this time.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What a check may do besides looking, and how fast it reads.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Ready renditions whose bytes are missing or damaged are made again, as long as their original is whole.
    pub remake_renditions: bool,
    /// Blobs that no row names are removed.
    pub remove_orphans: bool,
    /// How many bytes it reads in a second at most, from 1.
    pub bytes_per_second: u64,
}

/// What a check tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// How far it is: after each finding, at least once a second, and at the end.
    Progress(CheckProgress),
    /// What it found.
    Finding(Finding),
}

/// Checks everything from `position` on: the bytes of originals and of ready renditions by size, SHA-256 and block checksums, then all blobs for
/// the rows that name them. It ends when that is done, after a last progress at [`CheckPosition::End`], or when nobody reads its reports.
///
/// Safe beside anything: what is deleted meanwhile is no finding, and a blob younger than [`KEEP_UNRECORDED`] is none either. It waits for its reader,
/// holds a few rows and one block in memory, and no transaction while it reads bytes. Dropped half-way, it leaves nothing half done. Nothing is
/// repaired that the options do not name, and originals never.
///
/// `Kind::Misconfigured` when the blob store is not the catalog's own, and the errors of catalog and blobs when they are away.
pub async fn verify(
    stores: &Stores,
    options: VerifyOptions,
    position: CheckPosition,
    clock: fn() -> Timestamp,
    reports: mpsc::Sender<Report>,
) -> Result<(), StoreError> {
    stores.check_same_store().await?;
    let progress = CheckProgress { position, checked_rows: 0, checked_bytes: 0, checked_blobs: 0, findings: 0 };
    let now = Instant::now();
    let mut check = Check { stores, options, clock, reports, progress, due: now, told_at: now };
    match check.run().await {
        Err(Stop::Failed(error)) => Err(error),
        Ok(()) | Err(Stop::Unread) => Ok(()),
    }
}

/// Why a check ends before its end.
enum Stop {
    Failed(StoreError),
    Unread,
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

struct Check<'a> {
    stores: &'a Stores,
    options: VerifyOptions,
    clock: fn() -> Timestamp,
    reports: mpsc::Sender<Report>,
    progress: CheckProgress,
    /// Before this nothing more may be read.
    due: Instant,
    told_at: Instant,
}

impl Check<'_> {
    async fn run(&mut self) -> Result<(), Stop> {
        loop {
            match self.progress.position {
                CheckPosition::Originals(after) => {
                    let rows = self.stores.catalog.originals_after(after, ROW_BATCH).await?;
                    self.rows(rows, CheckPosition::Renditions(RenditionId(0))).await?;
                }
                CheckPosition::Renditions(after) => {
                    let rows = self.stores.catalog.outputs_after(after, ROW_BATCH).await?;
                    self.rows(rows, CheckPosition::Blobs).await?;
                }
                CheckPosition::Blobs => self.blobs().await?,
                CheckPosition::End => return self.tell_progress().await,
            }
        }
    }

    /// Checks these rows, and when there are none goes on with what comes `next`.
    async fn rows(&mut self, rows: Vec<RecordedBlob>, next: CheckPosition) -> Result<(), Stop> {
        if rows.is_empty() {
            self.progress.position = next;
            return self.tell_progress().await;
        }
        for recorded in rows {
            let position = match recorded.rendition {
                Some(id) => CheckPosition::Renditions(id),
                None => CheckPosition::Originals(recorded.image),
            };
            let damage = self.damage(&recorded.blob).await?;
            self.progress.checked_rows += 1;
            self.progress.position = position;
            // Rows go before their bytes: what has no row any more was deleted, and is not damaged.
            if let Some(damage) = damage
                && self.stores.catalog.blob(&recorded.blob.key).await?.is_some()
            {
                let repaired = self.remake(&recorded).await?;
                self.found(Finding::Damaged { recorded, damage, repaired }).await?;
            }
        }
        Ok(())
    }

    /// What is wrong with a blob; `None` when it is whole.
    async fn damage(&mut self, blob: &StoredBlob) -> Result<Option<Damage>, Stop> {
        let StoredBlob { key, digest } = blob;
        match self.stores.blobs.size_bytes(key).await? {
            None => return Ok(Some(Damage::Missing)),
            Some(seen_bytes) if seen_bytes != digest.size_bytes => return Ok(Some(Damage::Size { seen_bytes })),
            Some(_) => {}
        }
        let mut hasher = ContentHasher::default();
        let read = async {
            let mut blocks = self.stores.blobs.read(key, 0..digest.size_bytes).await?;
            while let Some(block) = blocks.try_next().await? {
                hasher.update(&block);
                self.progress.checked_bytes += block.len() as u64;
                self.pace(block.len()).await?;
            }
            Ok(())
        };
        match read.await {
            Ok(()) => {}
            // It went while it was read.
            Err(Stop::Failed(error)) if error.kind() == Kind::Corrupt => return Ok(Some(Damage::Missing)),
            Err(stop) => return Err(stop),
        }
        let seen = hasher.finish();
        if seen == *digest {
            return Ok(None);
        }
        let mismatch = |index: &u32| seen.block_crc32c.get(*index as usize) != digest.block_crc32c.get(*index as usize);
        let block_count = seen.block_crc32c.len().max(digest.block_crc32c.len()) as u32;
        Ok(Some(Damage::Content { seen_sha256: seen.sha256, blocks: (0..block_count).filter(mismatch).collect() }))
    }

    /// Waits as long as so many bytes should have taken. What was slower by itself is not caught up with.
    async fn pace(&mut self, bytes: usize) -> Result<(), Stop> {
        self.due = self.due.max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / self.options.bytes_per_second as f64);
        while self.due > Instant::now() {
            sleep_until(self.due.min(self.told_at + PROGRESS_INTERVAL)).await;
            self.tell_in_time().await?;
        }
        self.tell_in_time().await
    }

    /// Has a damaged rendition made again where that is asked for and there is a whole original.
    async fn remake(&mut self, recorded: &RecordedBlob) -> Result<bool, Stop> {
        let (Some(id), true) = (recorded.rendition, self.options.remake_renditions) else { return Ok(false) };
        let Some(original) = self.original(recorded.image).await? else { return Ok(false) };
        if self.damage(&original).await?.is_some() {
            return Ok(false);
        }
        self.stores.check_same_store().await?;
        if !self.stores.catalog.remake(id, &recorded.blob.key, (self.clock)()).await? {
            return Ok(false);
        }
        info!(rendition.id = %id, image.id = %recorded.image, "rendition {id} is made again, its bytes were damaged");
        self.stores.nudges.nudge();
        if let Err(error) = self.stores.jobs.publish(&[id]).await {
            warn!(error = &error as &dyn std::error::Error, "the queue was not told of rendition {id}, the sweeper will tell it");
        }
        Ok(true)
    }

    async fn original(&self, image: ImageId) -> Result<Option<StoredBlob>, StoreError> {
        let first = self.stores.catalog.originals_after(ImageId(image.0 - 1), 1).await?.pop();
        Ok(first.filter(|original| original.image == image).map(|original| original.blob))
    }

    /// Goes through all blobs of the store.
    async fn blobs(&mut self) -> Result<(), Stop> {
        let mut listing = self.stores.blobs.list();
        let mut batch = Vec::with_capacity(BLOB_BATCH);
        while let Some(blob) = listing.try_next().await? {
            batch.push(blob);
            if batch.len() == BLOB_BATCH {
                self.orphans(mem::take(&mut batch)).await?;
            }
        }
        self.orphans(batch).await?;
        self.progress.position = CheckPosition::End;
        Ok(())
    }

    async fn orphans(&mut self, blobs: Vec<ListedBlob>) -> Result<(), Stop> {
        self.progress.checked_blobs += blobs.len() as u64;
        let written_before = (self.clock)().minus(KEEP_UNRECORDED);
        let old: Vec<ListedBlob> = blobs.into_iter().filter(|blob| blob.written_at < written_before).collect();
        let keys: Vec<BlobKey> = old.iter().map(|blob| blob.key.clone()).collect();
        let unrecorded = self.stores.catalog.unrecorded(&keys).await?;
        for ListedBlob { key, size_bytes, .. } in old.into_iter().filter(|blob| unrecorded.contains(&blob.key)) {
            // A listing may tell of what was removed since, with its row.
            if self.stores.blobs.size_bytes(&key).await?.is_none() {
                continue;
            }
            let repaired = self.options.remove_orphans;
            if repaired {
                self.stores.check_same_store().await?;
                info!(blob.key = %key, "removing blob {key}, which no row names");
                self.stores.blobs.delete(&key).await?;
            }
            self.found(Finding::Orphan { key, size_bytes, repaired }).await?;
        }
        self.tell_in_time().await
    }

    async fn found(&mut self, finding: Finding) -> Result<(), Stop> {
        self.progress.findings += 1;
        self.tell(Report::Finding(finding)).await?;
        self.tell_progress().await
    }

    async fn tell_in_time(&mut self) -> Result<(), Stop> {
        if self.told_at.elapsed() < PROGRESS_INTERVAL { Ok(()) } else { self.tell_progress().await }
    }

    async fn tell_progress(&mut self) -> Result<(), Stop> {
        self.tell(Report::Progress(self.progress)).await?;
        self.told_at = Instant::now();
        Ok(())
    }

    async fn tell(&self, report: Report) -> Result<(), Stop> {
        self.reports.send(report).await.map_err(|_| Stop::Unread)
    }
}
