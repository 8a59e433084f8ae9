use std::time::Duration;

use super::{Denied, Format, ImageHeader, ImageId, Rendition, RenditionId, RenditionState, Spec, StoredBlob, Timestamp, UserId};

/// Proof that a worker holds a rendition: grows with every claim, so that a late worker's result is told from the current one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseToken(pub i64);

/// A claimed rendition and all that is needed to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The rendition to make.
    pub rendition: RenditionId,
    /// Its image.
    pub image: ImageId,
    /// The image's owner, under whose folder the result goes.
    pub owner: UserId,
    /// What to make.
    pub spec: Spec,
    /// What the original's header says.
    pub header: ImageHeader,
    /// The original.
    pub original: StoredBlob,
    /// Set when it was asked for and the owner's quota is used up: then it is not to be made. What every upload gets always is.
    pub over_quota: Option<QuotaUsedUp>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// To be shown with the result.
    pub lease: LeaseToken,
}

/// A quota of which nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaUsedUp {
    /// What the owner may store.
    pub quota_bytes: u64,
    /// What the owner stores.
    pub used_bytes: u64,
}

/// Answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The caller holds it now.
    Granted(Box<Job>),
    /// It is pending but must not be begun before this time.
    NotBefore(Timestamp),
    /// Somebody holds its lease, it is finished, or it is gone: there is nothing to do.
    Nothing,
    /// Only a newer version knows the format of the original or how this is to be made. Nothing was written: it is left for such a worker.
    TooNew,
}

/// Answer to a write under a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// Written and durable.
    Done,
    /// Nothing was written: the lease ran out and was given on, or the image is deleted.
    LeaseLost,
}

/// Answer to an explicit retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// It is pending again, with all its attempts.
    Pending(Rendition),
    /// Only a failed one can be retried; this is its state.
    NotFailed(RenditionState),
    /// Nothing was written: the user may not ask for it.
    Denied(Denied),
}

/// A line of the change log. Positions grow in the order in which readers see them, without one that turns up late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// From 1; may have gaps.
    pub position: i64,
    /// What changed.
    pub image: ImageId,
    /// Whose it is.
    pub owner: UserId,
    /// Present in a copy of a line for somebody with whom the image is shared: for whom, [`Party::EVERYONE`](super::Party::EVERYONE)
    /// for everyone.
    pub viewer: Option<UserId>,
    /// How it changed, in a copy: how it changed for them.
    pub kind: ChangeKind,
    /// Present in lines of the kind [`ChangeKind::RenditionChanged`], but for those written before schema version 3.
    pub rendition: Option<ChangedRendition>,
    /// When.
    pub at: Timestamp,
}

impl Change {
    /// In whose part of the log it is.
    pub fn audience(&self) -> UserId {
        self.viewer.unwrap_or(self.owner)
    }
}

/// The rendition that a line of the change log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedRendition {
    /// Which; it may be deleted by now.
    pub id: RenditionId,
    /// The format it has or will have.
    pub format: Format,
    /// The state it went to.
    pub state: RenditionState,
}

/// How an image changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was uploaded; in a copy also: it is shared from now on.
    Created,
    /// A rendition was asked for, or went from one state to another.
    RenditionChanged,
    /// Its file name or labels were changed; in a copy also: its share has another role.
    Updated,
    /// It was deleted; in a copy also: it is not shared any more.
    Deleted,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Created, Self::RenditionChanged, Self::Updated, Self::Deleted];

    /// Lower-case name, as catalogs store it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::RenditionChanged => "rendition_changed",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// A worker's heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Random, new at each start.
    pub id: String,
    /// Version of the program.
    pub version: String,
    /// Formats it reads.
    pub input_formats: Vec<Format>,
    /// Formats it makes.
    pub output_formats: Vec<Format>,
    /// How conversions are contained: `none` inside the worker itself, else `process` and what holds it (`process+landlock+seccomp`).
    pub sandbox: String,
    /// Conversions at once.
    pub slots: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last said so.
    pub seen_at: Timestamp,
}

impl Worker {
    /// A worker whose heartbeat is older than this counts as gone.
    pub const ALIVE: Duration = Duration::from_secs(30);
}
