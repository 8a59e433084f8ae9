use super::{FailureReason, Rendition, RenditionId, Timestamp, UserId};

/// What the catalog holds, all users together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Users who are not deleted.
    pub user_count: u64,
    /// Those of them who are kept out.
    pub disabled_user_count: u64,
    /// Their images.
    pub image_count: u64,
    /// What the originals of these images have; with `rendition_bytes` the sum of what the users use.
    pub original_bytes: u64,
    /// What the ready renditions of these images have.
    pub rendition_bytes: u64,
    /// What is durable of these users' unfinished uploads.
    pub unfinished_bytes: u64,
    /// Ready renditions of these images.
    pub ready_count: u64,
    /// Renditions that wait for a worker. Like those that run and those that failed, also of images of deleted users until these are removed.
    pub pending_count: u64,
    /// Since when the one of them could be begun that waits longest, or the first of them can be if that is in the future.
    pub pending_since: Option<Timestamp>,
    /// Renditions whose lease a worker holds.
    pub running_count: u64,
    /// When the first of these leases runs out.
    pub first_lease_until: Option<Timestamp>,
    /// Failed renditions by reason; reasons without any are left out, and those that are not known are one, the last.
    pub failed_counts: Vec<(FailureReason, u64)>,
    /// Images of deleted users that wait to be removed.
    pub images_of_deleted_users: u64,
    /// Blobs that nothing refers to and whose bytes wait to be removed.
    pub doomed_blob_count: u64,
    /// When the first of them was doomed.
    pub doomed_since: Option<Timestamp>,
    /// Writes that may have left something in the blob store.
    pub open_write_count: u64,
    /// When the first of them was begun.
    pub open_write_since: Option<Timestamp>,
}

impl Totals {
    /// Failed renditions, whatever the reason.
    pub fn failed_count(&self) -> u64 {
        self.failed_counts.iter().map(|(_, count)| count).sum()
    }
}

/// A failed rendition and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRendition {
    /// In the state [`RenditionState::Failed`](super::RenditionState::Failed).
    pub rendition: Rendition,
    /// When it failed.
    pub failed_at: Timestamp,
    /// The file name of its image.
    pub file_name: String,
    /// Who uploaded the image.
    pub owner: UserId,
    /// The owner's name.
    pub owner_name: String,
}

impl FailedRendition {
    /// Where it stands in the list of failures.
    pub fn position(&self) -> FailurePosition {
        FailurePosition { failed_at: self.failed_at, rendition: self.rendition.id }
    }
}

/// A place in the list of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailurePosition {
    /// When the rendition failed.
    pub failed_at: Timestamp,
    /// The rendition.
    pub rendition: RenditionId,
}

/// Which failures a list shows; everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureFilter {
    /// They failed for one of these reasons; empty: any.
    pub reasons: Vec<FailureReason>,
    /// Failed at or after.
    pub failed_from: Option<Timestamp>,
    /// Failed before.
    pub failed_before: Option<Timestamp>,
}

impl FailureFilter {
    /// What is shown lies below this: the end of the page before, or the end of the time that is asked for.
    pub(crate) fn upper(&self, before: Option<FailurePosition>) -> FailurePosition {
        let at = |failed_at| FailurePosition { failed_at, rendition: RenditionId(i64::MIN) };
        self.failed_before.map(at).into_iter().chain(before).min().unwrap_or(at(Timestamp(i64::MAX)))
    }
}
